"""An annotator that writes down how many images it is given at once."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from onegen.annotators import register
from onegen.sample import Annotation, Item, Rejected
from tests.plugins.plain import Plain


@register("annotators", "batches")
@dataclass(frozen=True)
class Batches(Plain):
    """Nothing; the number of images of each call is a line of the file `calls`."""

    calls: str

    name: ClassVar[str] = "batches"

    def annotate(self, items: Sequence[Item]) -> list[Annotation | Rejected]:
        with Path(self.calls).open("a", encoding="utf-8") as file:
            file.write(f"{len(items)}\n")
        return [Annotation() for _ in items]
