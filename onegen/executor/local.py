"""Workers on this machine: spawned processes on pipes, or (`--workers 0`) this process itself, for debugging."""

import contextlib
import functools
import multiprocessing
import os
import pickle
import signal
import struct
import threading
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import FrameType, TracebackType

from onegen.errors import Stopped
from onegen.executor.contract import Died, Interrupt, Job, Loaded, Message, RowsStarted, Task
from onegen.executor.machine import count_cores
from onegen.executor.process import OwnClock, end_with_parent, resident_bytes
from onegen.executor.worker import THREAD_SETTINGS, describe_failure, load, load_for_good
from onegen.storage.store import Store

JOIN_SECONDS = 10
FAREWELL_SECONDS = 1.0
"""A dying process closes its pipe a moment before it is gone."""
SAMPLE_SECONDS = 0.2
READ_BYTES = 1 << 16
MARK = b"1gen"
HEADER = struct.Struct("!4sQI")
"""What precedes a pickled message on its way to the driver: the mark, its size and its CRC-32."""
_TRACKED = "ignore:resource_tracker:UserWarning"
"""Workers are killed, and Python's helper removes the semaphores that libraries made in them: no news to anybody."""


@dataclass
class _Process:
    """A worker's process, our end of its pipe, what of a message has come, and the time the process had to itself."""

    process: BaseProcess
    pipe: Connection
    received: bytearray = field(default_factory=bytearray)
    clock: OwnClock | None = None


class LocalPool:
    """Worker processes of one job. Not thread-safe; the supervisor alone talks to it.

    `memory` is what each may hold, in bytes; 0 sets no limit.
    """

    def __init__(self, job: Job, memory: int = 0) -> None:
        self._job, self._memory = job, memory
        self._context = multiprocessing.get_context("spawn")
        self._workers: dict[int, _Process] = {}
        self._next = 0
        self._sampled = 0.0

    def room(self) -> int:
        """Return the number of cores: each worker keeps one busy."""
        return count_cores()

    def start(self) -> int:
        """Start a worker and return its number; Loaded follows."""
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_main, args=(theirs, self._job), daemon=True)
        said = ",".join(filter(None, (os.environ.get("PYTHONWARNINGS"), _TRACKED)))
        with _environment({**THREAD_SETTINGS, "PYTHONWARNINGS": said}), _interrupts_held_back():
            process.start()
        theirs.close()
        assert process.pid is not None
        self._next += 1
        self._workers[self._next] = _Process(process, ours, clock=OwnClock(process.pid))
        return self._next

    def run(self, worker: int, task: Task) -> None:
        """Give a worker a task; RowsStarted and Finished follow, or WorkerFailed or Died."""
        # A worker whose death is about to be heard takes no task.
        if worker in self._workers:
            with contextlib.suppress(OSError):
                self._workers[worker].pipe.send(task)

    def wait(self, timeout: float) -> list[tuple[int, Message]]:
        """Return what workers have reported, waiting at most `timeout` seconds for the first word."""
        numbers = {worker.pipe: number for number, worker in self._workers.items()}
        messages: list[tuple[int, Message]] = []
        for pipe in wait(list(numbers), min(timeout, SAMPLE_SECONDS)):
            assert isinstance(pipe, Connection)
            messages += self._receive(numbers[pipe])
        return messages + self._sample()

    def own_seconds(self, worker: int) -> float | None:
        """Return how long a worker has had to itself, as far as it was looked at."""
        clock = self._workers[worker].clock if worker in self._workers else None
        return clock.seconds if clock else None

    def kill(self, worker: int) -> None:
        """Kill a worker; nothing more is heard of it."""
        killed = self._workers.pop(worker, None)
        if killed is not None:
            _end(killed)

    def close(self) -> None:
        """Kill every worker: what they have not returned is not wanted."""
        for worker in list(self._workers):
            self.kill(worker)

    def _sample(self) -> list[tuple[int, Message]]:
        """Look at every worker a few times a second: whether it lives, the time it had, and the memory it holds."""
        if time.monotonic() - self._sampled < SAMPLE_SECONDS:
            return []
        self._sampled = time.monotonic()
        deaths: list[tuple[int, Message]] = []
        for number, worker in list(self._workers.items()):
            if worker.clock:
                worker.clock.sample()
            memory = resident_bytes(worker.process.pid or 0) if self._memory else 0
            if not worker.process.is_alive():
                # A child that it left behind may hold its pipe open, and its sentinel.
                deaths += self._receive(number)
            elif memory > self._memory:
                self.kill(number)
                deaths.append((number, Died(f"held {memory:,} bytes of the {self._memory:,} it may", "memory")))
        return deaths

    def _receive(self, number: int) -> list[tuple[int, Message]]:
        """Return the messages a worker has sent, and its death after them if it is dead or out of its mind."""
        worker = self._workers[number]
        messages: list[Message] = []
        # Before its pipe is read: what is in it by now is all that a dead worker has said.
        is_dead = not worker.process.is_alive()
        how = _drain(worker, messages)
        for message in messages:
            if isinstance(message, RowsStarted):
                # The event is in the caller's hands before anything else of this worker can be.
                with contextlib.suppress(OSError):
                    worker.pipe.send("go")
        if is_dead or how is not None:
            del self._workers[number]
            messages.append(Died(_end(worker, FAREWELL_SECONDS) or how or "is gone"))
        return [(number, message) for message in messages]


def _drain(worker: _Process, messages: list[Message]) -> str | None:
    """Add the messages that have come whole; return why there can be no more, if so. Never waits for the worker."""
    try:
        while worker.pipe.poll(0):
            data = os.read(worker.pipe.fileno(), READ_BYTES)
            if not data:
                return "closed its pipe"
            worker.received += data
            messages += _whole_messages(worker.received)
    except OSError:
        return "broke its pipe"
    except ValueError:
        return "wrote a message that is damaged"
    return None


def _whole_messages(received: bytearray) -> Iterator[Message]:
    """Take the messages off the bytes received; raises ValueError for one that its checksum is not of.

    What stands between messages a library wrote that took our descriptor for another's, and is passed over. If it were
    the end of the worker, chance would say what becomes of the row: its answer may be on disk by then, or not yet.
    """
    while True:
        start = received.find(MARK)
        # Without a mark the last bytes may be the beginning of one.
        del received[: start if start >= 0 else max(0, len(received) - len(MARK) + 1)]
        if len(received) < HEADER.size:
            return
        _, size, checksum = HEADER.unpack_from(received)
        if len(received) < HEADER.size + size:
            return
        data = bytes(received[HEADER.size : HEADER.size + size])
        if zlib.crc32(data) != checksum:
            raise ValueError("a message must have its checksum.")
        del received[: HEADER.size + size]
        yield pickle.loads(data)


def _send(pipe: Connection, message: Message) -> None:
    """Send a message to the driver, which tells it from what else a library may write to this descriptor."""
    data = pickle.dumps(message)
    rest = memoryview(HEADER.pack(MARK, len(data), zlib.crc32(data)) + data)
    while rest:
        rest = rest[os.write(pipe.fileno(), rest) :]


def _end(worker: _Process, patience: float = 0.0) -> str | None:
    """Kill a worker's process; return how it ended where it does so by itself within `patience` seconds."""
    deadline = time.monotonic() + patience
    # Not joined: its sentinel is a pipe too, and says nothing of a process that closed it.
    while worker.process.is_alive() and time.monotonic() < deadline:
        time.sleep(0.01)
    ended = worker.process.exitcode
    worker.process.kill()
    worker.process.join(JOIN_SECONDS)
    worker.pipe.close()
    return None if ended is None else _how(ended)


class InProcessPool:
    """One worker that is this process: a crash is a crash, an exception the caller's, a debugger sees everything."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._messages: list[Message] = []
        self._task: Task | None = None

    def room(self) -> int:
        """Return 1."""
        return 1

    def start(self) -> int:
        """Load the job here."""
        load(self._job)
        self._messages.append(Loaded())
        return 0

    def run(self, worker: int, task: Task) -> None:
        """Keep the task for the next `wait`."""
        self._task = task

    def wait(self, timeout: float) -> list[tuple[int, Message]]:
        """Perform the task that was given, if any."""
        if self._task is not None:
            task, self._task = self._task, None
            with _marked_interrupts():
                self._perform(task)
        messages, self._messages = self._messages, []
        return [(0, message) for message in messages]

    def own_seconds(self, worker: int) -> None:
        """Return None: this process cannot time itself out."""

    def kill(self, worker: int) -> None:
        """Do nothing: this process lives."""

    def close(self) -> None:
        """Do nothing."""

    def _perform(self, task: Task) -> None:
        try:
            self._messages += self._job.perform(task)
        except SystemExit as error:
            # With its code, 0 perhaps, the command would end as if all was done.
            raise Stopped(f"shard {task.shard:06d} must not end the process, and raised SystemExit: {error}") from error


@contextlib.contextmanager
def _marked_interrupts() -> Iterator[None]:
    """Raise Ctrl-C as Interrupt for the block, so that it is no KeyboardInterrupt of an annotator's own."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise Interrupt

    before = signal.getsignal(signal.SIGINT)
    if before is not signal.default_int_handler or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _main(pipe: Connection, job: Job) -> None:
    """Run a worker process until its pipe closes."""
    # Ctrl-C reaches the whole process group; the driver decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    _die_with_parent()

    with contextlib.suppress(EOFError, BrokenPipeError), contextlib.ExitStack() as last:
        last.push(functools.partial(_report_failure, pipe, job.store))
        load_for_good(job)
        _send(pipe, Loaded())
        while True:
            for message in job.perform(pipe.recv()):
                _send(pipe, message)
                if isinstance(message, RowsStarted):
                    pipe.recv()


def _report_failure(
    pipe: Connection,
    store: Store,
    kind: type[BaseException] | None,
    error: BaseException | None,
    trace: TracebackType | None,
) -> bool:
    """Report the exception that ends a worker; what has a message of its own needs no traceback on the terminal."""
    if not isinstance(error, Exception):
        return False
    failure = describe_failure(error, store)
    # Without its pipe a worker has nobody to tell; the driver knows.
    with contextlib.suppress(OSError):
        _send(pipe, failure)
    return failure.kind != "error"


def _die_with_parent() -> None:
    """End this process when its driver is gone, also where the system does not see to it."""
    end_with_parent()
    threading.Thread(target=_wait_for_parent, daemon=True).start()


def _wait_for_parent() -> None:
    """Do the same where the system does not, and where the driver was gone before the system was asked."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _how(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        return f"killed by {signal.Signals(-exit_code).name}"
    return f"exited with code {exit_code}"


@contextlib.contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Hold Ctrl-C back for the block, and in a process started in it until that says what it makes of it."""
    # Started within the block, multiprocessing's own helper would let go of Ctrl-C again.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _environment(settings: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
