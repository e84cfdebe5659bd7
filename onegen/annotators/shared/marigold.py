"""Marigold (Ke et al., CVPR 2024): maps drawn by a diffusion model, through diffusers' own pipelines."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from onegen.annotators.shared.pixels import picture_of
from onegen.annotators.shared.torch_annotator import TorchAnnotator
from onegen.errors import ConfigError
from onegen.sample import Item
from onegen.shards.key import seed_of

_LEAST, _STEP = 64, 8
"""Pixels of a side that its networks need, and those of which they see whole multiples."""


@dataclass(frozen=True)
class Marigold(TorchAnnotator):
    """Base of Marigold's backends: `steps` of denoising, the mean of `ensemble` drawings, seen at `max_side` pixels.

    What is drawn at random is drawn from the image's key, on the CPU, so that neither batch nor machine changes it.
    """

    steps: int = 4
    ensemble: int = 1
    max_side: int = 768

    packages: ClassVar[Any] = {"diffusers": "diffusers", "transformers": "transformers"}
    version: ClassVar[int]
    pipeline: ClassVar[str]
    """The class of diffusers."""

    def check(self) -> None:
        """Raise ConfigError for an option out of its range."""
        for option, least in (("steps", 1), ("ensemble", 1), ("max_side", _LEAST)):
            if getattr(self, option) < least:
                raise ConfigError(f"{option} of {self.name} must be at least {least}, got {getattr(self, option)}.")
        if self.ensemble == 2:
            raise ConfigError(f"ensemble of {self.name} must be 1, or 3 and more to have a middle, got 2.")

    def build(self, folder: Path) -> Any:
        """Return the pipeline."""
        import diffusers

        with self.loading(self.pipeline):
            cls = getattr(diffusers, self.pipeline)
            pipeline = cls.from_pretrained(folder, torch_dtype=self.torch_dtype(), local_files_only=True)
        if type(pipeline.scheduler).__name__ != "DDIMScheduler":
            # Others draw noise at every step, from what their batch shares.
            raise ConfigError(f"model {self.model} of {self.name} must come with a DDIM scheduler.")
        pipeline.set_progress_bar_config(disable=True)
        return pipeline.to(self.torch_device())

    def prepare(self, item: Item) -> tuple[Image.Image, int]:
        """Return the picture and the seed of what is drawn at random."""
        picture = picture_of(item)
        if min(picture.size) < _LEAST:
            picture = picture.resize((max(picture.width, _LEAST), max(picture.height, _LEAST)))
        return picture, seed_of(item.key, self.name, self.version) % 2**63

    def infer(self, prepared: Sequence[tuple[Image.Image, int]]) -> list[np.ndarray]:
        """Return what is drawn of each picture, float32 (h,w,C) at the pipeline's size."""
        return [self._drawn(picture, seed) for picture, seed in prepared]

    def _drawn(self, picture: Image.Image, seed: int) -> np.ndarray:
        import torch

        drawn = self.network()(
            picture,
            num_inference_steps=self.steps,
            ensemble_size=self.ensemble,
            processing_resolution=min(self.max_side, max(picture.size)) // _STEP * _STEP,
            match_input_resolution=False,
            generator=torch.Generator("cpu").manual_seed(seed),
        ).prediction[0]
        return np.asarray(drawn, np.float32)
