"""An annotator made from another column's part and values, without pixels."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa

from onegen.annotators import register
from onegen.sample import Annotation, Item, Provides, Rejected
from tests.calls import note_calls
from tests.plugins.plain import Plain


@register("annotators", "echo")
@dataclass(frozen=True)
class Echo(Plain):
    """What `tone` said, plus the brightest grey value of its picture."""

    calls: str = ""

    name: ClassVar[str] = "echo"
    requires: ClassVar[tuple[str, ...]] = ("tone",)
    provides: ClassVar[Provides] = Provides(fields={"mean": pa.float64(), "brightest": pa.int32()})

    def annotate(self, items: Sequence[Item]) -> list[Annotation | Rejected]:
        note_calls(self.calls, self.name, items)
        return [self._one(item) for item in items]

    def _one(self, item: Item) -> Annotation:
        assert item.pixels is None
        tone = item.annotations["tone"]
        picture = tone.parts["tone.png"]
        assert isinstance(picture, np.ndarray)
        return Annotation({"mean": tone.values["mean"], "brightest": int(picture.max())})
