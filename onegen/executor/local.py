"""Workers on this machine: spawned processes on pipes, or (`--workers 0`) this process itself, for debugging."""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

from onegen.build.jobs import Task
from onegen.build.outcome import Began
from onegen.errors import Breaker
from onegen.executor.worker import THREAD_SETTINGS, Died, Job, Loaded, Message, Telling, describe, load, perform, settle

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
        """Give a worker a task; Began and Finished follow, or Broke or Died."""
        with contextlib.suppress(OSError):
            self._workers[worker].pipe.send(task)

    def wait(self, timeout: float) -> list[tuple[int, Message]]:
        """Return what workers have said, waiting at most `timeout` seconds for the first word."""
        pipes = {held.pipe: number for number, held in self._workers.items()}
        ready = wait(list(pipes), timeout)
        heard: list[tuple[int, Message]] = []
        for pipe in ready:
            assert isinstance(pipe, Connection)
            number = pipes[pipe]
            heard.append((number, self._hear(number)))
        return heard

    def kill(self, worker: int) -> None:
        """Kill a worker; nothing more is heard of it."""
        held = self._workers.pop(worker)
        held.process.kill()
        held.process.join(JOIN_SECONDS)
        held.pipe.close()

    def close(self) -> None:
        """Kill every worker: what they have not returned is not wanted."""
        for worker in list(self._workers):
            self.kill(worker)

    def _hear(self, worker: int) -> Message:
        held = self._workers[worker]
        try:
            message: Message = held.pipe.recv()
        except (EOFError, OSError):
            # OSError: it died with a message half sent.
            held.process.join(JOIN_SECONDS)
            del self._workers[worker]
            held.pipe.close()
            return Died(_how(held.process.exitcode))
        if isinstance(message, Began):
            # The event is in the caller's hands before anything else of this worker can be.
            with contextlib.suppress(OSError):
                held.pipe.send("go")
        return message


class InProcessPool:
    """One worker that is this process: a crash is a crash, a debugger sees everything."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._said: list[Message] = []
        self._task: Task | None = None

    def start(self) -> int:
        """Load the job here."""
        load(self._job)
        self._said.append(Loaded())
        return 0

    def run(self, worker: int, task: Task) -> None:
        """Hold the task for the next `wait`."""
        self._task = task

    def wait(self, timeout: float) -> list[tuple[int, Message]]:
        """Perform the held task, if any; its exceptions are the caller's, but for the breaker's."""
        if self._task is not None:
            task, self._task = self._task, None
            try:
                self._said += perform(self._job, task)
            except Breaker as error:
                self._said.append(describe(error, self._job.store))
        said, self._said = self._said, []
        return [(0, message) for message in said]

    def kill(self, worker: int) -> None:
        """Do nothing: this process lives."""

    def close(self) -> None:
        """Do nothing."""


def _main(pipe: Connection, job: Job) -> None:
    """Run a worker process until its pipe closes."""
    # Ctrl-C reaches the whole process group; the driver decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_die_with_parent, daemon=True).start()

    with contextlib.suppress(EOFError, BrokenPipeError), Telling(job, pipe.send):
        settle(job)
        pipe.send(Loaded())
        while True:
            for message in perform(job, pipe.recv()):
                pipe.send(message)
                if isinstance(message, Began):
                    pipe.recv()


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
