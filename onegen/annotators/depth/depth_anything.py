"""Relative depth by Depth Anything V2 (Yang et al., NeurIPS 2024), One-Gen's own: small, base or large."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import cv2

from onegen.annotators import register
from onegen.annotators.depth import PROVIDES, annotation_of
from onegen.annotators.shared.pixels import picture_of, pixels_of
from onegen.annotators.shared.torch_annotator import TorchAnnotator, gathered
from onegen.sample import CHANGES_NO_RESULT, Annotation, Item, Provides, Rejected


@register("annotators", "depth", backend="depth-anything")
@dataclass(frozen=True)
class DepthAnything(TorchAnnotator):
    """Relative inverse depth of every pixel by `model`, any DepthAnything of transformers, not metric ones.

    The network sees the image at its processor's size, sides a multiple of 14. Small is Apache-2.0; base and large are
    CC-BY-NC-4.0.
    """

    backend: Literal["depth-anything"] = "depth-anything"
    model: str = field(default="depth-anything/Depth-Anything-V2-Large-hf", metadata={CHANGES_NO_RESULT: True})

    name: ClassVar[str] = "depth"
    producer: ClassVar[str] = "depth-anything"
    version: ClassVar[int] = 1
    tolerance: ClassVar[Mapping[str, float]] = {"depth.png": 66.0, "minimum": 0.01, "maximum": 0.01}
    provides: ClassVar[Provides] = PROVIDES

    def build(self, folder: Path) -> Any:
        """Return the processor and the network."""
        from transformers import AutoImageProcessor, AutoModelForDepthEstimation

        return self.processor(AutoImageProcessor, folder), self.from_folder(AutoModelForDepthEstimation, folder)

    def prepare(self, item: Item) -> Any:
        """Return the image as the network takes it."""
        processor, _ = self.network()
        return {"pixel_values": processor(picture_of(item), return_tensors="pt")["pixel_values"][0]}

    def infer(self, prepared: Sequence[Any]) -> list[Any]:
        """Return inverse depth float32 (h,w) of each, at the network's size."""
        _, network = self.network()
        return gathered(prepared, network, lambda batch, _: network(**batch).predicted_depth.float().cpu().numpy())

    def finish(self, item: Item, answer: Any) -> Annotation | Rejected:
        """Return what is stored: enlarged to the image's size."""
        height, width = pixels_of(item).shape[:2]
        return annotation_of(cv2.resize(answer, (width, height), interpolation=cv2.INTER_CUBIC))
