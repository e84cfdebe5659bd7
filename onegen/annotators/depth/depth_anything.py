"""Relative depth by Depth Anything V2 (Yang et al., NeurIPS 2024), One-Gen's own: small, base or large."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import cv2
import numpy as np

from onegen.annotators import register
from onegen.annotators.depth import PROVIDES, annotation_of
from onegen.annotators.shared.image_network import ImageNetwork
from onegen.annotators.shared.pixels import pixels_of
from onegen.sample import CHANGES_NO_RESULT, Annotation, Item, Provides, Rejected


@register("annotators", "depth", backend="depth-anything")
@dataclass(frozen=True)
class DepthAnything(ImageNetwork):
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
    loader: ClassVar[str] = "AutoModelForDepthEstimation"

    def read(self, output: Any) -> Sequence[Any]:
        """Return inverse depth float32 (h,w) of each, at the network's size."""
        depths: np.ndarray = output.predicted_depth.float().cpu().numpy()
        return list(depths)

    def finish(self, item: Item, answer: Any) -> Annotation | Rejected:
        """Return what is stored: enlarged to the image's size."""
        height, width = pixels_of(item).shape[:2]
        return annotation_of(cv2.resize(answer, (width, height), interpolation=cv2.INTER_CUBIC))
