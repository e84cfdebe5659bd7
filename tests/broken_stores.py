"""Stores that fail at a chosen change: by an exception, by killing their own process, or for want of room."""

import errno
import multiprocessing
import os
import signal

from onegen.storage.local import LocalStore
from onegen.storage.objects import ObjectStore


class Crash(BaseException):
    """What nothing catches."""


class CrashingStore(LocalStore):
    """Raises Crash at its `at`-th change, counted from 1; 0 never does."""

    def __init__(self, url: str, at: int = 0) -> None:
        super().__init__(url)
        self.at = at
        self.changes: list[tuple[str, str]] = []

    def _change(self, kind: str, name: str) -> None:
        self.changes.append((kind, name))
        if len(self.changes) == self.at:
            raise Crash(f"{kind} {name}")


class CrashingObjects(ObjectStore):
    """Raises Crash at its `at`-th change on an object store, counted from 1; 0 never does."""

    def __init__(self, url: str, at: int = 0) -> None:
        super().__init__(url)
        self.at = at
        self.changes: list[tuple[str, str]] = []

    def _change(self, kind: str, name: str) -> None:
        super()._change(kind, name)
        self.changes.append((kind, name))
        if len(self.changes) == self.at:
            raise Crash(f"{kind} {name}")


class KillingStore(LocalStore):
    """Kills its own process once, at a change of a kind on a name that has `part` in it, in the driver or in a worker.

    The file `marker` says that it happened, to the processes that come after.
    """

    def __init__(self, url: str, kind: str, part: str, marker: str, in_worker: bool = False) -> None:
        super().__init__(url)
        self.kind, self.part, self.marker, self.in_worker = kind, part, marker, in_worker

    def __reduce__(self) -> tuple[type["KillingStore"], tuple[str, str, str, str, bool]]:
        return KillingStore, (self.url, self.kind, self.part, self.marker, self.in_worker)

    def _change(self, kind: str, name: str) -> None:
        is_worker = multiprocessing.parent_process() is not None
        if (kind, is_worker) == (self.kind, self.in_worker) and self.part in name and not os.path.exists(self.marker):
            os.close(os.open(self.marker, os.O_CREAT))
            os.kill(os.getpid(), signal.SIGKILL)


class FullStore(LocalStore):
    """Has no room for a change of a kind on a name that has `part` in it."""

    def __init__(self, url: str, kind: str, part: str, number: int = errno.ENOSPC) -> None:
        super().__init__(url)
        self.kind, self.part, self.number = kind, part, number

    def __reduce__(self) -> tuple[type["FullStore"], tuple[str, str, str, int]]:
        return FullStore, (self.url, self.kind, self.part, self.number)

    def _change(self, kind: str, name: str) -> None:
        if kind == self.kind and self.part in name:
            raise OSError(self.number, os.strerror(self.number), self._path(name))
