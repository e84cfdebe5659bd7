"""An annotator that writes down how many images it is given at once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from onegen.registry import register
from onegen.sample import Annotation, Item, Provides, Rejected, Resources, Weights


@register("annotators", "batches")
@dataclass(frozen=True)
class Batches:
    """Nothing; the number of images of each call is a line of the file `calls`."""

    calls: str

    name: ClassVar[str] = "batches"
    version: ClassVar[int] = 1
    tolerance: ClassVar[Mapping[str, float]] = {}
    requires: ClassVar[tuple[str, ...]] = ()
    provides: ClassVar[Provides] = Provides()
    resources: ClassVar[Resources] = Resources()
    needs_pixels: ClassVar[bool] = False

    def weights(self) -> tuple[Weights, ...]:
        return ()

    def load(self) -> None:
        pass

    def annotate(self, items: Sequence[Item]) -> list[Annotation | Rejected]:
        with Path(self.calls).open("a", encoding="utf-8") as file:
            file.write(f"{len(items)}\n")
        return [Annotation() for _ in items]
