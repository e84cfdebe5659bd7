"""Relative depth by Marigold, drawn by a diffusion model: fine outlines, slow."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import cv2
import numpy as np

from onegen.annotators import register
from onegen.annotators.depth import PROVIDES, annotation_of
from onegen.annotators.shared.marigold import Marigold
from onegen.annotators.shared.pixels import pixels_of
from onegen.sample import CHANGES_NO_RESULT, Annotation, Item, Provides, Rejected


@register("annotators", "depth", backend="marigold")
@dataclass(frozen=True)
class MarigoldDepth(Marigold):
    """Depth between the nearest and the farthest of a picture, turned over so that near is bright.

    It is linear in depth, not in its inverse as of the other backends: far things differ more, near ones less.
    OpenRAIL++-M, which forbids the uses that it lists.
    """

    backend: Literal["marigold"] = "marigold"
    model: str = field(default="prs-eth/marigold-depth-v1-1", metadata={CHANGES_NO_RESULT: True})

    name: ClassVar[str] = "depth"
    producer: ClassVar[str] = "marigold-depth"
    version: ClassVar[int] = 1
    tolerance: ClassVar[Mapping[str, float]] = {"depth.png": 66.0, "minimum": 0.001, "maximum": 0.001}
    provides: ClassVar[Provides] = PROVIDES
    pipeline: ClassVar[str] = "MarigoldDepthPipeline"

    def finish(self, item: Item, answer: Any) -> Annotation | Rejected:
        """Return what is stored: enlarged to the image's size."""
        height, width = pixels_of(item).shape[:2]
        near = 1.0 - answer[:, :, 0].astype(np.float64)
        return annotation_of(cv2.resize(near, (width, height), interpolation=cv2.INTER_LINEAR))
