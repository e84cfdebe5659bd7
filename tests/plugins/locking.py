"""A worker that makes a lock between processes, as progress bars and thread pools of libraries do.

`python -m tests.plugins.locking FOLDER` runs one and ends it.
"""

import multiprocessing
import sys
from typing import ClassVar

from onegen.executor.contract import Loaded
from onegen.executor.local import LocalPool
from onegen.storage.local import LocalStore
from tests.plugins.napping import NappingJob


class LockingJob(NappingJob):
    """Makes the lock when it loads."""

    locks: ClassVar[list[object]] = []

    def load(self) -> None:
        """Make it."""
        self.locks.append(multiprocessing.get_context("spawn").RLock())


if __name__ == "__main__":
    pool = LocalPool(LockingJob(LocalStore(sys.argv[1]), 0.1))
    worker = pool.start()
    heard: list[object] = []
    while not heard:
        heard = [message for _, message in pool.wait(1)]
    assert heard == [Loaded()], heard
    pool.close()
