"""Workers on this machine: spawned processes on pipes, or (`--workers 0`) this process itself, for debugging."""

import contextlib
import functools
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from types import TracebackType

from onegen.executor.contract import Died, Job, Loaded, Message, RowsStarted, Task
from onegen.executor.worker import THREAD_SETTINGS, describe_failure, load, load_for_good
from onegen.storage.store import Store

JOIN_SECONDS = 10


@dataclass
class _Process:
    process: SpawnProcess
    pipe: Connection


class LocalPool:
    """Worker processes of one job. Not thread-safe; the supervisor alone talks to it."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._context = multiprocessing.get_context("spawn")
        self._workers: dict[int, _Process] = {}
        self._next = 0

    def start(self) -> int:
        """Start a worker and return its number; Loaded follows."""
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_main, args=(theirs, self._job), daemon=True)
        with _environment(THREAD_SETTINGS):
            process.start()
        theirs.close()
        self._next += 1
        self._workers[self._next] = _Process(process, ours)
        return self._next

    def run(self, worker: int, task: Task) -> None:
        """Give a worker a task; RowsStarted and Finished follow, or WorkerFailed or Died."""
        with contextlib.suppress(OSError):
            self._workers[worker].pipe.send(task)

    def wait(self, timeout: float) -> list[tuple[int, Message]]:
        """Return what workers have reported, waiting at most `timeout` seconds for the first word."""
        numbers = {worker.pipe: number for number, worker in self._workers.items()}
        messages: list[tuple[int, Message]] = []
        for pipe in wait(list(numbers), timeout):
            assert isinstance(pipe, Connection)
            messages.append((numbers[pipe], self._receive(numbers[pipe])))
        return messages

    def kill(self, worker: int) -> None:
        """Kill a worker; nothing more is heard of it."""
        killed = self._workers.pop(worker)
        killed.process.kill()
        killed.process.join(JOIN_SECONDS)
        killed.pipe.close()

    def close(self) -> None:
        """Kill every worker: what they have not returned is not wanted."""
        for worker in list(self._workers):
            self.kill(worker)

    def _receive(self, number: int) -> Message:
        worker = self._workers[number]
        try:
            message: Message = worker.pipe.recv()
        except (EOFError, OSError):
            # OSError: it died with a message half sent.
            worker.process.join(JOIN_SECONDS)
            del self._workers[number]
            worker.pipe.close()
            return Died(_how(worker.process.exitcode))
        if isinstance(message, RowsStarted):
            # The event is in the caller's hands before anything else of this worker can be.
            with contextlib.suppress(OSError):
                worker.pipe.send("go")
        return message


class InProcessPool:
    """One worker that is this process: a crash is a crash, an exception the caller's, a debugger sees everything."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._messages: list[Message] = []
        self._task: Task | None = None

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
            self._messages += self._job.perform(task)
        messages, self._messages = self._messages, []
        return [(0, message) for message in messages]

    def kill(self, worker: int) -> None:
        """Do nothing: this process lives."""

    def close(self) -> None:
        """Do nothing."""


def _main(pipe: Connection, job: Job) -> None:
    """Run a worker process until its pipe closes."""
    # Ctrl-C reaches the whole process group; the driver decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_die_with_parent, daemon=True).start()

    with contextlib.suppress(EOFError, BrokenPipeError), contextlib.ExitStack() as last:
        last.push(functools.partial(_report_failure, pipe, job.store))
        load_for_good(job)
        pipe.send(Loaded())
        while True:
            for message in job.perform(pipe.recv()):
                pipe.send(message)
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
    pipe.send(failure)
    return failure.kind != "error"


def _die_with_parent() -> None:
    """End this process when its driver is gone, even in the middle of a hung batch."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _how(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        return f"killed by {signal.Signals(-exit_code).name}"
    return f"exited with code {exit_code}"


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
