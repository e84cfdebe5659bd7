"""A job that is no stage: it counts letters of a file a shard, as an evaluation would count what it measures."""

import os
from collections.abc import Iterator
from dataclasses import dataclass

from onegen.errors import Breaker, ConfigError
from onegen.executor.contract import Finished, RowsStarted, ShardResult, Task
from onegen.storage.store import Store


@dataclass(frozen=True)
class CountingJob:
    """Write `counts/SHARD.txt` with the number of letters of `texts/SHARD.txt`; some words end a worker."""

    store: Store
    is_loadable: bool = True

    def load(self) -> None:
        """Refuse to load where the test wants it."""
        if not self.is_loadable:
            raise ConfigError("weights of counting must be there. Fetch them.")

    def perform(self, task: Task) -> Iterator[RowsStarted | Finished]:
        """Count one text, unless its word ends the worker; a row that is blamed is left at nothing."""
        row = ("counts", 0)
        text = "" if row in task.blamed else self.store.read(f"texts/{task.shard}.txt").decode()
        yield RowsStarted("counts", task.shard, (0,))
        if text == "die":
            os._exit(5)
        if text == "break":
            raise Breaker("a stage must not fail most of a shard.")
        yield RowsStarted("counts", task.shard, ())
        self.store.write(f"counts/{task.shard}.txt", f"{len(text)} {os.getpid()}".encode())
        yield Finished(ShardResult(()))
