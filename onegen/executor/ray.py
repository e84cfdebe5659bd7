"""Workers as Ray actors: Ray places, transports and buries; the supervisor decides. Imported when Ray is asked for.

Each actor runs one task at a time. What it is about to run it puts on a queue actor before it runs it, so that the
report outlives the process. `ray.util.queue` acknowledges a put once the queue holds it.
"""

import contextlib
import logging
import math
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import ray
from ray.exceptions import OutOfMemoryError, RayActorError, RayTaskError
from ray.util.queue import Queue

from onegen.executor.worker import (
    THREAD_SETTINGS,
    Began,
    Died,
    Finished,
    Job,
    Loaded,
    Message,
    describe,
    perform,
    settle,
)
from onegen.job import Made, Task
from onegen.sample import ConfigError, Resources

CONNECT_SECONDS = 5.0
OBJECT_STORE_BYTES = 256 * 1024 * 1024
"""Only reports and manifests travel through it: pixels stay on the worker that reads them."""


@contextlib.contextmanager
def ray_session(address: str | None, num_cpus: float) -> Iterator[None]:
    """Connect to a cluster, or start one on this machine with at least `num_cpus` (virtual) cores, for the block.

    A session that is already up is used and left up.
    """
    if ray.is_initialized():
        yield
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    common: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    try:
        if address is not None:
            _check_reachable(address)
        if address is None:
            os.environ.update(THREAD_SETTINGS)
            ray.init(
                address="local",
                num_cpus=max(math.ceil(num_cpus), len(os.sched_getaffinity(0))),
                object_store_memory=OBJECT_STORE_BYTES,
                include_dashboard=False,
                **common,
            )
        else:
            ray.init(address=address, runtime_env={"env_vars": THREAD_SETTINGS}, **common)
    except (OSError, RuntimeError, ValueError) as error:
        raise ConfigError(
            f"--address must be a running Ray cluster, got {address!r}: {error}. "
            f"Start one with `ray start --head`, or leave --address out."
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def _check_reachable(address: str) -> None:
    """Raise OSError at once where nobody listens; Ray itself tries for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), CONNECT_SECONDS).close()


class _Worker:
    """The actor: one job, one task at a time."""

    def __init__(self, number: int, job: Job, reports: Queue) -> None:
        self._number, self._job, self._reports = number, job, reports

    def load(self) -> None:
        """Load the job's weights."""
        settle(self._job)

    def run(self, task: Task) -> Made:
        """Make one shard."""
        return perform(self._job, task, self._report)

    def _report(self, column: str, shard: int, positions: tuple[int, ...]) -> None:
        self._reports.put((self._number, Began(column, shard, positions)))


@dataclass
class _Actor:
    handle: Any
    call: ray.ObjectRef | None
    is_loading: bool = True


class RayPool:
    """Ray actors of one job, each asking for the stage's resources. A session must be up; see `ray_session`."""

    def __init__(self, job: Job, resources: Resources) -> None:
        self._job = ray.put(job)
        self._store = job.store
        self._actor: Any = ray.remote(_Worker).options(
            num_cpus=resources.num_cpus, num_gpus=resources.num_gpus, memory=resources.memory or None, max_concurrency=1
        )
        self._reports = Queue(actor_options={"num_cpus": 0})
        self._actors: dict[int, _Actor] = {}
        self._next = 0

    def start(self) -> int:
        """Start an actor and return its number; Loaded follows once Ray has placed it."""
        self._next += 1
        handle = self._actor.remote(self._next, self._job, self._reports)
        self._actors[self._next] = _Actor(handle, handle.load.remote())
        return self._next

    def run(self, worker: int, task: Task) -> None:
        """Give an actor a task."""
        actor = self._actors[worker]
        actor.call = actor.handle.run.remote(task)

    def wait(self, timeout: float) -> list[tuple[int, Message]]:
        """Return reports first, then what became of finished calls: a death is judged by the reports before it."""
        calls = {actor.call: number for number, actor in self._actors.items() if actor.call is not None}
        ready, _ = ray.wait(list(calls), num_returns=len(calls), timeout=0) if calls else ([], [])
        if not ready and calls:
            ready, _ = ray.wait(list(calls), num_returns=1, timeout=timeout)
        reports: list[tuple[int, Message]] = self._reports.get_nowait_batch(self._reports.qsize())
        heard = [(number, message) for number, message in reports if number in self._actors]
        return heard + [(calls[call], self._outcome(calls[call])) for call in ready]

    def kill(self, worker: int) -> None:
        """Kill an actor; nothing more is heard of it."""
        ray.kill(self._actors.pop(worker).handle)

    def close(self) -> None:
        """Kill every actor and the queue."""
        for worker in list(self._actors):
            self.kill(worker)
        self._reports.shutdown(force=True)

    def _outcome(self, worker: int) -> Message:
        actor = self._actors[worker]
        was_loading, actor.is_loading = actor.is_loading, False
        try:
            made: Any = ray.get(cast(ray.ObjectRef, actor.call))
        except (RayActorError, OutOfMemoryError) as error:
            del self._actors[worker]
            return Died(_first_line(error))
        except RayTaskError as error:
            return describe(error.cause if isinstance(error.cause, Exception) else error, self._store)
        actor.call = None
        return Loaded() if was_loading else Finished(made)


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    known = [line for line in lines if "exit" in line.lower() or "killed" in line.lower()]
    return (known or lines or [type(error).__name__])[0]
