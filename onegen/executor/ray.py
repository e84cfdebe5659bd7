"""Workers as Ray actors: Ray places, transports and restarts; the supervisor decides. Imported when Ray is asked for.

Each actor runs one task at a time, as a streaming generator of messages: what it is about to run, then what it made.
Ray lets a generator with a backpressure of one object go on when the driver has taken the object before, so a report
outlives the process that made it, and a death comes after the reports it is judged by.
"""

import contextlib
import importlib.util
import json
import logging
import math
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
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
from onegen.executor.nodes import Question, alive_nodes, describe_rooms, name_of, places
from onegen.executor.process import end_with_parent
from onegen.executor.worker import THREAD_SETTINGS, describe_failure, load_for_good
from onegen.sample import Resources

CONNECT_SECONDS = 5.0
HEAD_ASKED_SECONDS = 5.0
HEAD_SECONDS = 30.0
"""How long the head may be away: long enough to be restarted, and shorter than Ray's own patience, a minute."""
ROOM_ASKED_SECONDS = 2.0
NO_ROOM_SECONDS = 300.0
"""How long a build waits for a node with room for a worker once there is none: a cluster that grows needs minutes."""
OBJECT_STORE_BYTES = 256 * 1024 * 1024
"""Only reports and manifests travel through it: pixels stay on the worker that reads them."""
MODELS = "ONEGEN_MODELS"
"""Environment: the folder of weights. Where the driver has one, nodes look there too."""
_JOB = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""Environment of what `ray job submit` started: JSON with the runtime environment that it was submitted with."""
_UNPACKED = "runtime_resources"
"""Folder in which Ray unpacks code that came with a job; the job's workers have it as well."""
_HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
"""What opens a connection of HTTP/2, which gRPC and so Ray speaks, and an empty frame of settings (RFC 9113, 3.4)."""
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
def ray_session(address: str | None, num_cpus: float, modules: Sequence[str] = ()) -> Iterator[None]:
    """Connect to a cluster, or start one on this machine with at least `num_cpus` (virtual) cores, for the block.

    The nodes of a cluster get this onegen, and the packages of `modules`, plug-ins. A session that is already up is
    used and left up.
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
            ray.init(address=address, runtime_env=runtime_environment(modules), **common)
    except (OSError, RuntimeError, ValueError) as error:
        if address is None:
            raise ConfigError(f"Ray must start on this machine: {error}. Or build with --executor local.") from error
        raise ConfigError(
            f"--address must be a running Ray cluster, got {address!r}: {_one_line(error)}. "
            f"Start one with `ray start --head`, or leave --address out."
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def runtime_environment(modules: Sequence[str]) -> dict[str, Any]:
    """Return what nodes get beside what a job that runs here was submitted with: threads, the place of weights, code.

    Ray refuses what both say, so the job's word stands. What came with the job is not sent again.
    """
    job = (json.loads(os.environ.get(_JOB) or "{}").get("runtime_env") or {}) if _JOB in os.environ else {}
    variables = dict(THREAD_SETTINGS)
    if os.environ.get(MODELS):
        variables[MODELS] = os.path.abspath(os.environ[MODELS])
    environment: dict[str, Any] = {
        "env_vars": {name: value for name, value in variables.items() if name not in job.get("env_vars", {})}
    }
    packages = dict.fromkeys(map(package_path, ["onegen", *modules]))
    code = [path for path in packages if _UNPACKED not in path]
    if code and "py_modules" not in job:
        environment["py_modules"] = code
    return environment


def package_path(module: str) -> str:
    """Return the folder of a module's top-level package, or the file of a module that is no package.

    Raises ConfigError where there is none.
    """
    top = module.partition(".")[0]
    spec = importlib.util.find_spec(top)
    folders = list(spec.submodule_search_locations or ()) if spec is not None else []
    path = folders[0] if folders else spec.origin if spec is not None else None
    if path is None or not Path(path).exists():
        raise ConfigError(f"module {top!r} must be a package or a file, to be sent to the nodes, and is neither.")
    return str(path)


def _one_line(error: Exception) -> str:
    """Return what an error of Ray says, whose text may fill a page."""
    return " ".join(str(error).split()).removesuffix(".") or type(error).__name__


def _check_reachable(address: str) -> None:
    """Raise OSError at once where nobody listens, or somebody else than Ray; Ray itself tries for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        return
    with socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS) as connection:
        if os.environ.get("RAY_USE_TLS") == "1":
            return
        connection.settimeout(CONNECT_SECONDS)
        connection.sendall(_HELLO)
        answer = b""
        with contextlib.suppress(TimeoutError):
            while len(answer) < 4 and (more := connection.recv(9)):
                answer += more
    # The first frame that a server sends is its settings, type 4.
    if answer[3:4] != b"\x04":
        raise OSError("what listens there is not Ray")


def _reachable_head() -> str | None:
    """Return where the head listens; None where that is closed to this machine, which talks to it through a proxy."""
    address: str = ray.get_runtime_context().gcs_address
    try:
        _check_reachable(address)
    except OSError:
        return None
    return address


@dataclass(frozen=True)
class _Arrived:
    """The actor has its place; `problem` is what its node cannot do, None where it was not asked or can do all."""

    node: str
    is_asked: bool
    problem: str | None


class _Worker:
    """The actor: one job, one task at a time."""

    def __init__(self, job: Job, folder: str, question: Question | None, known: frozenset[str]) -> None:
        self._job, self._question, self._known = job, question, known
        end_with_parent()
        # Ray starts its processes where the node was started; paths of a recipe start from where the build was.
        if os.path.isdir(folder):
            os.chdir(folder)

    def load(self) -> Iterator[Message | _Arrived]:
        """Ask the node, unless it is known, whether it can do the work, and load the job's weights."""
        node = ray.get_runtime_context().get_node_id()
        is_asked = self._question is not None and node not in self._known
        problem = self._question(node) if self._question is not None and is_asked else None
        yield _Arrived(node, is_asked, problem)
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
    """Ray actors of one job, each asking for the stage's resources. A session must be up; see `ray_session`.

    A node that is not `known` to be able to do the work, as one that joined late, is asked the `question` by the first
    actors it gets; where it cannot, it is left out and `note` is told.
    """

    def __init__(
        self,
        job: Job,
        resources: Resources,
        question: Question | None = None,
        known: frozenset[str] = frozenset(),
        note: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._job = ray.put(job)
        self._store, self._resources, self._question, self._note = job.store, resources, question, note
        self._able, self._unable = set(known), set[str]()
        self._actor: Any = ray.remote(_Worker)
        self._asked_for: dict[str, Any] = {
            "num_cpus": resources.num_cpus,
            "num_gpus": resources.num_gpus,
            "memory": resources.memory or None,
            "resources": dict(resources.custom) or None,
            "max_concurrency": 1,
        }
        self._room, self._room_asked = 0, -math.inf
        self._no_room_since: float | None = None
        self._actors: dict[int, _Actor] = {}
        self._next = 0
        self._head = _reachable_head()
        self._asked = time.monotonic()
        self._missing_since: float | None = None

    def start(self) -> int:
        """Start an actor and return its number; Waiting follows until Ray has placed it, then Placed and Loaded."""
        self._next += 1
        elsewhere = {"ray.io/node-id": f"!in({','.join(sorted(self._unable))})"} if self._unable else None
        actor = self._actor.options(**self._asked_for, label_selector=elsewhere)
        handle = actor.remote(self._job, os.getcwd(), self._question, frozenset(self._able))
        self._actors[self._next] = _Actor(handle, handle.load.options(**_TAKEN_ONE_BY_ONE).remote())
        return self._next

    def room(self) -> int:
        """Return how many workers the nodes that are up, and can do the work, have room for were they idle."""
        # Without its head Ray would wait for an answer until it ends this process.
        if time.monotonic() - self._room_asked >= ROOM_ASKED_SECONDS and self._head_fault() is None:
            nodes = [node for node in alive_nodes() if node["NodeID"] not in self._unable]
            self._room = sum(places(node, self._resources) for node in nodes)
            self._room_asked = time.monotonic()
        return self._room

    def run(self, worker: int, task: Task) -> None:
        """Give an actor a task."""
        actor = self._actors[worker]
        actor.stream = actor.handle.run.options(**_TAKEN_ONE_BY_ONE).remote(task)

    def wait(self, timeout: float) -> list[tuple[int, Message]]:
        """Return what actors have reported, one word each, waiting at most `timeout` seconds for the first.

        Raises Stopped where the cluster's head is gone, or no node has had room for a worker for a while.
        """
        self._check_head()
        self._check_room()
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
            message: Message | _Arrived = ray.get(next(actor.stream))
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
        if isinstance(message, _Arrived):
            return self._receive_arrival(worker, message)
        if not isinstance(message, Placed | RowsStarted):
            actor.stream = None
        return message

    def _receive_arrival(self, worker: int, arrived: _Arrived) -> Message:
        """Take in what a node answered that was not known."""
        problem = arrived.problem
        if problem is None and arrived.is_asked and self._question is not None and arrived.node not in self._able:
            problem = self._question.confirm(arrived.node)
        if problem is None:
            self._able.add(arrived.node)
            return Placed(arrived.node)
        if arrived.node not in self._unable:
            self._unable.add(arrived.node)
            self._room_asked = -math.inf
            self._note(f"node {name_of(arrived.node)} is left out: it {problem}")
        self.kill(worker)
        return Lost(f"its node {problem}")

    def _check_room(self) -> None:
        """Raise Stopped once no node could hold a worker for a while, were it idle; others' work is waited for."""
        if self.room() or any(actor.is_placed for actor in self._actors.values()):
            self._no_room_since = None
            return
        now = time.monotonic()
        self._no_room_since = self._no_room_since or now
        if now - self._no_room_since >= NO_ROOM_SECONDS:
            rooms = describe_rooms(alive_nodes(), self._resources)
            raise Stopped(
                f"a worker asks for {self._resources}, and no node that can do the work has had them for "
                f"{NO_ROOM_SECONDS:g} s ({rooms}). Run the same command again when the cluster has room."
            )

    def _check_head(self) -> None:
        """Raise Stopped once the head has not answered for a while: Ray would end this process, and say nothing."""
        now = time.monotonic()
        if now - self._asked < HEAD_ASKED_SECONDS:
            return
        self._asked = now
        fault = self._head_fault()
        if fault is None or self._missing_since is None or now - self._missing_since < HEAD_SECONDS:
            return
        # Nothing can be said to actors any more.
        self._actors.clear()
        raise Stopped(
            f"Ray's head at {self._head} must answer, and has not for {now - self._missing_since:.0f} s: {fault}. "
            f"Run the same command again when the cluster is back."
        ) from fault

    def _head_fault(self) -> OSError | None:
        """Return how the head fails to answer; None where it does, or is closed to this machine."""
        if self._head is None:
            return None
        try:
            _check_reachable(self._head)
        except OSError as error:
            # From the first time it did not answer: the driver may have been busy for long before that.
            self._missing_since = self._missing_since or time.monotonic()
            return error
        self._missing_since = None
        return None


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
