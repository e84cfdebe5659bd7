"""How many items a worker's device takes at once: all that it is given, until its memory runs out."""

import gc
import sys
from collections.abc import Callable, Sequence
from typing import Any

_STEADY = 8
"""So many batches without trouble before a larger one is tried again."""


class Appetite:
    """Feed a network batches that its device can hold.

    Out of memory halves what it gets from then on, and the batch is run again in that size; after some batches without
    trouble twice as many are tried. One item alone that does not fit raises. `halvings` counts the halvings, `smallest`
    is the smallest batch since the last `forget`.
    """

    def __init__(self) -> None:
        self._limit: int | None = None
        self._steady = 0
        self.halvings, self.smallest = 0, 0

    def forget(self) -> None:
        """Begin to count anew, for another shard; what fits stays known."""
        self.halvings, self.smallest = 0, 0

    def fed(self, infer: Callable[[Sequence[Any]], list[Any]], prepared: Sequence[Any]) -> list[Any]:
        """Return what `infer` gives for all of `prepared`, in as many calls as it takes."""
        answers: list[Any] = []
        while len(answers) < len(prepared):
            some = prepared[len(answers) : len(answers) + (self._limit or len(prepared))]
            try:
                given = infer(some)
            except RuntimeError as error:
                if not is_out_of_memory(error) or len(some) == 1:
                    raise
                self._halve(len(some))
            else:
                if len(given) != len(some):
                    return given  # not our fault to mend: who asked compares their numbers
                answers += given
                self._grow(len(prepared))
        return answers

    def _halve(self, size: int) -> None:
        self._limit = max(1, size // 2)
        self._steady = 0
        self.halvings += 1
        self.smallest = min(self.smallest or self._limit, self._limit)
        free_memory()

    def _grow(self, wanted: int) -> None:
        if self._limit is None:
            return
        self._steady += 1
        if self._steady >= _STEADY:
            self._limit, self._steady = self._limit * 2, 0
            if self._limit >= wanted:
                self._limit = None


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether a device had no memory left: torch's own exception, known by name where torch is not imported."""
    return type(error).__name__ == "OutOfMemoryError"


def free_memory() -> None:
    """Give back what torch keeps of its device's memory for later."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
