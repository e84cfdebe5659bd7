"""What the system says of a worker's process: how long it had itself to blame for its silence, and its memory.

A process that is stopped, or that waits for a core or a disk, is silent for no fault of the row it runs. Linux tells
these apart from a hang; elsewhere only the clock is known.
"""

import contextlib
import ctypes
import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path

LONGEST_SAMPLE_SECONDS = 5.0
"""A driver that looks away for longer may have been stopped itself, and its workers with it."""
_HALTED = frozenset("TtD")
"""Stopped, traced, or held by the kernel."""


PR_SET_PDEATHSIG = 1


def end_with_parent() -> None:
    """Have Linux kill this process when the one that started it is gone, also in a batch that keeps every thread busy.

    What it goes on writing would lie behind the sweep of the next driver.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class OwnClock:
    """The seconds that a process had to itself, as far as it was looked at: sample it a few times a second."""

    def __init__(self, pid: int) -> None:
        self._folder = Path(f"/proc/{pid}")
        self._sampled = time.monotonic()
        self._waits: Mapping[str, int] = {}
        self.seconds: float | None = None
        self.sample()

    def sample(self) -> None:
        """Add the time since the last sample, unless the process was held; less what it waited for a core."""
        now = time.monotonic()
        passed, self._sampled = min(now - self._sampled, LONGEST_SAMPLE_SECONDS), now
        state = self._state()
        if state is None:
            self.seconds = None
            return
        waits = self._waits_for_a_core()
        # Any thread of it may be the one that all others wait for.
        starved = max((wait - self._waits.get(thread, 0) for thread, wait in waits.items()), default=0) / 1e9
        self._waits = waits
        # A wait is told when it ends, so that it may be longer than this sample.
        self.seconds = (self.seconds or 0.0) + (0.0 if state in _HALTED else passed - starved)

    def _state(self) -> str | None:
        try:
            return (self._folder / "stat").read_text(encoding="utf-8", errors="replace").rpartition(") ")[2][:1]
        except OSError:
            return None

    def _waits_for_a_core(self) -> dict[str, int]:
        """Return the nanoseconds that each thread was ready to run and had no core, where the system counts them."""
        waits: dict[str, int] = {}
        with contextlib.suppress(OSError):
            for thread in os.listdir(self._folder / "task"):
                # A thread may end meanwhile.
                with contextlib.suppress(OSError):
                    waits[thread] = int((self._folder / "task" / thread / "schedstat").read_text().split()[1])
        return waits


def resident_bytes(pid: int) -> int:
    """Return the memory a process holds; 0 where it is gone or the system does not tell."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0
