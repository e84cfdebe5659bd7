"""How long `onegen --help` takes, beside a Python that does nothing; where it goes, when it is more than half the bar.

python -m benchmarks startup
"""

import os
import platform
import re
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.measure import Timing, interleave
from benchmarks.table import Row, Table, version

BAR_SECONDS = 0.5
DETAIL_SECONDS = 0.25
HELP = [sys.executable, "-c", "from onegen.cli.app import main; main()", "--help"]
"""What the console script does."""
NOTHING = [sys.executable, "-c", "pass"]
_IMPORT = re.compile(r"import time:\s*(\d+) \|\s*\d+ \|\s*(\S+)")


@dataclass(frozen=True)
class Size:
    """How many rounds are timed."""

    rounds: int = 9


TINY = Size(rounds=1)


def run(size: Size = Size()) -> list[Table]:
    """Time both commands and return the table."""
    found = interleave({"onegen --help": _timed(HELP), "python -c pass": _timed(NOTHING)}, size.rounds)
    bare = statistics.median(timing.cpu for timing in found["python -c pass"])
    rows = []
    for arm, timings in found.items():
        cpu, wall = [t.cpu for t in timings], statistics.median(t.wall for t in timings)
        is_ours = arm.startswith("onegen")
        rows.append(
            Row(
                arm=arm,
                values=cpu,
                ratio=statistics.median(cpu) / bare,
                bar=f"wall < {BAR_SECONDS} s" if is_ours else "",
                is_met=wall < BAR_SECONDS if is_ours else None,
                versions=version("onegen") if is_ours else f"python {platform.python_version()}",
                wall=f"{wall:.3f} s",
            )
        )
    slow = statistics.median(timing.cpu for timing in found["onegen --help"]) > DETAIL_SECONDS
    return [
        Table(
            title="startup: the command line's first word",
            unit="CPU-seconds",
            reference="python alone",
            rows=rows,
            notes=shares() if slow else [],
            loads=[timing.load for timings in found.values() for timing in timings],
        )
    ]


def shares(most: int = 12) -> list[str]:
    """Return what each top-level package takes to import, the slowest first, as lines."""
    done = subprocess.run([HELP[0], "-X", "importtime", *HELP[1:]], capture_output=True, text=True, check=True)
    microseconds: Counter[str] = Counter()
    for match in _IMPORT.finditer(done.stderr):
        microseconds[match[2].partition(".")[0]] += int(match[1])
    total = sum(microseconds.values())
    head = f"imports take {total / 1e6:.3f} s under -X importtime (which slows them):"
    return [
        head,
        *(f"  {name}: {took / 1e6:.3f} s, {took / total:.0%}" for name, took in microseconds.most_common(most)),
    ]


def _timed(command: Sequence[str]) -> Callable[[], Timing]:
    def once() -> Timing:
        began = time.perf_counter()
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            raise subprocess.CalledProcessError(child.returncode, command)
        return Timing(usage.ru_utime + usage.ru_stime, time.perf_counter() - began, os.getloadavg()[0])

    return once
