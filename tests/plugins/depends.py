"""An annotator made from a column the source brings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import pyarrow as pa

from onegen.registry import register
from onegen.sample import Annotation, Item, Provides, Rejected, Resources, Weights


@register("annotators", "depends")
@dataclass(frozen=True)
class Depends:
    """The level the source says, and the sum of its map."""

    name: ClassVar[str] = "depends"
    version: ClassVar[int] = 1
    tolerance: ClassVar[Mapping[str, float]] = {}
    requires: ClassVar[tuple[str, ...]] = ("truth",)
    provides: ClassVar[Provides] = Provides(fields={"sum": pa.int64(), "level": pa.float64()})
    resources: ClassVar[Resources] = Resources()
    needs_pixels: ClassVar[bool] = False

    def weights(self) -> tuple[Weights, ...]:
        return ()

    def load(self) -> None:
        pass

    def annotate(self, items: Sequence[Item]) -> list[Annotation | Rejected]:
        truths = [item.annotations["truth"] for item in items]
        return [Annotation({"sum": int(t.parts["truth.png"].sum()), "level": t.values["level"]}) for t in truths]
