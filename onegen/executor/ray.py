"""Workers as Ray actors: Ray places, transports and restarts; the supervisor decides. Imported when Ray is asked for.

Each actor runs one task at a time, as a streaming generator of messages: what it is about to run, then what it made.
Ray lets a generator with a backpressure of one object go on when the driver has taken the object before, so a report
outlives the process that made it, and a death comes after the reports it is judged by.
"""

import contextlib
import logging
import math
import os
import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import (
    ActorDiedError,
    ActorUnavailableError,
    LocalRayletDiedError,
    NodeDiedError,
    ObjectLostError,
    OutOfMemoryError,
    RayActorError,
    RayError,
    RayTaskError,
    WorkerCrashedError,
)

from onegen.errors import ConfigError, Stopped
from onegen.executor.contract import (
    Died,
    Finished,
    Job,
    Loaded,
    Lost,
    Message,
    Placed,
    RowsStarted,
    Task,
    Waiting,
)
from onegen.executor.machine import count_cores
from onegen.executor.process import end_with_parent
from onegen.executor.worker import THREAD_SETTINGS, describe_failure, load_for_good
from onegen.sample import Resources

CONNECT_SECONDS = 5.0
HEAD_ASKED_SECONDS = 5.0
HEAD_SECONDS = 30.0
"""How long the head may be away: long enough to be restarted, and shorter than Ray's own patience, a minute."""
OBJECT_STORE_BYTES = 256 * 1024 * 1024
"""Only reports and manifests travel through it: pixels stay on the worker that reads them."""
_TAKEN_ONE_BY_ONE: dict[str, Any] = {"num_returns": "streaming", "_generator_backpressure_num_objects": 1}

_LOSSES: Mapping[type[RayError], str] = {
    # The actor may be well and its node out of reach: nobody can tell, so it is given up and its shard runs elsewhere.
    ActorUnavailableError: "its actor could not be reached",
    NodeDiedError: "its node died",
    # The raylet of this very machine; Ray goes down with it.
    LocalRayletDiedError: "Ray on the driver's machine died",
    # A report was made and its bytes are gone with the object store that held them, or with the process that owned it.
    ObjectLostError: "its report was lost with a node's memory",
    # Said of plain tasks, not of actors: it is Ray's own process that crashed, and no row ran in it.
    WorkerCrashedError: "a process of Ray crashed",
}
"""The ways Ray loses a worker through no fault of a row.

Where the actor's own process died, ActorDiedError says so, and OutOfMemoryError where Ray killed it: these are deaths,
and judged.
"""
_NODE_GONE = ("node has died", "node was terminated", "node is dead")
"""What the message of an ActorDiedError says where the actor went down with its node; there is no class for that."""


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
                num_cpus=max(math.ceil(num_cpus), count_cores()),
                object_store_memory=OBJECT_STORE_BYTES,
                include_dashboard=False,
                **common,
            )
        else:
            ray.init(address=address, runtime_env={"env_vars": THREAD_SETTINGS}, **common)
    except (OSError, RuntimeError, ValueError) as error:
        if address is None:
            raise ConfigError(f"Ray must start on this machine: {error}. Or build with --executor local.") from error
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


def _reachable_head() -> str | None:
    """Return where the head listens; None where that is closed to this machine, which talks to it through a proxy."""
    address: str = ray.get_runtime_context().gcs_address
    try:
        _check_reachable(address)
    except OSError:
        return None
    return address


class _Worker:
    """The actor: one job, one task at a time."""

    def __init__(self, job: Job, folder: str) -> None:
        self._job = job
        end_with_parent()
        # Ray starts its processes where the node was started; paths of a recipe start from where the build was.
        if os.path.isdir(folder):
            os.chdir(folder)

    def load(self) -> Iterator[Message]:
        """Load the job's weights."""
        yield Placed()
        load_for_good(self._job)
        yield Loaded()

    def run(self, task: Task) -> Iterator[RowsStarted | Finished]:
        """Make one shard. Ray asks for more once what was reported before is with the driver."""
        yield from self._job.perform(task)


@dataclass
class _Actor:
    """An actor, the stream of messages of the call it is on (None where it is on none), and whether it runs."""

    handle: Any
    stream: ray.ObjectRefGenerator | None
    is_placed: bool = False


class RayPool:
    """Ray actors of one job, each asking for the stage's resources. A session must be up; see `ray_session`."""

    def __init__(self, job: Job, resources: Resources) -> None:
        self._job = ray.put(job)
        self._store = job.store
        self._actor: Any = ray.remote(_Worker).options(
            num_cpus=resources.num_cpus, num_gpus=resources.num_gpus, memory=resources.memory or None, max_concurrency=1
        )
        self._actors: dict[int, _Actor] = {}
        self._next = 0
        self._head = _reachable_head()
        self._asked = time.monotonic()
        self._missing_since: float | None = None

    def start(self) -> int:
        """Start an actor and return its number; Waiting follows until Ray has placed it, then Placed and Loaded."""
        self._next += 1
        handle = self._actor.remote(self._job, os.getcwd())
        self._actors[self._next] = _Actor(handle, handle.load.options(**_TAKEN_ONE_BY_ONE).remote())
        return self._next

    def run(self, worker: int, task: Task) -> None:
        """Give an actor a task."""
        actor = self._actors[worker]
        actor.stream = actor.handle.run.options(**_TAKEN_ONE_BY_ONE).remote(task)

    def wait(self, timeout: float) -> list[tuple[int, Message]]:
        """Return what actors have reported, one word each, waiting at most `timeout` seconds for the first.

        Raises Stopped where the cluster's head is gone.
        """
        self._check_head()
        streams = {actor.stream: number for number, actor in self._actors.items() if actor.stream is not None}
        if not streams:
            return []
        ready, silent = ray.wait(list(streams), num_returns=1, timeout=timeout)
        if ready and silent:
            ready += ray.wait(silent, num_returns=len(silent), timeout=0)[0]
        messages = [(streams[stream], self._receive(streams[stream])) for stream in ready]
        return messages + [(number, Waiting()) for number, actor in self._actors.items() if not actor.is_placed]

    def own_seconds(self, worker: int) -> None:
        """Return None: only the clock is known of a process on another machine."""

    def kill(self, worker: int) -> None:
        """Kill an actor; nothing more is heard of it."""
        actor = self._actors.pop(worker, None)
        if actor is not None:
            ray.kill(actor.handle)

    def close(self) -> None:
        """Kill every actor: what they have not returned is not wanted."""
        for worker in list(self._actors):
            self.kill(worker)

    def _receive(self, worker: int) -> Message:
        actor = self._actors[worker]
        assert actor.stream is not None
        try:
            message: Message = ray.get(next(actor.stream))
        except tuple(_LOSSES) as error:
            # It may live on where it cannot be reached now.
            self.kill(worker)
            return Lost(next(how for kind, how in _LOSSES.items() if isinstance(error, kind)))
        except (RayActorError, OutOfMemoryError) as error:
            del self._actors[worker]
            return _judged(error)
        except RayTaskError as error:
            actor.stream = None
            return describe_failure(error.cause if isinstance(error.cause, Exception) else error, self._store)
        actor.is_placed = True
        if not isinstance(message, Placed | RowsStarted):
            actor.stream = None
        return message

    def _check_head(self) -> None:
        """Raise Stopped once the head has not answered for a while: Ray would end this process, and say nothing."""
        now = time.monotonic()
        if self._head is None or now - self._asked < HEAD_ASKED_SECONDS:
            return
        self._asked = now
        try:
            _check_reachable(self._head)
            self._missing_since = None
        except OSError as error:
            # From the first time it did not answer: the driver may have been busy for long before that.
            self._missing_since = self._missing_since or now
            if now - self._missing_since < HEAD_SECONDS:
                return
            # Nothing can be said to actors any more.
            self._actors.clear()
            raise Stopped(
                f"Ray's head at {self._head} must answer, and has not for {now - self._missing_since:.0f} s: {error}. "
                f"Run the same command again when the cluster is back."
            ) from error


def _judged(error: RayActorError | OutOfMemoryError) -> Died | Lost:
    """Return what the death of an actor says of the row it ran: nothing, where its node died with it."""
    if isinstance(error, OutOfMemoryError):
        return Died(_first_line(error), "memory")
    if isinstance(error, ActorDiedError):
        text = str(error).lower()
        if error.preempted or any(words in text for words in _NODE_GONE):
            return Lost("its node died")
    return Died(_first_line(error))


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    causes = [line for line in lines if "exit" in line.lower() or "killed" in line.lower()]
    return (causes or lines or [type(error).__name__])[0]
