"""Examples to what the network eats: latents by the frozen codec, states by the frozen text encoder.

Each prompt is encoded alone on a CPU, so that a state does not depend on what else was in the batch or in the cache: a
run that goes on from a checkpoint has the bits of one that never stopped.
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from onegen.config.training import EncodersConfig
from onegen.geometry.cameras import Camera
from onegen.geometry.rays import camera_rays, rays_to_latent
from onegen.loader.example import Example
from onegen.model.encoders import (
    codec_factor,
    encode_images,
    encode_prompts,
    load_codec,
    load_text_encoder,
    text_width,
)

_KEPT = 1 << 30
"""Bytes of states that are kept, those of the latest prompts. An epoch that does not fit is encoded anew each time."""


class Encoders:
    """The frozen encoders of a run on one device, with the states of the latest prompts."""

    def __init__(self, codec: Any, text_encoder: nn.Module, tokenizer: Any, device: torch.device) -> None:
        self.codec, self.text_encoder, self.tokenizer = codec.to(device), text_encoder.to(device), tokenizer
        self.device = device
        self._states: OrderedDict[str, torch.Tensor] = OrderedDict()
        self._size = 0
        for module in (self.codec, self.text_encoder):
            module.requires_grad_(False).eval()

    @property
    def channels(self) -> int:
        """Channels of a latent: the network's `in_channels`."""
        return int(self.codec.config.latent_channels)

    @property
    def width(self) -> int:
        """Width of a text state: the network's `caption_channels`."""
        return text_width(self.text_encoder)

    @property
    def factor(self) -> int:
        """Pixels a side of a latent pixel."""
        return codec_factor(self.codec)

    def text(self, prompts: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the states (S,M,Y) float32 on the device and the mask (S,M) on the CPU of prompts."""
        missing = [prompt for prompt in dict.fromkeys(prompts) if prompt not in self._states]
        for group in [missing] if self.device.type != "cpu" and missing else [[prompt] for prompt in missing]:
            states, mask = encode_prompts(self.tokenizer, self.text_encoder, group)
            for prompt, own, real in zip(group, states, mask != 0, strict=True):
                self._states[prompt] = own[real.to(own.device)]
                self._size += self._states[prompt].nbytes
        found = [self._states[prompt] for prompt in prompts]
        for prompt in prompts:
            self._states.move_to_end(prompt)
        while self._size > _KEPT:
            _, oldest = self._states.popitem(last=False)
            self._size -= oldest.nbytes
        lengths = torch.tensor([len(states) for states in found])
        mask = torch.arange(int(lengths.max())) < lengths[:, None]
        return nn.utils.rnn.pad_sequence(found, batch_first=True), mask

    def latents(self, example: Example, generator: torch.Generator) -> list[torch.Tensor]:
        """Return the latent (C,h,w) float32 of each view; the codec's draw is from `generator`.

        Rays skip the codec and its scaling factor, as in the released model.
        """
        pictures = [view for view in example.views if isinstance(view, np.ndarray)]
        pixels = torch.from_numpy(np.stack(pictures)).to(self.device).movedim(-1, 1).float() / 127.5 - 1
        with torch.no_grad():
            encoded = encode_images(self.codec, pixels).sample(generator) * self.codec.config.scaling_factor
        images = iter(encoded.float())
        cameras = [view for view in example.views if isinstance(view, Camera)]
        height, width = example.size
        rays = iter(())
        if cameras:
            shape = height // self.factor, width // self.factor
            rays = iter(torch.from_numpy(rays_to_latent(camera_rays(cameras, *shape), self.channels)).float())
        return [next(rays).to(self.device) if isinstance(view, Camera) else next(images) for view in example.views]


def load_encoders(config: EncodersConfig, device: torch.device) -> Encoders:
    """Return the encoders of a recipe; raises ConfigError where their weights are not there."""
    codec = load_codec(config.codec, config.codec_source, downscale=config.downscale)
    text_encoder, tokenizer = load_text_encoder(config.text, config.text_source)
    return Encoders(codec, text_encoder, tokenizer, device)
