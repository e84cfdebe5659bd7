"""Work handed out before it is needed: on threads beside a device that shall never wait, else when it is asked for."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Generic, ParamSpec, TypeVar

_PER_BATCH = 8
"""So many threads more have a further batch to work at: one batch alone would leave them idle."""
P = ParamSpec("P")
T = TypeVar("T")


class Later(Generic[T]):
    """What work will give; asked for twice, it is done once."""

    def __init__(self, get: Callable[[], T]) -> None:
        self._get: Callable[[], T] | None = get
        self._value: list[T] = []

    def result(self) -> T:
        """Return it, as soon as it is there; raises what the work raised."""
        get = self._get  # another thread may ask too
        if get is not None:
            self._value.append(get())
            self._get = None
        return self._value[0]


class Lanes:
    """Threads that read ahead and finish behind, and one that writes, in the order in which it is told.

    Without `threads` work is done by whoever asks for it, when it does: then nothing runs that was not announced.
    """

    def __init__(self, threads: int) -> None:
        self.depth = 1 + threads // _PER_BATCH if threads else 0
        """How many batches are read ahead of the one at work, and how many may wait behind it to be written."""
        self._side = ThreadPoolExecutor(threads, "onegen-side") if threads else None
        self._writer = ThreadPoolExecutor(1, "onegen-writer") if threads else None

    def __enter__(self) -> "Lanes":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for pool in (self._side, self._writer):
            if pool is not None:
                pool.shutdown(wait=True, cancel_futures=True)

    def aside(self, work: Callable[P, T], *args: P.args, **options: P.kwargs) -> Later[T]:
        """Do work on a thread; what it waits for must have been handed out before it."""
        return self._handed(self._side, work, *args, **options)

    def write(self, work: Callable[P, T], *args: P.args, **options: P.kwargs) -> Later[T]:
        """Do work behind all that was handed to this lane before."""
        return self._handed(self._writer, work, *args, **options)

    @staticmethod
    def _handed(pool: ThreadPoolExecutor | None, work: Callable[P, T], *args: P.args, **options: P.kwargs) -> Later[T]:
        if pool is None:
            return Later(lambda: work(*args, **options))
        return Later(pool.submit(work, *args, **options).result)
