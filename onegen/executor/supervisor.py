"""Drive workers through the shards of one stage: assignments, deadlines, suspects, blame, and when to stop.

The supervisor never sees pixels. It knows which rows are in flight on each worker, because workers report before they
run a batch; so when a process dies it suspects those rows, runs each alone on a fresh worker, and blames a row after
two deaths alone. docs/design.md.
"""

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
"""Workers lost in a row, with nothing finished in between, after which the machines are at fault."""
OUTER_BOUND = 4
"""Times its limit that a worker may be silent by the clock, however little of that it had to itself."""
SURPLUS_SECONDS = 2.0
"""A wait that takes so much longer than it was asked to says that the driver itself was stopped or starved."""


@dataclass
class _Worker:
    """What is known of a worker: its task, the rows in flight, when it was last heard.

    `own_heard` is how long it had had to itself by then, where its pool knows.
    """

    heard: float
    own_heard: float | None = None
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


class Supervisor:
    """Run tasks on a pool.

    `commit` is called with each finished shard, `tick` a few times a second with what waits on what.
    """

    def __init__(
        self,
        pool: Pool,
        limits: LimitsConfig,
        num_workers: int,
        commit: Callable[[ShardResult], None],
        tick: Callable[[dict[int, str]], None] = lambda waiting: None,
    ) -> None:
        self._pool, self._limits, self._commit, self._tick = pool, limits, commit, tick
        self._num_workers = max(1, num_workers)
        self._queue: deque[Task] = deque()
        self._workers: dict[int, _Worker] = {}
        self._cases: dict[int, _Case] = {}
        self._load_deaths = self._losses = 0
        self._away = 0.0

    def run(self, tasks: Sequence[Task]) -> None:
        """Finish all tasks; raises Stopped (early end) or ConfigError (a worker refused its configuration)."""
        self._queue.extend(tasks)
        try:
            while self._queue or any(worker.task for worker in self._workers.values()):
                self._start_workers()
                self._assign()
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
        wanted = min(self._num_workers, busy + len(self._queue))
        while len(self._workers) < wanted:
            number = self._pool.start()
            self._workers[number] = _Worker(self._now(), self._pool.own_seconds(number))

    def _assign(self) -> None:
        for number, worker in self._workers.items():
            if self._queue and worker.task is None and not worker.is_loading:
                worker.task = self._queue.popleft()
                worker.in_flight = None
                self._note_heard(number, worker)
                self._pool.run(number, worker.task)

    def _handle(self, number: int, message: Message) -> None:
        worker = self._workers.get(number)
        if worker is None or (isinstance(message, Waiting) and worker.is_waiting):
            return
        self._note_heard(number, worker)
        match message:
            case Waiting() | Placed():
                worker.is_waiting = isinstance(message, Waiting)
            case Loaded():
                worker.is_loading = worker.is_waiting = False
            case RowsStarted(column, _, positions):
                worker.in_flight = (column, positions) if positions else None
            case Finished(result):
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
        self._losses += 1
        if self._losses >= LOSSES:
            raise Stopped(
                f"workers must keep their machines, and {self._losses} in a row were lost: {how}. "
                f"Run the same command again when the machines are back."
            )
        if worker.task is not None:
            self._queue.appendleft(worker.task)

    def _on_failure(self, worker: _Worker, kind: str, text: str) -> None:
        """React to a worker that reported that it cannot go on."""
        if kind == "config":
            raise ConfigError(text)
        if kind == "store":
            raise Stopped(text)
        if worker.task is None:
            self._load_deaths = WORKER_TRIES
            raise Stopped(f"workers must start, and one did not:\n{text}")
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
