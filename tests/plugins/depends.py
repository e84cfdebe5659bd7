"""An annotator made from a column the source brings."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import pyarrow as pa

from onegen.annotators import register
from onegen.sample import Annotation, Item, Provides, Rejected
from tests.plugins.plain import Plain


@register("annotators", "depends")
@dataclass(frozen=True)
class Depends(Plain):
    """The level the source says, and the sum of its map."""

    name: ClassVar[str] = "depends"
    requires: ClassVar[tuple[str, ...]] = ("truth",)
    provides: ClassVar[Provides] = Provides(fields={"sum": pa.int64(), "level": pa.float64()})

    def annotate(self, items: Sequence[Item]) -> list[Annotation | Rejected]:
        truths = [item.annotations["truth"] for item in items]
        return [Annotation({"sum": int(t.parts["truth.png"].sum()), "level": t.values["level"]}) for t in truths]
