"""Faces and who they are. What the column stores, whichever backend made it."""

from collections.abc import Iterable, Sequence
from typing import Any

import pyarrow as pa

from onegen.pixels.boxes import BOX_FIELDS, box_fields
from onegen.sample import Annotation, Provides

FACE = pa.struct(
    [
        ("score", pa.float64()),
        *BOX_FIELDS,
        ("landmarks", pa.list_(pa.float64())),
        ("identity", pa.list_(pa.float64())),
    ]
)
"""One face: the detector's score, box in pixels, 5 x (x, y) landmarks, and the numbers of identity.

The landmarks of `embedded` are the outer and inner corner of the person's own left eye, of the right eye, and the base
of the nose; of `arcface` the eyes, the nose and the corners of the mouth, from the left of the picture. Identities are
compared within one backend.
"""
PROVIDES = Provides(fields={"faces": pa.list_(FACE), "num_faces": pa.int32()})
"""`faces`, best first, and how many there are."""


def annotation_of(faces: Sequence[dict[str, Any]]) -> Annotation:
    """Return what the column stores of faces, best first."""
    return Annotation({"faces": list(faces), "num_faces": len(faces)})


def face(
    score: float, box: Sequence[float], landmarks: Iterable[float], identity: Iterable[float], shape: Sequence[int]
) -> dict[str, Any]:
    """Return one face as a record; its box (x0, y0, x1, y1) is cut at the borders of the image of `shape` (H,W,...)."""
    limits = (shape[1], shape[0]) * 2
    inside = (round(min(max(0.0, value), limit), 1) for value, limit in zip(box, limits, strict=True))
    return {
        "score": round(score, 4),
        **box_fields(inside),
        "landmarks": [float(value) for value in landmarks],
        "identity": [round(float(value), 6) for value in identity],
    }
