"""Drive workers through the shards of one stage: assignments, deadlines, suspects, blame, and when to stop.

The supervisor never sees pixels. It knows which rows are in flight on each worker, because workers report before they
run a batch; so when a process dies it suspects those rows, runs each alone on a fresh worker, and blames a row after
two deaths alone. At the end of a stage a machine that dawdles holds nobody up: its shard is given out once more, and
the first that comes back counts. docs/design.md.
"""

import statistics
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from onegen.config.recipe import LimitsConfig
from onegen.errors import ConfigError, Stopped
from onegen.executor.contract import (
    Blame,
    Died,
    Finished,
    Loaded,
    Lost,
    Message,
    Placed,
    Pool,
    RowsStarted,
    ShardResult,
    Task,
    Waiting,
    WorkerFailed,
)

TICK_SECONDS = 0.5
DEATHS_ALONE = 2
WORKER_TRIES = 3
LOSSES = 10
"""Losses in a row, with nothing finished in between, after which the machines are at fault; workers that go together,
as those of one node do, are one loss."""
LATE_SHARE = 1.5
"""A shard is late that takes so many times as long as the middle one of this run..."""
LATE_SECONDS = 5.0
"""...and at least so long: what is done sooner is not worth doing twice."""
OUTER_BOUND = 4
"""Times its limit that a worker may be silent by the clock, however little of that it had to itself."""
SURPLUS_SECONDS = 2.0
"""A wait that takes so much longer than it was asked to says that the driver itself was stopped or starved."""


@dataclass
class _Worker:
    """What is known of a worker: its task, the rows in flight, when it was last heard.

    `own_heard` is how long it had had to itself by then, where its pool knows; `order` counts workers as they were
    started, `given` is when it got its task, and `machine` where it sits, if that is known.
    """

    heard: float
    own_heard: float | None = None
    order: int = 0
    machine: str = ""
    given: float = 0.0
    is_loading: bool = True
    is_waiting: bool = False
    task: Task | None = None
    in_flight: tuple[str, tuple[int, ...]] | None = None


@dataclass
class _Case:
    """What is known of a shard's troubles in this run."""

    deaths_alone: Counter[tuple[str, int]] = field(default_factory=Counter)
    worker_errors: int = 0
    tripped: bool = False
    is_doubled: bool = False


class Supervisor:
    """Run tasks on a pool.

    `num_workers` is a number, or is asked again and again where machines come and go. `commit` is called with each
    finished shard, `tick` a few times a second with what waits on what. `doubles` lets a late shard be made on a second
    machine too; only for jobs that may run twice at once. `leaves_strays` says after a run that workers went in the
    middle of a shard: what they had written lies about.
    """

    def __init__(
        self,
        pool: Pool,
        limits: LimitsConfig,
        num_workers: int | Callable[[], int],
        commit: Callable[[ShardResult], None],
        tick: Callable[[dict[int, str]], None] = lambda waiting: None,
        doubles: bool = False,
    ) -> None:
        self._pool, self._limits, self._commit, self._tick = pool, limits, commit, tick
        self._num_workers = num_workers
        self._doubles = doubles
        self.leaves_strays = False
        self._queue: deque[Task] = deque()
        self._workers: dict[int, _Worker] = {}
        self._cases: dict[int, _Case] = {}
        self._load_deaths = self._losses = 0
        self._started = self._started_at_loss = 0
        self._durations: list[float] = []
        self._away = 0.0

    def run(self, tasks: Sequence[Task]) -> None:
        """Finish all tasks; raises Stopped (early end) or ConfigError (a worker refused its configuration)."""
        self._queue.extend(tasks)
        try:
            while self._queue or any(worker.task for worker in self._workers.values()):
                self._start_workers()
                self._assign()
                self._double()
                messages = self._wait()
                listened = self._now()
                for number, message in messages:
                    self._handle(number, message)
                self._enforce_deadlines(listened)
                self._tick(self.waiting())
        finally:
            self._pool.close()

    def waiting(self) -> dict[int, str]:
        """Return, per worker, what it does and for how long."""
        now = self._now()
        return {number: f"{_doing(worker)} for {now - worker.heard:.0f} s" for number, worker in self._workers.items()}

    def _now(self) -> float:
        """Return the time by a clock that stands still while this process is stopped."""
        return time.monotonic() - self._away

    def _wait(self) -> list[tuple[int, Message]]:
        began = time.monotonic()
        messages = self._pool.wait(TICK_SECONDS)
        surplus = time.monotonic() - began - TICK_SECONDS
        if surplus > SURPLUS_SECONDS:
            self._away += surplus
        return messages

    def _start_workers(self) -> None:
        busy = sum(worker.task is not None for worker in self._workers.values())
        room = self._num_workers if isinstance(self._num_workers, int) else self._num_workers()
        wanted = min(max(1, room), busy + len(self._queue))
        while len(self._workers) < wanted:
            number = self._pool.start()
            self._started += 1
            self._workers[number] = _Worker(self._now(), self._pool.own_seconds(number), self._started)
        # The place they wait for may be on a machine that left.
        waiting = [number for number, worker in self._workers.items() if worker.is_waiting]
        for number in waiting[: max(0, len(self._workers) - wanted)]:
            self._kill(number)

    def _assign(self) -> None:
        for number, worker in self._workers.items():
            if self._queue and worker.task is None and not worker.is_loading:
                self._give(number, worker, self._queue.popleft())

    def _give(self, number: int, worker: _Worker, task: Task) -> None:
        worker.task, worker.in_flight, worker.given = task, None, self._now()
        self._note_heard(number, worker)
        self._pool.run(number, task)

    def _double(self) -> None:
        """Give shards that are late to idle workers of other machines too, once no other shard is left."""
        if not self._doubles or self._queue or not self._durations:
            return
        limit = max(LATE_SECONDS, LATE_SHARE * statistics.median(self._durations))
        late = [worker for worker in self._workers.values() if self._may_double(worker, limit)]
        for slow in sorted(late, key=lambda worker: worker.given):
            for number, idle in self._workers.items():
                is_free = idle.task is None and not idle.is_loading
                if is_free and slow.task is not None and idle.machine not in ("", slow.machine):
                    self._case(slow.task).is_doubled = True
                    self._give(number, idle, replace(slow.task, takes_over=False))
                    break

    def _may_double(self, worker: _Worker, limit: float) -> bool:
        """Say whether a worker is late with a shard that nobody suspects of anything, and that was not doubled yet."""
        task = worker.task
        if task is None or not worker.machine or self._now() - worker.given <= limit:
            return False
        return not task.suspects and not task.blamed and not self._case(task).is_doubled

    def _handle(self, number: int, message: Message) -> None:
        worker = self._workers.get(number)
        if worker is None or (isinstance(message, Waiting) and worker.is_waiting):
            return
        self._note_heard(number, worker)
        match message:
            case Waiting():
                worker.is_waiting = True
            case Placed(machine):
                worker.is_waiting, worker.machine = False, machine
            case Loaded():
                worker.is_loading = worker.is_waiting = False
            case RowsStarted(column, _, positions):
                worker.in_flight = (column, positions) if positions else None
            case Finished(result):
                assert worker.task is not None
                self._end_others(worker, worker.task)
                self._durations.append(self._now() - worker.given)
                worker.task = worker.in_flight = None
                self._load_deaths = self._losses = 0
                # The worker goes on while the supervisor commits.
                self._assign()
                self._commit(result)
            case Died(how, reason):
                del self._workers[number]
                self._on_death(worker, reason, f"worker {how}")
            case Lost(how):
                self._kill(number)
                self._on_loss(worker, how)
            case WorkerFailed(kind, text):
                self._kill(number)
                self._on_failure(worker, kind, text)

    def _end_others(self, winner: _Worker, task: Task) -> None:
        """Kill who else is at a shard that is made: the first counts, and what the other wrote is swept."""
        for number, worker in list(self._workers.items()):
            if worker is not winner and worker.task is not None and worker.task.shard == task.shard:
                self.leaves_strays = True
                self._kill(number)

    def _is_made_elsewhere(self, task: Task) -> bool:
        """Say whether a worker is at a shard that another has just given up: then nothing is concluded from that."""
        return any(worker.task is not None and worker.task.shard == task.shard for worker in self._workers.values())

    def _note_heard(self, number: int, worker: _Worker) -> None:
        worker.heard, worker.own_heard = self._now(), self._pool.own_seconds(number)

    def _enforce_deadlines(self, listened: float) -> None:
        """Kill workers silent for too long at the moment the supervisor last listened.

        What it did since then, commits above all, is not their silence: their words may be waiting to be heard.
        """
        for number, worker in list(self._workers.items()):
            limit = self._limits.load_seconds if worker.is_loading else self._limits.batch_seconds
            silence = listened - worker.heard
            is_idle = worker.task is None and not worker.is_loading
            if is_idle or worker.is_waiting or silence <= limit:
                continue
            if silence > OUTER_BOUND * limit or self._own_silence(number, worker, silence) > limit:
                doing = _doing(worker)
                self._kill(number)
                self._on_death(worker, "deadline", f"nothing heard for {limit:g} s from a worker {doing}")

    def _own_silence(self, number: int, worker: _Worker, silence: float) -> float:
        """Return how much of a silence is the worker's own, and not the machine's."""
        own = self._pool.own_seconds(number)
        return silence if own is None or worker.own_heard is None else own - worker.own_heard

    def _kill(self, number: int) -> None:
        del self._workers[number]
        self._pool.kill(number)

    def _on_death(self, worker: _Worker, reason: str, how: str) -> None:
        """Draw the conclusions of a death: suspects, blame, or a stage that cannot start."""
        task = worker.task
        if task is None:
            if not worker.is_loading:
                return
            self._load_deaths += 1
            if self._load_deaths >= WORKER_TRIES:
                raise Stopped(
                    f"workers must start, and {self._load_deaths} did not: {how}. Run with --workers 0 to see why."
                )
            return
        if self._is_made_elsewhere(task):
            self.leaves_strays = True
            return
        if worker.in_flight is None:
            self._retry_worker_error(task, f"{how}, with no sample in flight")
            return
        column, positions = worker.in_flight
        suspects = dict.fromkeys([*((column, position) for position in positions), *task.suspects])
        blamed = dict(task.blamed)
        row = (column, positions[0])
        if row in blamed:
            blamed[row] = replace(blamed[row], is_readable=False)
            del suspects[row]
        elif len(positions) == 1:
            deaths = self._case(task).deaths_alone
            deaths[row] += 1
            if deaths[row] >= DEATHS_ALONE:
                blamed[row] = Blame(
                    reason, f"{how} while it ran this sample alone, {deaths[row]} times", deaths[row] + 1
                )
                del suspects[row]
        self._queue.appendleft(replace(task, suspects=tuple(suspects), blamed=blamed))

    def _on_loss(self, worker: _Worker, how: str) -> None:
        """Give the lost worker's shard to another, as if it had never run."""
        # Workers that were there when the last was lost went with it.
        if worker.order > self._started_at_loss:
            self._losses += 1
            self._started_at_loss = self._started
        if self._losses >= LOSSES:
            raise Stopped(
                f"workers must keep their machines, and {self._losses} in a row were lost: {how}. "
                f"Run the same command again when the machines are back."
            )
        if worker.task is None:
            return
        self.leaves_strays = True
        if not self._is_made_elsewhere(worker.task):
            self._queue.appendleft(replace(worker.task, takes_over=False))

    def _on_failure(self, worker: _Worker, kind: str, text: str) -> None:
        """React to a worker that reported that it cannot go on."""
        if kind == "config":
            raise ConfigError(text)
        if kind == "store":
            raise Stopped(text)
        if worker.task is None:
            self._load_deaths = WORKER_TRIES
            raise Stopped(f"workers must start, and one did not:\n{text}")
        if self._is_made_elsewhere(worker.task):
            self.leaves_strays = True
            return
        if kind == "breaker":
            case = self._case(worker.task)
            if case.tripped:
                raise Stopped(f"{text}\nA fresh worker had the same.")
            case.tripped = True
            self._queue.appendleft(worker.task)
        elif kind == "crash":
            self._on_death(worker, "crash", f"worker {text}")
        elif "CUDA error" in text and worker.in_flight is not None:
            self._on_death(worker, "crash", text.strip().splitlines()[-1])
        else:
            self._retry_worker_error(worker.task, text)

    def _retry_worker_error(self, task: Task, text: str) -> None:
        case = self._case(task)
        case.worker_errors += 1
        if case.worker_errors >= WORKER_TRIES:
            raise Stopped(
                f"shard {task.shard:06d} failed on {case.worker_errors} fresh workers, blaming no sample:\n{text}"
            )
        self._queue.appendleft(task)

    def _case(self, task: Task) -> _Case:
        return self._cases.setdefault(task.shard, _Case())


def _doing(worker: _Worker) -> str:
    if worker.is_waiting:
        return "waiting for a place"
    if worker.is_loading:
        return "loading"
    if worker.task is None:
        return "idle"
    if worker.in_flight is None:
        return f"reading or writing shard {worker.task.shard:06d}"
    column, positions = worker.in_flight
    span = f"row {positions[0]}" if len(positions) == 1 else f"rows {positions[0]}-{positions[-1]}"
    return f"on {column} of shard {worker.task.shard:06d}, {span}"
