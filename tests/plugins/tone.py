"""An annotator on the shipped base: a part and values, cheap and exact; it notes every image it is asked about."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa

from onegen.annotators import register
from onegen.sample import Annotation, BaseAnnotator, Item, Part, Provides, Rejected
from tests.calls import note_calls


@register("annotators", "tone")
@dataclass(frozen=True)
class Tone(BaseAnnotator):
    """The grey picture (`tone.png`) times `gain`, its mean, and the caption, in capitals where it is `loud`."""

    gain: float = 1.0
    loud: str = ""
    calls: str = ""

    name: ClassVar[str] = "tone"
    version: ClassVar[int] = 1
    provides: ClassVar[Provides] = Provides((Part("tone.png", "gray8"),), {"mean": pa.float64(), "text": pa.string()})

    def annotate(self, items: Sequence[Item]) -> list[Annotation | Rejected]:
        note_calls(self.calls, self.name, items)
        return [self._one(item) for item in items]

    def _one(self, item: Item) -> Annotation:
        assert item.pixels is not None
        grey = np.clip(item.pixels.mean(axis=2) * self.gain, 0, 255).astype(np.uint8)
        text = self.loud.upper() if self.loud and item.caption == self.loud else item.caption
        return Annotation({"mean": float(grey.mean()), "text": text}, {"tone.png": grey})
