"""Soft edges by the HED network of ControlNet's annotators, from controlnet-aux: One-Gen's own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import cv2
import numpy as np

from onegen.annotators import register
from onegen.annotators.hed import PROVIDES, annotation_of
from onegen.annotators.shared.pixels import picture_of, pixels_of
from onegen.annotators.shared.torch_annotator import TorchAnnotator, gathered
from onegen.errors import ConfigError
from onegen.pixels.sizes import fit
from onegen.sample import CHANGES_NO_RESULT, Annotation, Item, Provides, Rejected

_FILE = "ControlNetHED.pth"


@register("annotators", "hed", backend="controlnet")
@dataclass(frozen=True)
class ControlNetHed(TorchAnnotator):
    """Edge probability of every pixel, the mean of the network's five sides. Apache-2.0.

    It runs at the image's own size, or with the longer side reduced to `max_side` pixels; ControlNet's own detector
    rounds sides to multiples of 64 beside that.
    """

    backend: Literal["controlnet"] = "controlnet"
    model: str = field(default="lllyasviel/Annotators", metadata={CHANGES_NO_RESULT: True})
    max_side: int = 512

    name: ClassVar[str] = "hed"
    producer: ClassVar[str] = "controlnet-hed"
    version: ClassVar[int] = 1
    tolerance: ClassVar[Mapping[str, float]] = {"hed.png": 1.0}
    provides: ClassVar[Provides] = PROVIDES
    files: ClassVar[tuple[str, ...]] = (_FILE,)
    packages: ClassVar[Mapping[str, str]] = {"controlnet_aux": "controlnet-aux"}

    def check(self) -> None:
        """Raise ConfigError for a `max_side` below 32."""
        if self.max_side < 32:
            raise ConfigError(f"max_side of hed must be at least 32, got {self.max_side}. Try 512.")

    def build(self, folder: Path) -> Any:
        """Return the network."""
        from controlnet_aux.hed import ControlNetHED_Apache2

        return self.from_file(ControlNetHED_Apache2(), folder / _FILE)

    def prepare(self, item: Item) -> Any:
        """Return the image as the network takes it: RGB, 0 to 255."""
        import torch

        pixels = np.asarray(picture_of(item))
        scale, size = fit(pixels.shape, self.max_side, least=16)
        small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA) if scale < 1 else pixels
        return {"image": torch.from_numpy(np.ascontiguousarray(small.transpose(2, 0, 1))).float()}

    def infer(self, prepared: Sequence[Any]) -> list[Any]:
        """Return probabilities float32 (h,w) of each, at the network's size."""
        import torch
        from torch.nn.functional import interpolate

        network = self.network()

        def run(batch: Mapping[str, Any], _: Sequence[int]) -> Any:
            size = batch["image"].shape[2:]
            sides = torch.cat([interpolate(side, size, mode="bilinear") for side in network(batch["image"])], dim=1)
            return sides.mean(dim=1).float().sigmoid().cpu().numpy()

        return gathered(prepared, network, run)

    def finish(self, item: Item, answer: Any) -> Annotation | Rejected:
        """Return what is stored: enlarged to the image's size."""
        height, width = pixels_of(item).shape[:2]
        return annotation_of(cv2.resize(answer, (width, height), interpolation=cv2.INTER_LINEAR))
