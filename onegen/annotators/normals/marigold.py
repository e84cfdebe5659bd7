"""Surface normals by Marigold."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import cv2
import numpy as np

from onegen.annotators import register
from onegen.annotators.normals import PROVIDES, annotation_of
from onegen.annotators.shared.marigold import Marigold
from onegen.annotators.shared.pixels import pixels_of
from onegen.sample import CHANGES_NO_RESULT, Annotation, Item, Provides, Rejected


@register("annotators", "normals", backend="marigold")
@dataclass(frozen=True)
class MarigoldNormals(Marigold):
    """Unit normals of every pixel. OpenRAIL++-M, which forbids the uses that it lists."""

    backend: Literal["marigold"] = "marigold"
    model: str = field(default="prs-eth/marigold-normals-v1-1", metadata={CHANGES_NO_RESULT: True})

    name: ClassVar[str] = "normals"
    producer: ClassVar[str] = "marigold-normals"
    version: ClassVar[int] = 1
    tolerance: ClassVar[Mapping[str, float]] = {"normals.png": 1.0}
    provides: ClassVar[Provides] = PROVIDES
    pipeline: ClassVar[str] = "MarigoldNormalsPipeline"

    def finish(self, item: Item, answer: Any) -> Annotation | Rejected:
        """Return what is stored: enlarged to the image's size, and of length 1 again."""
        height, width = pixels_of(item).shape[:2]
        vectors = np.ascontiguousarray(answer.astype(np.float64))
        return annotation_of(cv2.resize(vectors, (width, height), interpolation=cv2.INTER_LINEAR))
