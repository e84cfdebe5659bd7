"""How likely a photo is pornographic: what `where: "nsfw < 0.5"` filters on, whichever backend says so."""

from dataclasses import dataclass
from typing import ClassVar

import pyarrow as pa

from onegen.annotators.shared.brought import BaseReader, brought_of, number_of, plain_of
from onegen.sample import Annotation, Item, Provides

PROVIDES = Provides(fields={"nsfw": pa.float64()})
"""`nsfw`: a probability in [0, 1]."""


def annotation_of(probability: float) -> Annotation:
    """Return what the column stores of a probability."""
    return Annotation({"nsfw": round(float(probability), 8)})


@dataclass(frozen=True)
class BroughtProbability(BaseReader):
    """A probability that a source brings, such as the column `punsafe` of a crawl."""

    provides: ClassVar[Provides] = PROVIDES

    def take(self, item: Item) -> Annotation:
        """Return what the column stores; raises SampleError brought_value."""
        brought = brought_of(item)
        return annotation_of(number_of(brought.place, plain_of(brought), 0.0, 1.0))


BROUGHT = BroughtProbability
