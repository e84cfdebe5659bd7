"""A process of its own that makes examples: `Pool` starts it and talks to it, `main` is what it runs.

It is started by its command line and not by `multiprocessing`, so that a script without `if __name__ == "__main__"`
can use it, and so that it shares nothing with a trainer that holds a GPU. Arrays pass the pipe uncopied by pickle.
"""

import contextlib
import fcntl
import os
import pickle
import queue
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, Any

from onegen.errors import ConfigError, Stopped
from onegen.executor.worker import THREAD_SETTINGS
from onegen.loader.choices import Choices
from onegen.loader.draw import Draw
from onegen.loader.example import Example
from onegen.loader.making import Maker, Place, Skipped

AHEAD = 2
"""Bins that each worker has to make before the first is asked for."""
SILENCE_SECONDS = 600.0
"""A worker that makes nothing for so long hangs."""
_START = "import sys; sys.path[:] = {path!r}; from onegen.loader.worker import main; main()"
_HEAD, _SIZE = struct.Struct("!I"), struct.Struct("!Q")
_SET_PIPE_SIZE, _PIPE_BYTES = 1031, 1 << 20
"""F_SETPIPE_SZ of Linux: a picture at a time instead of 64 KB."""


class Pool:
    """`workers` processes that make bins in the order in which they are asked for."""

    def __init__(self, workers: int, places: Sequence[Place], choices: Choices, check_parts: bool) -> None:
        self._workers = [_Worker(number, (list(places), choices, check_parts)) for number in range(workers)]
        self._next = 0

    def make_all(self, bins: Iterable[Sequence[Draw]]) -> Iterator[list[Example | Skipped]]:
        """Yield what is made of each bin, in order; raises Stopped for a worker that died, ConfigError as it did."""
        asked = iter(bins)
        wanted = self._next
        pending = 0
        for draws in asked:
            self._ask(draws)
            pending += 1
            if pending == AHEAD * len(self._workers):
                yield self._answer(wanted)
                wanted, pending = wanted + 1, pending - 1
        while pending:
            yield self._answer(wanted)
            wanted, pending = wanted + 1, pending - 1

    def _ask(self, draws: Sequence[Draw]) -> None:
        self._workers[self._next % len(self._workers)].ask(self._next, draws)
        self._next += 1

    def _answer(self, number: int) -> list[Example | Skipped]:
        return self._workers[number % len(self._workers)].answer(number)

    def close(self) -> None:
        """End the processes; what they have not made is not wanted."""
        for worker in self._workers:
            worker.close()


class _Worker:
    """One process, and a thread that takes what it makes off the pipe: neither side can wait for the other for good."""

    def __init__(self, number: int, setup: tuple[list[Place], Choices, bool]) -> None:
        environment = {**os.environ, **THREAD_SETTINGS}
        command = [sys.executable, "-c", _START.format(path=sys.path)]
        self._number = number
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
        self._answers: queue.SimpleQueue[tuple[int, Any] | None] = queue.SimpleQueue()
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._input: IO[bytes] = self._process.stdin
        self._ask(setup)
        threading.Thread(target=self._listen, args=(self._process.stdout,), daemon=True).start()

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

    def ask(self, number: int, draws: Sequence[Draw]) -> None:
        """Have a bin made."""
        self._ask((number, [tuple(draw) for draw in draws]))

    def _ask(self, message: Any) -> None:
        # Its death is told when its answer is wanted.
        with contextlib.suppress(BrokenPipeError):
            send(self._input, message)

    def answer(self, number: int) -> list[Example | Skipped]:
        """Return what was made of a bin; answers to questions before it, which nobody waits for, are thrown away."""
        while True:
            try:
                answer = self._answers.get(timeout=SILENCE_SECONDS)
            except queue.Empty:
                raise Stopped(
                    f"loader worker {self._number} must make a bin in {SILENCE_SECONDS:.0f} s, and hangs (process "
                    f"{self.pid}); the storage may be away. Mend it, and run the same command again: it continues."
                ) from None
            if answer is None:
                raise Stopped(self._death())
            if isinstance(answer[1], ConfigError):
                raise answer[1]
            if answer[0] == number:
                made: list[Example | Skipped] = answer[1]
                return made

    def _death(self) -> str:
        # Another question would have the same answer.
        self._answers.put(None)
        code = self._process.wait()
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
        why = " Most often memory was full: take fewer workers, or smaller bins." if code == -signal.SIGKILL else ""
        return (
            f"loader worker {self._number} (process {self.pid}) must live as long as its loader, and {how}.{why} Run "
            f"the same command again: it continues from the last checkpoint. `workers: 0` shows an error where it is."
        )

    def _listen(self, pipe: IO[bytes]) -> None:
        try:
            while True:
                self._answers.put(receive(pipe))
        except (EOFError, OSError, ValueError):
            self._answers.put(None)

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        with contextlib.suppress(OSError):
            self._input.close()


def main() -> None:
    """Make the bins that are asked for on standard input, until it ends."""
    import cv2

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # What a library prints must not get among the answers.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    with contextlib.suppress(OSError):
        fcntl.fcntl(answers.fileno(), _SET_PIPE_SIZE, _PIPE_BYTES)
    cv2.setNumThreads(1)
    questions = sys.stdin.buffer
    with contextlib.suppress(EOFError, BrokenPipeError):
        maker = Maker(*receive(questions))
        while True:
            number, draws = receive(questions)
            made: Any
            try:
                made = maker.make([Draw(*draw) for draw in draws])
            except ConfigError as error:
                made = error
            send(answers, (number, made))


def send(pipe: IO[bytes], message: Any) -> None:
    """Write a message, arrays beside its pickle."""
    buffers: list[pickle.PickleBuffer] = []
    data = pickle.dumps(message, protocol=5, buffer_callback=buffers.append)
    pieces = [memoryview(data), *(buffer.raw() for buffer in buffers)]
    pipe.write(_HEAD.pack(len(pieces)) + b"".join(_SIZE.pack(piece.nbytes) for piece in pieces))
    for piece in pieces:
        pipe.write(piece)
    pipe.flush()


def receive(pipe: IO[bytes]) -> Any:
    """Read a message; raises EOFError where there is none."""
    (count,) = _HEAD.unpack(_exactly(pipe, _HEAD.size))
    sizes = [_SIZE.unpack(_exactly(pipe, _SIZE.size))[0] for _ in range(count)]
    data, *buffers = [_exactly(pipe, size) for size in sizes]
    return pickle.loads(data, buffers=buffers)


def _exactly(pipe: IO[bytes], size: int) -> bytearray:
    """Read so many bytes; raises EOFError where they are not there."""
    data = bytearray(size)
    rest = memoryview(data)
    while rest:
        count = pipe.readinto(rest)  # type: ignore[attr-defined]
        if not count:
            raise EOFError
        rest = rest[count:]
    return data
