"""An annotator that takes its time over each image, so that something can happen to its machine meanwhile."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import pyarrow as pa

from onegen.annotators import register
from onegen.sample import Annotation, Item, Provides, Rejected
from tests.plugins.plain import Plain


@register("annotators", "dawdle")
@dataclass(frozen=True)
class Dawdle(Plain):
    """Answers with the height, after `seconds` an image."""

    seconds: float = 0.3

    name: ClassVar[str] = "dawdle"
    provides: ClassVar[Provides] = Provides(fields={"height": pa.int64()})

    def annotate(self, items: Sequence[Item]) -> list[Annotation | Rejected]:
        time.sleep(self.seconds * len(items))
        return [Annotation({"height": item.size[0] if item.size else None}) for item in items]
