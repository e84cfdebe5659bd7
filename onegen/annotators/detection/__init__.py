"""What things are where: the `boundingbox2image` condition, and what entities, masks and poses start from.

What the column stores, whichever backend made it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa

from onegen.annotators.shared.brought import brought_of
from onegen.annotators.shared.brought_records import ThingReader
from onegen.errors import ConfigError
from onegen.pixels.boxes import BOX_FIELDS, box_fields, suppress
from onegen.sample import Annotation, BaseAnnotator, Item, Provides

DETECTED = pa.struct([("label", pa.string()), ("score", pa.float64()), *BOX_FIELDS])
"""One object: COCO name, score in [0, 1], box in pixels of the stored image."""
PROVIDES = Provides(fields={"objects": pa.list_(DETECTED), "num_objects": pa.int32(), "num_people": pa.int32()})
"""`objects`, best first; how many there are, and how many of them are people."""


_CANDIDATES = 500
"""So many best boxes meet in the suppression; 200 people leave fewer."""


@dataclass(frozen=True)
class Detector(BaseAnnotator):
    """Base of backends: which of the boxes that a network proposes are kept.

    Boxes below `min_score` are dropped, so are those that overlap a better one of the same name by more than `overlap`
    (IoU), or of any name by more than `cross_overlap` (one animal taken for two). At most `max_objects` are kept.
    """

    min_score: float = 0.3
    overlap: float = 0.5
    cross_overlap: float = 0.8
    max_objects: int = 100

    name: ClassVar[str] = "detection"
    provides: ClassVar[Provides] = PROVIDES

    def check(self) -> None:
        """Raise ConfigError for a threshold outside (0, 1], and for nothing to keep."""
        for option in ("min_score", "overlap", "cross_overlap"):
            if not 0.0 < getattr(self, option) <= 1.0:
                raise ConfigError(f"{option} of detection must be in (0, 1], got {getattr(self, option)}.")
        if self.max_objects < 1:
            raise ConfigError(f"max_objects of detection must be at least 1, got {self.max_objects}.")

    def kept(
        self, names: Sequence[str], labels: np.ndarray, scores: np.ndarray, boxes: np.ndarray, size: tuple[int, int]
    ) -> Annotation:
        """Return what the column stores of proposals.

        `labels` (N,) count `names`, `scores` (N,) are in [0, 1], `boxes` (N,4) in pixels of an image of `size`
        (height, width), at whose borders they are cut.
        """
        height, width = size
        boxes = np.clip(boxes, 0, np.array([width, height] * 2))
        sides = boxes[:, 2:] - boxes[:, :2]
        good = np.flatnonzero((scores >= self.min_score) & (sides >= 1.0).all(axis=1))  # less than a pixel is no object
        good = good[np.argsort(-scores[good], kind="stable")][:_CANDIDATES]
        boxes, scores, labels = boxes[good], scores[good], labels[good]
        kept = suppress(boxes, scores, labels, self.overlap, self.cross_overlap)[: self.max_objects]
        return annotation_of([names[label] for label in labels[kept]], scores[kept], boxes[kept])

    def best(self, names: Sequence[str], scores: np.ndarray, boxes: np.ndarray, size: tuple[int, int]) -> Annotation:
        """Return what the column stores of a DETR's queries: scores (Q,C) of each name, boxes (Q,4) as for `corners`.

        Each box has its best name.
        """
        return self.kept(
            names, scores.argmax(axis=1), scores.max(axis=1).astype(np.float64), corners(boxes, size), size
        )


def corners(boxes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return boxes (N,4) of centre and sides, as shares of an image of `size` (height, width), as corners in pixels."""
    return corners_of(boxes) * np.array([size[1], size[0]] * 2)


def corners_of(boxes: np.ndarray) -> np.ndarray:
    """Return boxes (N,4) of centre and sides as corners, in the same unit."""
    centres, halves = boxes[:, :2].astype(np.float64), boxes[:, 2:].astype(np.float64) / 2
    return np.concatenate([centres - halves, centres + halves], axis=1)


COCO_OF_VOC = {
    "aeroplane": "airplane",
    "diningtable": "dining table",
    "motorbike": "motorcycle",
    "pottedplant": "potted plant",
    "sofa": "couch",
    "tvmonitor": "tv",
}
"""Names of PASCAL VOC that some repositories give COCO's classes, and COCO's own, by which other columns know them."""


def class_name(label: str) -> str:
    """Return COCO's name of a class, whatever a repository calls it."""
    plain = label.strip().lower().replace("_", " ")
    return COCO_OF_VOC.get(plain, plain)


def annotation_of(labels: Sequence[str], scores: np.ndarray, boxes: np.ndarray) -> Annotation:
    """Return what the column stores of objects, best first: COCO names, `scores` (N,) in [0, 1], `boxes` (N,4)."""
    objects = [
        {"label": label, "score": round(float(score), 4), **box_fields(_tenths(box))}
        for label, score, box in zip(labels, scores, boxes, strict=True)
    ]
    return Annotation({"objects": objects, "num_objects": len(objects), "num_people": list(labels).count("person")})


def _tenths(box: np.ndarray) -> list[float]:
    """Return a box to a tenth of a pixel, which is all that it is worth."""
    return [round(float(value), 1) for value in box]


@dataclass(frozen=True)
class BroughtBoxes(ThingReader):
    """Boxes that a source brings: a list of records, each with a label and a box, perhaps a score (else 1)."""

    provides: ClassVar[Provides] = PROVIDES

    def take(self, item: Item) -> Annotation:
        """Return what the column stores, best first; raises SampleError brought_box or brought_value."""
        labels, scores, boxes = self.named(brought_of(item), "objects")
        order = np.argsort(-scores, kind="stable")
        return annotation_of([labels[index] for index in order], scores[order], boxes[order])


BROUGHT = BroughtBoxes
