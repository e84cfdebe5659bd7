"""A lossless image codec without weights: each 8x8 square of pixels becomes one latent vector of 192 numbers.

It stands in for the SD3 autoencoder on a laptop. Lossless is meant literally: in float32, decode(encode(image))
returns every 8-bit value. That takes 3 * 8 * 8 = 192 channels (a 16-channel latent could not hold them), so the
network needs `in_channels=192`; such a model is a pixel-space diffusion transformer, and its weights do not fit a
16-channel checkpoint.
"""

from pathlib import Path
from typing import Any

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from torch import nn
from torch.nn import functional


class ExactPosterior:
    """The distribution of a codec that does not blur: all of it on one latent, so a sample draws no random number."""

    def __init__(self, latent: torch.Tensor) -> None:
        self.latent = latent

    def sample(self, generator: torch.Generator | None = None) -> torch.Tensor:
        """Return the latent."""
        return self.latent

    def mode(self) -> torch.Tensor:
        """Return the latent."""
        return self.latent


class Encoded:
    """What `encode` returns, as diffusers' autoencoders do."""

    def __init__(self, latent_dist: ExactPosterior) -> None:
        self.latent_dist = latent_dist


class Decoded:
    """What `decode` returns, as diffusers' autoencoders do."""

    def __init__(self, sample: torch.Tensor) -> None:
        self.sample = sample


class PixelShuffleCodec(nn.Module, ConfigMixin):
    """The codec as a module with the interface of diffusers' `AutoencoderKL`.

    `scaling_factor` brings photographs in [-1, 1] (standard deviation near 0.5) to about unit variance; being a power
    of two it is exact.
    """

    config_name = "config.json"  # type: ignore[assignment]
    anchor: torch.Tensor
    downscale: int

    @register_to_config
    def __init__(self, downscale: int = 8, latent_channels: int = 192, scaling_factor: float = 2.0) -> None:
        super().__init__()
        if latent_channels != 3 * downscale**2:
            raise ValueError(f"latent_channels must be 3 * downscale**2 = {3 * downscale**2}, got {latent_channels}.")
        self.downscale = downscale
        self.register_buffer(
            "anchor", torch.zeros(()), persistent=False
        )  # follows .to(): there are no weights that could

    @property
    def dtype(self) -> torch.dtype:
        """The floating type images are cast to."""
        return self.anchor.dtype

    @property
    def device(self) -> torch.device:
        """The device images are moved to."""
        return self.anchor.device

    def encode(self, pixels: torch.Tensor) -> Encoded:
        """Return the latents (n, 3*f*f, h/f, w/f) of images (n, 3, h, w), f = downscale."""
        return Encoded(ExactPosterior(functional.pixel_unshuffle(pixels, self.downscale)))

    def decode(self, latents: torch.Tensor) -> Decoded:
        """Return the images of latents: the exact inverse of `encode`."""
        return Decoded(functional.pixel_shuffle(latents, self.downscale))

    def save_pretrained(self, folder: str | Path) -> None:
        """Write config.json; there is nothing else to keep."""
        self.save_config(folder)

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> "PixelShuffleCodec":
        """Return the codec whose config.json is in `folder`."""
        config: Any = cls.load_config(str(folder))
        codec: Any = cls.from_config(config)
        return codec
