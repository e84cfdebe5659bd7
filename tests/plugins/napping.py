"""A job whose row takes a nap: long enough for a test to do something to the process that sleeps."""

import ctypes
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass

from onegen.executor.contract import Finished, RowsStarted, ShardResult, Task
from onegen.storage.store import Store


@dataclass(frozen=True)
class NappingJob:
    """Write the process's number to `pid` and sleep; `holds` keeps every other thread of Python from running."""

    store: Store
    seconds: float
    holds: bool = False

    def load(self) -> None:
        """Load nothing."""

    def perform(self, task: Task) -> Iterator[RowsStarted | Finished]:
        """Sleep over one row, and say how many rows were suspected and blamed before."""
        yield RowsStarted("naps", task.shard, (0,))
        self.store.write("pid", str(os.getpid()).encode())
        if self.holds:
            ctypes.PyDLL(None).sleep(int(self.seconds))
        else:
            time.sleep(self.seconds)
        yield RowsStarted("naps", task.shard, ())
        yield Finished(ShardResult((), {"suspects": str(len(task.suspects)), "blamed": str(len(task.blamed))}))
