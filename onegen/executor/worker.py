"""What every kind of worker does: load a job once, perform its tasks, and say what happened in messages.

`local.py` carries the messages over pipes and `ray.py` over actors; `supervisor.py` reads them.
"""

import gc
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Literal

import cv2

from onegen.build.jobs import Made, StageJob, Task
from onegen.build.outcome import Began
from onegen.build.pack import PackJob, pack_shard
from onegen.build.stage import run_task
from onegen.errors import Breaker, ConfigError
from onegen.storage.store import Store, explain

Job = StageJob | PackJob

THREAD_SETTINGS = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
"""Environment of every worker: a sum over threads depends on their number, and processes share the cores already."""


@dataclass(frozen=True)
class Loaded:
    """The worker is ready for tasks."""


@dataclass(frozen=True)
class Finished:
    """A task is done; its manifests wait to be committed."""

    made: Made


@dataclass(frozen=True)
class Broke:
    """The worker cannot go on and no sample is at fault: a wrong configuration, the store, the breaker, or an error."""

    kind: Literal["config", "store", "breaker", "error"]
    message: str


@dataclass(frozen=True)
class Died:
    """The worker's process is gone; `how` says by what."""

    how: str


Message = Loaded | Began | Finished | Broke | Died


def load(job: Job) -> None:
    """Load what the job's annotators need; raises ConfigError when weights are missing, wrong or unreadable."""
    cv2.setNumThreads(1)
    if isinstance(job, StageJob):
        for column in job.columns:
            try:
                column.annotator.load()
            except OSError as error:
                raise ConfigError(
                    f"annotator {column.column!r} must be able to read its files, got {error}. "
                    f"Mend that, or run `onegen models fetch`."
                ) from error


def settle(job: Job) -> None:
    """Load a job in a process that will do nothing but perform its tasks.

    What is there by then, imported packages above all, is there for good: the garbage collector, which packing makes
    run often, need not walk over it again.
    """
    load(job)
    gc.collect()
    gc.freeze()


def perform(job: Job, task: Task) -> Iterator[Began | Finished]:
    """Make one shard: yield what is about to run, go on when asked for more, and end with what was made."""
    if isinstance(job, StageJob):
        yield Finished((yield from run_task(job, task)))
    else:
        manifest, pending = yield from pack_shard(job, task.shard)
        yield Finished(Made((manifest,), pending))


class Telling:
    """A block whose exception is told before it goes on: `with Telling(job, tell): ...`."""

    def __init__(self, job: Job, tell: Callable[[Message], None]) -> None:
        self._job, self._tell = job, tell

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if not isinstance(error, Exception):
            return False
        told = describe(error, self._job.store)
        self._tell(told)
        # What has a message of its own needs no traceback on the terminal; a bug does.
        return told.kind != "error"


def describe(error: Exception, store: Store) -> Broke:
    """Return why a worker cannot go on, by the kind of exception that ended it."""
    if isinstance(error, ConfigError):
        return Broke("config", str(error))
    if isinstance(error, Breaker):
        return Broke("breaker", str(error))
    if isinstance(error, OSError):
        return Broke("store", explain(error, store))
    return Broke("error", "".join(traceback.format_exception(error)))
