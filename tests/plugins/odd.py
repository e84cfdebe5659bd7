"""An annotator that answers what it must not, where the caption says so."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from onegen.annotators import register
from onegen.sample import Annotation, Item, Part, Provides, Rejected
from tests.plugins.plain import Plain

ANSWERS: dict[str, Any] = {
    "nan": {"values": {"number": float("nan")}},
    "infinite list": {"values": {"numbers": [1.0, float("inf")]}},
    "text for a number": {"values": {"number": "three"}},
    "too large": {"values": {"count": 2**40}},
    "surrogate": {"values": {"text": "\ud800"}},
    "unknown field": {"values": {"colour": 3}},
    "unknown part": {"parts": {"other.png": np.zeros((40, 48), np.uint8)}},
    "wrong size": {"parts": {"map.png": np.zeros((4, 4), np.uint8)}},
    "wrong type": {"parts": {"map.png": np.zeros((40, 48), np.float32)}},
    "no array": {"parts": {"map.png": b"bytes"}},
}


@register("annotators", "odd")
@dataclass(frozen=True)
class Odd(Plain):
    """A good answer, a rejection for the caption `rejected`, one answer too few for `short`, or one of ANSWERS."""

    name: ClassVar[str] = "odd"
    provides: ClassVar[Provides] = Provides(
        (Part("map.png", "gray8"),),
        {"number": pa.float32(), "numbers": pa.list_(pa.float32()), "count": pa.int32(), "text": pa.string()},
    )
    needs_pixels: ClassVar[bool] = True

    def annotate(self, items: Sequence[Item]) -> list[Annotation | Rejected]:
        captions = [item.caption or "" for item in items]
        return [self._one(caption) for caption in captions if caption != "short"]

    def _one(self, caption: str) -> Annotation | Rejected:
        if caption == "rejected":
            return Rejected("not_wanted", "the caption says so")
        return Annotation(**ANSWERS.get(caption, {"values": {"number": 1.0}}))
