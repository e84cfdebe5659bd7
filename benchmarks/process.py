"""Run a job in a child process and watch it from outside: CPU-seconds and peak memory of its whole process tree.

The child calls `mark` where the clock starts and at each point that may be its end; it waits there until this process
has looked at the tree, so nothing has died in between. Linux only: the numbers come from /proc.
"""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.measure import Timing

POLL_SECONDS = 0.1
_DAEMONS = ("raylet", "gcs_server", "log_monitor.py", "monitor.py", "dashboard.py", "agent.py", "main.py")
"""How the programs end that every Ray cluster runs, busy or idle; its agents also go by `ray::...Agent`."""
_TICK = os.sysconf("SC_CLK_TCK")
_ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Watched:
    """What a child took between its first mark and its last, the peak resident bytes of it and of its largest
    descendant, and the JSON it said at its end."""

    timing: Timing
    peak_rss: int
    peak_rss_worker: int
    said: dict[str, Any]


@dataclass
class _Tree:
    """The processes below a child: the last CPU-seconds and the highest resident bytes seen of each."""

    root: int
    cpu_seen: dict[int, float] = field(default_factory=dict)
    peaks: dict[int, int] = field(default_factory=dict)
    daemons: set[int] = field(default_factory=set)

    def look(self) -> float:
        """Return the CPU-seconds of the tree so far."""
        alive = 0.0
        for pid, (own, reaped) in _descendants(self.root).items():
            self.cpu_seen[pid] = own
            # The kernel's mark only rises, but for once: between fork and exec a child still shows its parent's.
            self.peaks[pid] = _peak_rss(pid) or self.peaks.get(pid, 0)
            alive += own + reaped
            if _is_daemon(pid):
                self.daemons.add(pid)
        # A parent that waits for its children inherits their time; one that ignores them (the raylet) does not, and
        # then what was last seen of them is all there is. Neither sum is ever too high.
        return max(alive, sum(self.cpu_seen.values()))

    def look_at_daemons(self) -> float:
        """Return the part of what was last seen that a cluster's daemons took."""
        return sum(self.cpu_seen[pid] for pid in self.daemons)


def run_child(module: str, orders: Mapping[str, Any]) -> Watched:
    """Run `python -m module` with its orders as JSON on stdin; raises CalledProcessError where it fails."""
    command = [sys.executable, "-m", module]
    paths = os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "PYTHONPATH": paths, "PYTHONWARNINGS": "ignore", "RAY_USAGE_STATS_ENABLED": "0"}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stderr is not None
        tree, marks, said = _Tree(child.pid), [], None
        errors: list[str] = []
        drain = threading.Thread(target=lambda: errors.append(child.stderr.read()))  # type: ignore[union-attr]
        drain.start()
        finished, lock = threading.Event(), threading.Lock()

        def poll() -> None:
            while not finished.wait(POLL_SECONDS):
                with lock:
                    tree.look()

        watcher = threading.Thread(target=poll)
        watcher.start()
        try:
            child.stdin.write(json.dumps(orders) + "\n")
            child.stdin.flush()
            for line in child.stdout:
                if line == "mark\n":
                    with lock:
                        marks.append((tree.look(), tree.look_at_daemons()))
                    child.stdin.write("go\n")
                    child.stdin.flush()
                elif line.startswith("{"):
                    said = json.loads(line)
        finally:
            finished.set()
            watcher.join()
        code = child.wait()
        drain.join()
    if code or said is None:
        raise subprocess.CalledProcessError(code, command, stderr="".join(errors))
    cpu = marks[-1][0] - marks[0][0] + said.get("cpu_after", 0.0)
    timing = Timing(cpu, said["wall"], os.getloadavg()[0], marks[-1][1] - marks[0][1])
    others = [peak for pid, peak in tree.peaks.items() if pid != child.pid]
    return Watched(timing, tree.peaks.get(child.pid, 0), max(others, default=0), said)


def receive() -> dict[str, Any]:
    """Return the orders, in a child."""
    return dict(json.loads(sys.stdin.readline()))


def mark() -> None:
    """Have the parent look at the process tree now, in a child."""
    print("mark", flush=True)
    sys.stdin.readline()


def tell(said: Mapping[str, Any]) -> None:
    """Say how it went, in a child: `wall` in seconds, and `cpu_after`, the CPU-seconds of it since its last mark."""
    print(json.dumps(said), flush=True)


def _descendants(root: int) -> dict[int, tuple[float, float]]:
    """Return (own, inherited from waited-for children) CPU-seconds of a process and of everything below it."""
    parents: dict[int, int] = {}
    times: dict[int, tuple[float, float]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                # The command's name may hold spaces and brackets; the numbers follow its last bracket.
                stat = Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            parents[int(name)] = int(stat[1])
            user, system, child_user, child_system = (int(ticks) / _TICK for ticks in stat[11:15])
            times[int(name)] = user + system, child_user + child_system
    found = {root} if root in times else set()
    grown = True
    while grown:
        below = {pid for pid, parent in parents.items() if parent in found} - found
        found |= below
        grown = bool(below)
    return {pid: times[pid] for pid in found}


def _is_daemon(pid: int) -> bool:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    except (FileNotFoundError, ProcessLookupError):
        return False
    if words[0].startswith("ray::"):
        return words[0].strip().endswith("Agent")
    return any(os.path.basename(word) in _DAEMONS for word in words[:4])


def _peak_rss(pid: int) -> int:
    """Return the peak resident bytes of a process since it was executed; 0 where it is gone.

    Not ru_maxrss: that one a child takes over from the process that forked it.
    """
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    for line in status.splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0
