"""An annotator that rejects, fails or answers in words that no file can hold, where the caption says so."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import pyarrow as pa

from onegen.annotators import register
from onegen.errors import SampleError
from onegen.sample import Annotation, Item, Provides, Rejected
from tests.plugins.plain import Plain

REPLIES: dict[str, Any] = {
    "message": RuntimeError("half a pair: \ud83d"),
    "nul": SampleError("a\0b", "c\0d"),
    "reason": SampleError("\ud83d", "half a pair"),
    "no text": SampleError(3, "a number"),  # type: ignore[arg-type]
    "rejected": Rejected("\ud83d", "\udc80"),
    "rejected no text": Rejected(None),  # type: ignore[arg-type]
    "value": Annotation({"word": "\ud83d"}),
    "keyboard": KeyboardInterrupt(),
    "generator": GeneratorExit(),
}
"""What a caption makes it raise or return."""
ENDINGS = {
    "message": "failed runtime_error",
    "nul": "failed a\ufffdb",
    "reason": "failed \ufffd",
    "no text": "failed sample_error",
    "rejected": "filtered \ufffd",
    "rejected no text": "failed bad_annotation",
    "value": "failed bad_annotation",
    "keyboard": "failed keyboard_interrupt",
    "generator": "failed generator_exit",
}
"""What becomes of the row."""


@register("annotators", "garbled")
@dataclass(frozen=True)
class Garbled(Plain):
    """The caption, or what REPLIES says for it."""

    name: ClassVar[str] = "garbled"
    provides: ClassVar[Provides] = Provides(fields={"word": pa.string()})

    def annotate(self, items: Sequence[Item]) -> list[Annotation | Rejected]:
        replies = [REPLIES.get(item.caption or "", Annotation({"word": item.caption})) for item in items]
        for reply in replies:
            if isinstance(reply, BaseException):
                raise reply
        return replies
