"""An annotator that an image's caption makes raise, hang or die, until the cause is taken away."""

import os
import signal
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import pyarrow as pa

from onegen.annotators import register
from onegen.errors import SampleError
from onegen.sample import Annotation, Item, Provides, Rejected
from tests.calls import note_calls
from tests.plugins.plain import Plain


def act(word: str) -> None:
    """Do to this process what a poisonous image would."""
    match word:
        case "raise":
            raise RuntimeError("poison raised")
        case "sample":
            raise SampleError("bad_sample", "poison says the sample is at fault.")
        case "hang":
            threading.Event().wait()
        case "segfault":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "exit":
            os._exit(3)
        case "sysexit":
            sys.exit("poison left")


@register("annotators", "poison")
@dataclass(frozen=True)
class Poison(Plain):
    """The caption's length; a caption that `act` knows is poison as long as the file `cure` is not there."""

    cure: str
    calls: str = ""

    name: ClassVar[str] = "poison"
    provides: ClassVar[Provides] = Provides(fields={"length": pa.int32()})

    def annotate(self, items: Sequence[Item]) -> list[Annotation | Rejected]:
        note_calls(self.calls, self.name, items)
        is_cured = os.path.exists(self.cure)
        for item in items:
            if not is_cured:
                act(item.caption or "")
        return [Annotation({"length": len(item.caption or "")}) for item in items]
