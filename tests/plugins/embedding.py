"""An annotator of embeddings, as the column `features` has them: the mean colour of four quarters."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import pyarrow as pa

from onegen.annotators import register
from onegen.sample import Annotation, BaseAnnotator, Item, Provides, Rejected


@register("annotators", "embedding")
@dataclass(frozen=True)
class Embedding(BaseAnnotator):
    """The field `features`: twelve numbers; dark pictures are refused."""

    name: ClassVar[str] = "embedding"
    version: ClassVar[int] = 1
    provides: ClassVar[Provides] = Provides(fields={"features": pa.list_(pa.float64())})

    def annotate(self, items: Sequence[Item]) -> list[Annotation | Rejected]:
        return [self._one(item) for item in items]

    def _one(self, item: Item) -> Annotation | Rejected:
        assert item.pixels is not None
        if item.pixels.mean() < 110:
            return Rejected("dark")
        height, width = item.pixels.shape[:2]
        quarters = item.pixels[: height // 2 * 2, : width // 2 * 2].reshape(2, height // 2, 2, width // 2, 3)
        return Annotation({"features": [float(value) for value in quarters.mean(axis=(1, 3)).ravel()]})
