"""Local workers: what the pool makes of a process that ends badly."""

import contextlib
import multiprocessing
import os
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from onegen.build.pack import PackJob
from onegen.config.recipe import LimitsConfig
from onegen.errors import Stopped
from onegen.executor.contract import Died, Finished, Interrupt, Loaded, RowsStarted, ShardResult, Task
from onegen.executor.local import HEADER, MARK, InProcessPool, LocalPool, _Process, _send
from onegen.executor.process import OwnClock, resident_bytes
from onegen.executor.supervisor import Supervisor
from onegen.storage.local import LocalStore
from tests.plugins.napping import NappingJob


def test_a_worker_that_dies_with_a_message_half_sent_is_a_dead_worker(tmp_path: Path) -> None:
    pool = LocalPool(PackJob(LocalStore(str(tmp_path)), "image", (), (), {}))
    process = multiprocessing.get_context("spawn").Process(target=os._exit, args=(7,), daemon=True)
    process.start()
    ours, theirs = multiprocessing.Pipe()
    os.write(theirs.fileno(), struct.pack("!i", 1000) + b"the beginning of a manifest")
    theirs.close()
    pool._workers[1] = _Process(process, ours)
    assert pool.wait(1) == [(1, Died("exited with code 7"))]
    pool.close()


@dataclass(frozen=True)
class Sleeper:
    """A pool whose only worker sleeps, and the worker's end of its pipe, on which a test writes."""

    pool: LocalPool
    process: BaseProcess
    pipe: Connection


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[Sleeper]:
    pool = LocalPool(PackJob(LocalStore(str(tmp_path)), "image", (), (), {}))
    process = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(600,), daemon=True)
    process.start()
    ours, theirs = multiprocessing.Pipe()
    pool._workers[1] = _Process(process, ours)
    yield Sleeper(pool, process, theirs)
    pool.close()


GARBAGE = {
    "text": b"a library's debugging output",
    "zeros": b"\0" * 64,
    "half a mark": MARK[:3] + MARK[:2],
    "another protocol": struct.pack("!i", -1) * 4,
}


@pytest.mark.parametrize("kind", GARBAGE)
def test_bytes_between_messages_are_passed_over(sleeper: Sleeper, kind: str) -> None:
    """They may come in one piece with a message, or in pieces."""
    _send(sleeper.pipe, Loaded())
    os.write(sleeper.pipe.fileno(), GARBAGE[kind])
    _send(sleeper.pipe, RowsStarted("tone", 0, (1,)))
    assert sleeper.pool.wait(1) == [(1, Loaded()), (1, RowsStarted("tone", 0, (1,)))]
    for byte in GARBAGE[kind]:
        os.write(sleeper.pipe.fileno(), bytes([byte]))
        assert sleeper.pool.wait(0.1) == []
    _send(sleeper.pipe, Loaded())
    assert sleeper.pool.wait(1) == [(1, Loaded())]
    assert sleeper.process.is_alive()


def test_a_damaged_message_is_the_death_of_the_worker(sleeper: Sleeper) -> None:
    _send(sleeper.pipe, Loaded())
    os.write(sleeper.pipe.fileno(), HEADER.pack(MARK, 3, 0) + b"abc")
    assert sleeper.pool.wait(1) == [(1, Loaded()), (1, Died("wrote a message that is damaged"))]
    assert not sleeper.process.is_alive()


def test_a_worker_that_closes_its_pipe_and_sleeps_is_killed(sleeper: Sleeper) -> None:
    sleeper.pipe.close()
    assert sleeper.pool.wait(1) == [(1, Died("closed its pipe"))]
    assert not sleeper.process.is_alive()


def test_half_a_message_never_stops_the_driver(sleeper: Sleeper) -> None:
    os.write(sleeper.pipe.fileno(), HEADER.pack(MARK, 1 << 30, 0) + b"its beginning")
    assert sleeper.pool.wait(0.1) == []


def test_a_worker_that_is_stopped_for_longer_than_its_deadline_blames_no_row(tmp_path: Path) -> None:
    def stop_and_go_on() -> None:
        while not (tmp_path / "pid").exists():
            time.sleep(0.05)
        worker = int((tmp_path / "pid").read_text())
        os.kill(worker, signal.SIGSTOP)
        time.sleep(2 * seconds)
        os.kill(worker, signal.SIGCONT)

    seconds, results = 2.0, list[ShardResult]()
    thread = threading.Thread(target=stop_and_go_on)
    thread.start()
    pool = LocalPool(NappingJob(LocalStore(str(tmp_path)), 0.2))
    Supervisor(pool, LimitsConfig(batch_seconds=seconds), 1, results.append).run([Task(0, ("naps",))])
    thread.join()
    assert [result.pending for result in results] == [{"suspects": "0", "blamed": "0"}]


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux for it")
def test_a_worker_that_lets_no_thread_run_dies_with_its_driver(tmp_path: Path) -> None:
    program = f"""
import os, signal
from onegen.executor.contract import Loaded, Task
from onegen.executor.local import LocalPool
from onegen.storage.local import LocalStore
from tests.plugins.napping import NappingJob
if __name__ == "__main__":
    pool = LocalPool(NappingJob(LocalStore({str(tmp_path)!r}), 600, holds=True))
    worker = pool.start()
    while (worker, Loaded()) not in pool.wait(1):
        pass
    pool.run(worker, Task(0, ("naps",)))
    while not os.path.exists({str(tmp_path / "pid")!r}):
        pool.wait(0.1)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    (tmp_path / "driver.py").write_text(program)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    driver = subprocess.run([sys.executable, tmp_path / "driver.py"], env=environment, timeout=60, check=False)
    assert driver.returncode == -signal.SIGKILL
    worker = int((tmp_path / "pid").read_text())
    for _ in range(100):
        if _is_gone(worker):
            return
        time.sleep(0.05)
    with contextlib.suppress(ProcessLookupError):
        os.kill(worker, signal.SIGKILL)
    raise AssertionError("the worker outlived its driver")


def _is_gone(pid: int) -> bool:
    """Say whether a process has ended, waited for or not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].startswith(("Z", "X"))
    except OSError:
        return True


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux for it")
def test_a_starved_process_has_little_time_to_itself_and_a_sleeping_one_all() -> None:
    """Eight that share one core, beside one that sleeps."""
    cores = os.sched_getaffinity(0)
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(8)]
    asleep = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        for process in busy:
            os.sched_setaffinity(process.pid, {min(cores)})
        time.sleep(0.5)
        clocks = [OwnClock(busy[0].pid), OwnClock(asleep.pid)]
        before = [clock.seconds or 0.0 for clock in clocks]
        for _ in range(15):
            time.sleep(0.2)
            for clock in clocks:
                clock.sample()
        starved, rested = ((clock.seconds or 0.0) - start for clock, start in zip(clocks, before, strict=True))
        assert resident_bytes(asleep.pid) > 1_000_000
    finally:
        for process in [*busy, asleep]:
            process.kill()
            process.wait()
    assert starved < 0.5 * rested
    assert rested > 2.0


def test_nothing_is_known_of_a_process_that_is_gone() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    assert OwnClock(process.pid).seconds is None
    assert resident_bytes(process.pid) == 0


class Leaving(NappingJob):
    """Leaves Python in place of its nap."""

    def perform(self, task: Task) -> Iterator[RowsStarted | Finished]:
        raise SystemExit(0)


def test_a_row_that_leaves_python_does_not_end_the_command_as_if_all_was_done(tmp_path: Path) -> None:
    pool = InProcessPool(Leaving(LocalStore(str(tmp_path)), 1))
    with pytest.raises(Stopped, match="must not end the process"):
        Supervisor(pool, LimitsConfig(), 1, lambda result: None).run([Task(0, ("naps",))])


@pytest.fixture
def heeds_ctrl_c() -> Iterator[None]:
    """Give Ctrl-C its meaning, which a shell takes from what it runs in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heeds_ctrl_c")
def test_ctrl_c_in_this_process_is_told_apart(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGINT)
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
    pool = InProcessPool(NappingJob(LocalStore(str(tmp_path)), 5))
    with pytest.raises(Interrupt):
        Supervisor(pool, LimitsConfig(), 1, lambda result: None).run([Task(0, ("naps",))])
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.usefixtures("heeds_ctrl_c")
def test_ctrl_c_reaches_no_worker_at_any_time(tmp_path: Path) -> None:
    """While it imports what it needs, Python would end it with a traceback on the user's terminal."""
    pool = LocalPool(NappingJob(LocalStore(str(tmp_path)), 0.1))
    worker = pool.start()
    process = pool._workers[worker].process
    assert process.pid is not None
    for _ in range(20):
        os.kill(process.pid, signal.SIGINT)
        time.sleep(0.02)
    heard: list[object] = []
    while not heard:
        heard = [message for _, message in pool.wait(1)]
    os.kill(process.pid, signal.SIGINT)
    assert heard == [Loaded()]
    assert process.is_alive()
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])
    pool.close()


def test_what_a_library_made_in_a_worker_is_no_news(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.plugins.locking", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == ""
