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
from onegen.pixels.boxes import BOX_FIELDS, box_fields
from onegen.sample import Annotation, Item, Provides

DETECTED = pa.struct([("label", pa.string()), ("score", pa.float64()), *BOX_FIELDS])
"""One object: COCO name, score in [0, 1], box in pixels of the stored image."""
PROVIDES = Provides(fields={"objects": pa.list_(DETECTED), "num_objects": pa.int32(), "num_people": pa.int32()})
"""`objects`, best first; how many there are, and how many of them are people."""


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
