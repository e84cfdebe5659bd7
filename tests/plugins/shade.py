"""An annotator made from another column's part and values, of the same image."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import pyarrow as pa

from onegen.annotators import register
from onegen.sample import Annotation, Item, Provides, Rejected
from tests.plugins.plain import Plain


@register("annotators", "shade")
@dataclass(frozen=True)
class Shade(Plain):
    """How far the mean that `tone` says is from the mean of the map it stored: less than one grey level."""

    name: ClassVar[str] = "shade"
    requires: ClassVar[tuple[str, ...]] = ("tone",)
    provides: ClassVar[Provides] = Provides(fields={"gap": pa.float64(), "width": pa.int32(), "text": pa.string()})

    def annotate(self, items: Sequence[Item]) -> list[Annotation | Rejected]:
        return [self._one(item) for item in items]

    def _one(self, item: Item) -> Annotation:
        tone = item.annotations["tone"]
        gap = abs(float(tone.parts["tone.png"].mean()) - tone.values["mean"])
        return Annotation({"gap": gap, "width": tone.parts["tone.png"].shape[1], "text": item.caption})
