"""An annotator in parts whose device holds so much and no more, and to each part of which an image may be poison."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from onegen.annotators import register
from onegen.sample import Annotation, Item, Part, Provides, Rejected
from tests.plugins.plain import Plain
from tests.plugins.poison import act


class OutOfMemoryError(RuntimeError):
    """Stands in for torch's, which is known by its name."""


@register("annotators", "in_parts")
@dataclass(frozen=True)
class Shaded(Plain):
    """The grey of each pixel, and its mean; a device that holds `holds` pictures at once, 0 for any number.

    A caption such as `infer kill` is poison to that part, as long as the file `cure` is not there.
    """

    cure: str = "/nowhere"
    holds: int = 0
    calls: str = ""

    name: ClassVar[str] = "in_parts"
    needs_pixels: ClassVar[bool] = True
    provides: ClassVar[Provides] = Provides((Part("shade.png", "gray8"),), {"mean": pa.float64()})

    def annotate(self, items: Sequence[Item]) -> list[Annotation | Rejected]:
        answers = self.infer([self.prepare(item) for item in items])
        return [self.finish(item, answer) for item, answer in zip(items, answers, strict=True)]

    def prepare(self, item: Item) -> Any:
        self._act("prepare", item.caption)
        assert item.pixels is not None
        return item.caption, item.pixels.astype(np.float64)

    def infer(self, prepared: Sequence[Any]) -> list[Any]:
        if self.calls:
            with open(self.calls, "a", encoding="ascii") as file:
                file.write(f"{len(prepared)}\n")
        if self.holds and len(prepared) > self.holds:
            raise OutOfMemoryError(f"a device that holds {self.holds} was given {len(prepared)}")
        for caption, _ in prepared:
            self._act("infer", caption)
        return [pixels.mean(axis=2) for _, pixels in prepared]

    def finish(self, item: Item, answer: Any) -> Annotation | Rejected:
        self._act("finish", item.caption)
        return Annotation({"mean": round(float(answer.mean()), 6)}, {"shade.png": answer.astype(np.uint8)})

    def _act(self, part: str, caption: str | None) -> None:
        where, _, word = (caption or "").partition(" ")
        if where == part and not os.path.exists(self.cure):
            act(word)
