"""What every kind of worker does around its job: one thread, loading for good, and saying why it cannot go on.

`local.py` carries the messages over pipes and `ray.py` over actors; `supervisor.py` reads them.
"""

import errno
import gc
import traceback

import cv2

from onegen.errors import Breaker, ConfigError, Unavailable
from onegen.executor.contract import Job, WorkerFailed
from onegen.shards.canonical import storable
from onegen.shards.sparing import spare_pandas
from onegen.storage.store import Store, explain

THREAD_SETTINGS = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
"""Environment of every worker: a sum over threads depends on their number, and processes share the cores already."""

_RUINED = {errno.EBADF, errno.EFBIG, errno.EMFILE}
"""What a process runs into whose descriptors were closed, used up or limited by what it ran; a fresh one has all."""


def load(job: Job) -> None:
    """Load a job in this process, whatever else the process does; raises ConfigError as the job does."""
    cv2.setNumThreads(1)
    job.load()


def load_for_good(job: Job) -> None:
    """Load a job in a process that will do nothing but perform its tasks.

    What is there by then, imported packages above all, is there for good: the garbage collector, which packing makes
    run often, need not walk over it again.
    """
    spare_pandas()
    load(job)
    gc.collect()
    gc.freeze()


def describe_failure(error: Exception, store: Store) -> WorkerFailed:
    """Return why a worker cannot go on, by the kind of exception that ended it."""
    if isinstance(error, ConfigError):
        return WorkerFailed("config", storable(str(error)))
    if isinstance(error, Breaker):
        return WorkerFailed("breaker", storable(str(error)))
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno in _RUINED):
        return WorkerFailed("crash", storable(f"ended by {type(error).__name__}: {error}"))
    if isinstance(error, OSError):
        return WorkerFailed("store", storable(explain(error, store)))
    if isinstance(error, Unavailable):
        return WorkerFailed("error", storable(str(error)))
    return WorkerFailed("error", storable("".join(traceback.format_exception(error))))
