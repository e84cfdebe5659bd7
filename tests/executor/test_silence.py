"""What counts as a worker's silence, by a clock the test moves.

PYTHONPATH=. python -m pytest tests/executor/test_silence.py
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest

from onegen.config.recipe import LimitsConfig
from onegen.errors import Stopped
from onegen.executor.contract import Finished, Loaded, Message, Placed, RowsStarted, ShardResult, Task, Waiting
from onegen.executor.supervisor import OUTER_BOUND, TICK_SECONDS, Supervisor

Round = tuple[float, list[tuple[int, Message]]]
"""What is heard at one wait, after how many seconds."""
BATCH_SECONDS = 60.0
LOAD_SECONDS = 90.0
FIRST, SECOND = Task(0, ("hed",)), Task(1, ("hed",))


class Clock:
    """Stands for the module `time`: it goes on when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("onegen.executor.supervisor.time", clock)
    return clock


@dataclass
class RehearsedPool:
    """Workers whose words come in `rounds`, each after so many seconds, in waits no longer than they may be.

    `shares` says how much of the time of each worker it has to itself; the rest it is stopped or starved. While the
    driver is `away`, one wait takes a whole round.
    """

    clock: Clock
    rounds: deque[Round]
    tasks: list[Task] = field(default_factory=list)
    killed: list[tuple[int, float]] = field(default_factory=list)
    started: int = 0
    shares: Mapping[int, float] = field(default_factory=dict)
    is_away: bool = False

    def start(self) -> int:
        self.started += 1
        return self.started

    def run(self, worker: int, task: Task) -> None:
        self.tasks.append(task)

    def wait(self, timeout: float) -> list[tuple[int, Message]]:
        seconds, words = self.rounds.popleft()
        if seconds > timeout and not self.is_away:
            self.clock.now += timeout
            self.rounds.appendleft((seconds - timeout, words))
            return []
        self.clock.now += seconds
        return words

    def own_seconds(self, worker: int) -> float | None:
        return self.clock.now * self.shares[worker] if worker in self.shares else None

    def kill(self, worker: int) -> None:
        self.killed.append((worker, self.clock.now))

    def close(self) -> None:
        pass


def result_of(shard: int) -> ShardResult:
    """Return a result a test can tell from another's."""
    return ShardResult((), {"shard": str(shard)})


def supervise(
    clock: Clock,
    *rounds: Round,
    commit_seconds: float = 0.0,
    workers: int = 2,
    shares: Mapping[int, float] | None = None,
    is_away: bool = False,
) -> tuple[RehearsedPool, list[str]]:
    """Run as many tasks as workers; return the pool and the shards committed."""
    pool = RehearsedPool(clock, deque(rounds), shares=shares or {}, is_away=is_away)
    committed: list[str] = []

    def commit(result: ShardResult) -> None:
        clock.now += commit_seconds
        committed.append(result.pending["shard"])

    limits = LimitsConfig(batch_seconds=BATCH_SECONDS, load_seconds=LOAD_SECONDS)
    Supervisor(pool, limits, workers, commit).run([FIRST, SECOND][:workers])
    return pool, committed


LOADED: Round = (1.0, [(1, Loaded()), (2, Loaded())])


def test_a_slow_commit_is_no_silence_of_a_worker_whose_word_waits(clock: Clock) -> None:
    pool, committed = supervise(
        clock,
        LOADED,
        (1.0, [(2, RowsStarted("hed", 1, (0, 1))), (1, RowsStarted("hed", 0, (0, 1))), (1, Finished(result_of(0)))]),
        # Said while the first was committed, heard after.
        (0.0, [(2, Finished(result_of(1)))]),
        commit_seconds=10 * BATCH_SECONDS,
    )
    assert pool.killed == []
    assert committed == ["0", "1"]
    assert pool.tasks == [FIRST, SECOND], "no row is suspected"


def test_a_slow_commit_is_no_silence_of_a_worker_that_loads(clock: Clock) -> None:
    pool, committed = supervise(
        clock,
        (1.0, [(1, Loaded())]),
        (1.0, [(1, RowsStarted("hed", 0, (0,))), (1, Finished(result_of(0)))]),
        # The first goes on with the second shard meanwhile.
        (0.0, [(1, RowsStarted("hed", 1, (0,))), (2, Loaded())]),
        (1.0, [(1, Finished(result_of(1)))]),
        commit_seconds=10 * LOAD_SECONDS,
    )
    assert pool.killed == []
    assert committed == ["0", "1"]


@pytest.mark.parametrize(("seconds", "is_killed"), [(BATCH_SECONDS, False), (BATCH_SECONDS + 1, True)])
def test_a_worker_silent_over_its_rows_is_killed_at_its_deadline(clock: Clock, seconds: float, is_killed: bool) -> None:
    pool, committed = supervise(
        clock,
        (1.0, [(1, Loaded())]),
        (1.0, [(1, RowsStarted("hed", 0, (3,)))]),
        (seconds, []),
        (0.0, [(2, Loaded())] if is_killed else [(1, Finished(result_of(0)))]),
        (0.0, [(2, Finished(result_of(0)))]),
        workers=1,
    )
    assert pool.killed == ([(1, 1002.0 + BATCH_SECONDS + TICK_SECONDS)] if is_killed else [])
    assert committed == ["0"]
    assert [task.suspects for task in pool.tasks] == ([(), (("hed", 3),)] if is_killed else [()])


def test_a_word_a_batch_keeps_a_slow_worker_alive(clock: Clock) -> None:
    batches = [(BATCH_SECONDS, [(1, RowsStarted("hed", 0, (row,)))]) for row in range(10)]
    last: Round = (BATCH_SECONDS, [(1, Finished(result_of(0)))])
    pool, committed = supervise(clock, (LOAD_SECONDS, [(1, Loaded())]), *batches, last, workers=1)
    assert (pool.killed, committed) == ([], ["0"])


def test_a_worker_that_never_loads_has_the_longer_limit(clock: Clock) -> None:
    silence: list[Round] = [(LOAD_SECONDS, []), (1.0, [])]
    with pytest.raises(
        Stopped, match="workers must start, and 3 did not: nothing heard for 90 s from a worker loading"
    ):
        supervise(clock, *silence * 3, workers=1)


def test_an_idle_worker_may_be_silent_for_ever(clock: Clock) -> None:
    pool, committed = supervise(
        clock,
        LOADED,
        (1.0, [(1, RowsStarted("hed", 0, (0,))), (2, RowsStarted("hed", 1, (0,)))]),
        (1.0, [(1, Finished(result_of(0)))]),
        *[(BATCH_SECONDS - 1, [(2, RowsStarted("hed", 1, (row,)))]) for row in range(5)],
        (1.0, [(2, Finished(result_of(1)))]),
    )
    assert (pool.killed, committed) == ([], ["0", "1"])


@pytest.mark.parametrize("share", [0.0, 0.2])
def test_a_worker_that_is_stopped_or_starved_has_more_time(clock: Clock, share: float) -> None:
    pool, committed = supervise(
        clock,
        (1.0, [(1, Loaded())]),
        (1.0, [(1, RowsStarted("hed", 0, (3,)))]),
        (OUTER_BOUND * BATCH_SECONDS, [(1, Finished(result_of(0)))]),
        workers=1,
        shares={1: share},
    )
    assert (pool.killed, committed) == ([], ["0"])


@pytest.mark.parametrize(
    ("share", "seconds"), [(0.0, OUTER_BOUND * BATCH_SECONDS), (0.5, 2 * BATCH_SECONDS), (1.0, BATCH_SECONDS)]
)
def test_a_hang_is_found_whatever_the_worker_has_to_itself(clock: Clock, share: float, seconds: float) -> None:
    pool, _ = supervise(
        clock,
        (1.0, [(1, Loaded())]),
        (1.0, [(1, RowsStarted("hed", 0, (3,)))]),
        (seconds + TICK_SECONDS, []),
        (0.0, [(2, Loaded())]),
        (0.0, [(2, Finished(result_of(0)))]),
        workers=1,
        shares={1: share},
    )
    assert pool.killed == [(1, 1002.0 + seconds + TICK_SECONDS)]


def test_the_time_a_driver_is_away_is_no_silence(clock: Clock) -> None:
    """Ctrl-Z and `fg`, or a machine that sleeps: no clock but the driver's own tells."""
    pool, committed = supervise(
        clock,
        (1.0, [(1, Loaded())]),
        (1.0, [(1, RowsStarted("hed", 0, (3,)))]),
        (100 * BATCH_SECONDS, []),
        (1.0, [(1, Finished(result_of(0)))]),
        workers=1,
        is_away=True,
    )
    assert (pool.killed, committed) == ([], ["0"])


def test_a_worker_without_a_place_is_not_silent(clock: Clock) -> None:
    """Its deadline for loading begins where it is placed; who works goes on."""
    pool, committed = supervise(
        clock,
        (1.0, [(1, Placed()), (1, Loaded()), (2, Waiting())]),
        *[(BATCH_SECONDS - 1, [(1, RowsStarted("hed", 0, (row,))), (2, Waiting())]) for row in range(9)],
        (1.0, [(1, Finished(result_of(0))), (2, Placed())]),
        (BATCH_SECONDS - 1, [(1, Finished(result_of(1)))]),
    )
    assert (pool.killed, sorted(committed)) == ([], ["0", "1"])


def test_a_worker_that_is_placed_must_load_in_time(clock: Clock) -> None:
    pool, _ = supervise(
        clock,
        (1.0, [(1, Waiting())]),
        (10 * LOAD_SECONDS, [(1, Placed())]),
        (LOAD_SECONDS + TICK_SECONDS, []),
        (0.0, [(2, Loaded())]),
        (0.0, [(2, Finished(result_of(0)))]),
        workers=1,
    )
    assert [worker for worker, _ in pool.killed] == [1]
