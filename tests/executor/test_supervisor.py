"""The supervisor's judgement, on workers that do what a test says."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import pytest

from onegen.config.recipe import LimitsConfig
from onegen.errors import ConfigError, Stopped
from onegen.executor.contract import (
    Died,
    Finished,
    Loaded,
    Lost,
    Message,
    Placed,
    RowsStarted,
    ShardResult,
    Task,
    Waiting,
    WorkerFailed,
)
from onegen.executor.supervisor import LATE_SECONDS, LOSSES, Supervisor

Script = Callable[[Task], Sequence[Message]]
DEAD = Died("killed by SIGKILL")


@dataclass(frozen=True)
class Told(ShardResult):
    """What a scripted worker made: the task as it was when it ended well."""

    task: Task | None = None


@dataclass
class ScriptedPool:
    """Workers that load as `loads` says, one answer each and then Loaded, and answer a task as `script` says."""

    script: Script
    loads: list[Message | list[Message]] = field(default_factory=list)
    tasks: list[Task] = field(default_factory=list)
    started: int = 0
    alive: set[int] = field(default_factory=set)
    said: list[tuple[int, Message]] = field(default_factory=list)
    killed: list[int] = field(default_factory=list)

    def room(self) -> int:
        return 1

    def start(self) -> int:
        self.started += 1
        self.alive.add(self.started)
        words = self.loads.pop(0) if self.loads else Loaded()
        self.said += [(self.started, word) for word in (words if isinstance(words, list) else [words])]
        return self.started

    def run(self, worker: int, task: Task) -> None:
        self.tasks.append(task)
        self.said += [(worker, message) for message in self.script(task)]

    def wait(self, timeout: float) -> list[tuple[int, Message]]:
        said, self.said = self.said, []
        self.alive -= {worker for worker, message in said if isinstance(message, Died)}
        return said

    def own_seconds(self, worker: int) -> float | None:
        return None

    def kill(self, worker: int) -> None:
        self.alive.discard(worker)
        self.killed.append(worker)

    def close(self) -> None:
        self.alive.clear()


def done(task: Task) -> Finished:
    return Finished(Told((), task=task))


def supervise(pool: ScriptedPool, tasks: Sequence[Task], workers: int = 1, **limits: float) -> list[Task]:
    """Run tasks and return them as they were when they were committed."""
    finished: list[Task] = []

    def commit(made: ShardResult) -> None:
        assert isinstance(made, Told)
        assert made.task is not None
        finished.append(made.task)

    Supervisor(pool, LimitsConfig(**limits), workers, commit).run(tasks)
    assert pool.alive == set()
    return finished


TASK = Task(7, ("hed",))


def test_each_task_is_committed_once() -> None:
    tasks = [Task(shard, ("hed",)) for shard in range(5)]
    pool = ScriptedPool(
        lambda task: [RowsStarted("hed", task.shard, (0, 1)), RowsStarted("hed", task.shard, ()), done(task)]
    )
    assert sorted(supervise(pool, tasks, 3), key=lambda task: task.shard) == tasks
    assert pool.started == 3


def test_rows_in_flight_at_a_death_are_run_alone_and_found_innocent() -> None:
    def script(task: Task) -> list[Message]:
        return [done(task)] if task.suspects else [RowsStarted("hed", 7, (4, 5)), DEAD]

    pool = ScriptedPool(script)
    (finished,) = supervise(pool, [TASK])
    assert finished.suspects == (("hed", 4), ("hed", 5))
    assert finished.blamed == {}
    assert pool.started == 2


def test_two_deaths_alone_blame_the_row_and_no_other() -> None:
    def script(task: Task) -> list[Message]:
        if ("hed", 5) in task.blamed:
            return [done(task)]
        if task.suspects:
            return [RowsStarted("hed", 7, (4,)), RowsStarted("hed", 7, (5,)), DEAD]
        return [RowsStarted("hed", 7, (4, 5)), DEAD]

    (finished,) = supervise(ScriptedPool(script), [TASK])
    assert set(finished.blamed) == {("hed", 5)}
    blame = finished.blamed["hed", 5]
    assert (blame.reason, blame.attempts) == ("crash", 3)
    assert "killed by SIGKILL" in blame.message
    assert finished.suspects == (("hed", 4),)


def test_a_blamed_row_that_cannot_even_be_read_is_left_unread() -> None:
    def script(task: Task) -> list[Message]:
        blame = task.blamed.get(("image", 5))
        return [done(task)] if blame and not blame.is_readable else [RowsStarted("image", 7, (5,)), DEAD]

    (finished,) = supervise(ScriptedPool(script), [Task(7, ("image",))])
    assert finished.suspects == ()
    assert finished.blamed["image", 5].attempts == 3


def test_a_death_while_files_are_written_blames_no_row() -> None:
    pool = ScriptedPool(lambda task: [RowsStarted("hed", 7, (5,)), RowsStarted("look", 7, ()), DEAD])
    with pytest.raises(Stopped, match="shard 000007 failed on 3 fresh workers, blaming no sample") as stopped:
        supervise(pool, [TASK])
    assert "killed by SIGKILL" in str(stopped.value)
    assert [task.suspects for task in pool.tasks] == [()] * 3


def test_a_death_before_the_first_row_blames_no_row() -> None:
    pool = ScriptedPool(lambda task: [DEAD])
    with pytest.raises(Stopped, match="blaming no sample"):
        supervise(pool, [TASK])
    assert len(pool.tasks) == 3


def test_a_worker_that_hears_nothing_in_time_is_killed_and_its_row_blamed() -> None:
    def script(task: Task) -> list[Message]:
        return [done(task)] if task.blamed else [RowsStarted("hed", 7, (2,))]

    (finished,) = supervise(ScriptedPool(script), [TASK], batch_seconds=1e-6)
    assert finished.blamed["hed", 2].reason == "deadline"


def test_a_load_that_never_ends_stops_the_stage() -> None:
    silent = RowsStarted("hed", 0, ())
    with pytest.raises(Stopped, match="workers must start, and 3 did not"):
        supervise(ScriptedPool(lambda task: [done(task)], loads=[silent] * 9), [TASK], load_seconds=1e-6)


def test_three_deaths_in_a_row_while_loading_stop_the_stage() -> None:
    with pytest.raises(Stopped, match="workers must start, and 3 did not: worker killed by SIGKILL"):
        supervise(ScriptedPool(lambda task: [done(task)], loads=[DEAD] * 3), [TASK])


def test_deaths_while_loading_are_forgiven_once_work_gets_done() -> None:
    def script(task: Task) -> list[Message]:
        return [done(task), DEAD]

    pool = ScriptedPool(script, loads=[DEAD, DEAD, Loaded(), DEAD, DEAD, Loaded(), DEAD, DEAD])
    assert len(supervise(pool, [Task(shard, ("hed",)) for shard in range(3)])) == 3


def test_the_deaths_of_idle_workers_are_no_failed_starts() -> None:
    """Three, with nothing finished in between: that many failed starts would stop the stage."""

    def script(task: Task) -> list[Message]:
        if task.shard == 3:
            pool.said += [(worker, DEAD) for worker in (1, 2, 3)]
        return [done(task)]

    pool = ScriptedPool(script)
    assert len(supervise(pool, [Task(shard, ("hed",)) for shard in range(4)], 4)) == 4
    assert pool.started == 4


def test_a_worker_has_its_next_task_before_the_finished_one_is_committed() -> None:
    pool = ScriptedPool(lambda task: [done(task)])
    given: list[int] = []
    tasks = [Task(shard, ("hed",)) for shard in range(3)]
    Supervisor(pool, LimitsConfig(), 1, lambda made: given.append(len(pool.tasks))).run(tasks)
    assert given == [2, 3, 3]


def test_a_tripped_breaker_gets_one_fresh_worker() -> None:
    answers: list[Message] = [WorkerFailed("breaker", "most of a shard failed")]
    pool = ScriptedPool(lambda task: [answers.pop()] if answers else [done(task)])
    assert supervise(pool, [TASK]) == [TASK]
    assert pool.started == 2
    with pytest.raises(Stopped, match="most of a shard failed\nA fresh worker had the same"):
        supervise(ScriptedPool(lambda task: [WorkerFailed("breaker", "most of a shard failed")]), [TASK])


def test_a_worker_error_is_tried_on_three_fresh_workers() -> None:
    pool = ScriptedPool(lambda task: [WorkerFailed("error", "Traceback: MemoryError")])
    with pytest.raises(Stopped, match="failed on 3 fresh workers, blaming no sample:\nTraceback: MemoryError"):
        supervise(pool, [TASK])
    assert pool.started == 3


def test_a_lost_cuda_context_suspects_the_rows_in_flight() -> None:
    def script(task: Task) -> list[Message]:
        if ("hed", 3) in task.blamed:
            return [done(task)]
        return [RowsStarted("hed", 7, (3,)), WorkerFailed("error", "RuntimeError: CUDA error: device-side assert")]

    (finished,) = supervise(ScriptedPool(script), [TASK])
    assert "CUDA error" in finished.blamed["hed", 3].message


def test_a_refused_configuration_and_a_full_disk_end_the_stage_at_once() -> None:
    with pytest.raises(ConfigError, match="weights"):
        supervise(
            ScriptedPool(lambda task: [done(task)], loads=[WorkerFailed("config", "weights must be there")]), [TASK]
        )
    with pytest.raises(Stopped, match="disk must have room"):
        supervise(ScriptedPool(lambda task: [WorkerFailed("store", "disk must have room")]), [TASK])


def test_a_lost_machine_blames_no_row_and_its_shard_runs_elsewhere() -> None:
    words: list[list[Message]] = [[RowsStarted("hed", 7, (3,)), Lost("its node died")] for _ in range(LOSSES - 1)]
    pool = ScriptedPool(lambda task: words.pop() if words else [done(task)])
    assert supervise(pool, [TASK]) == [replace(TASK, takes_over=False)], "the lost one may still write"
    assert pool.started == LOSSES


def test_workers_that_are_lost_together_are_one_loss() -> None:
    """As many as would end the stage sit on one node."""
    tasks = [Task(shard, ("hed",)) for shard in range(LOSSES + 1)]
    lost: list[Task] = []

    def script(task: Task) -> list[Message]:
        if len(lost) < len(tasks):
            lost.append(task)
            return [Lost("its node died")]
        return [done(task)]

    pool = ScriptedPool(script)
    assert sorted(task.shard for task in supervise(pool, tasks, len(tasks))) == list(range(LOSSES + 1))


def test_workers_come_and_go_with_the_room_there_is() -> None:
    tasks = [Task(shard, ("hed",)) for shard in range(9)]
    room = iter([1, 1, 3, 3, 2])
    pool = ScriptedPool(lambda task: [done(task)])
    alive: list[int] = []

    def commit(made: ShardResult) -> None:
        alive.append(len(pool.alive))

    Supervisor(pool, LimitsConfig(), lambda: next(room, 2), commit).run(tasks)
    assert len(alive) == 9
    assert alive[0] == 1
    assert max(alive) == 3


def test_a_worker_that_waits_for_a_place_on_a_machine_that_left_is_let_go() -> None:
    pool = ScriptedPool(lambda task: [done(task)], loads=[Loaded(), Waiting()])
    room = iter([2, 2, 1])
    Supervisor(pool, LimitsConfig(), lambda: next(room, 1), lambda made: None).run(
        [Task(shard, ("hed",)) for shard in range(6)]
    )
    assert pool.started == 2
    assert pool.killed[0] == 2


@dataclass
class Machines:
    """Workers on machines of their own, of which one is at shard 0 for good: its clock is the supervisor's `away`."""

    late: list[Message]
    pool: ScriptedPool = field(init=False)
    supervisor: Supervisor = field(init=False)
    made: list[Task] = field(default_factory=list)

    def __post_init__(self) -> None:
        loads: list[Message | list[Message]] = [[Placed(f"machine{n}"), Loaded()] for n in range(9)]
        self.pool = ScriptedPool(self._answer, loads=loads)
        self.supervisor = Supervisor(
            self.pool, LimitsConfig(), 2, lambda result: self.made.append(result.task), self._tick, doubles=True
        )

    def _answer(self, task: Task) -> Sequence[Message]:
        return [] if task.shard == 0 and task.takes_over else [done(task)]

    def _tick(self, waiting: object) -> None:
        # Time passes for who is at work.
        self.supervisor._away -= LATE_SECONDS
        self.pool.said += [(1, message) for message in self.late]
        self.late = []


def test_a_late_shard_is_given_to_an_idle_worker_of_another_machine_and_the_first_counts() -> None:
    machines = Machines([])
    machines.supervisor.run([Task(shard, ("hed",)) for shard in range(3)])
    assert sorted((task.shard, task.takes_over) for task in machines.made) == [(0, False), (1, True), (2, True)]
    assert machines.supervisor.leaves_strays
    assert 1 in machines.pool.killed, "who came second writes no more"


@pytest.mark.parametrize("words", [[DEAD], [Lost("its node died")], [RowsStarted("hed", 0, (3,)), DEAD]])
def test_who_gives_up_a_shard_that_another_makes_blames_nobody(words: list[Message]) -> None:
    machines = Machines([])
    answer = machines.pool.script

    def script(task: Task) -> Sequence[Message]:
        # The first is heard once the second has the shard too, before that one is done.
        if task.shard == 0 and not task.takes_over:
            machines.pool.said += [(1, word) for word in words]
        return answer(task)

    machines.pool.script = script
    machines.supervisor.run([Task(shard, ("hed",)) for shard in range(3)])
    assert sorted(task.shard for task in machines.made) == [0, 1, 2]
    assert all(not task.suspects and not task.blamed for task in machines.made)
    assert len(machines.pool.tasks) == 4


@pytest.mark.parametrize("machine", ["", "machine0"])
def test_a_late_shard_is_not_given_out_twice_on_one_machine(machine: str) -> None:
    machines = Machines([])
    machines.pool.loads = [[Placed("machine0"), Loaded()], [Placed(machine), Loaded()]]
    late = [done(Task(0, ("hed",)))]
    ticks = iter(range(20))

    def tick(waiting: object) -> None:
        machines.supervisor._away -= LATE_SECONDS
        if next(ticks) == 5:
            machines.pool.said.append((1, late[0]))

    machines.supervisor._tick = tick
    machines.supervisor.run([Task(shard, ("hed",)) for shard in range(3)])
    assert [task.takes_over for task in machines.pool.tasks] == [True] * 3


def test_machines_that_are_lost_again_and_again_end_the_stage() -> None:
    pool = ScriptedPool(lambda task: [Lost("its node died")])
    with pytest.raises(Stopped, match="its node died. Run the same command again"):
        supervise(pool, [TASK])


def test_a_worker_ruined_by_a_row_is_a_dead_worker() -> None:
    def script(task: Task) -> list[Message]:
        failure = WorkerFailed("crash", "ended by OSError: too many open files")
        return [done(task)] if task.blamed else [RowsStarted("hed", 7, (3,)), failure]

    (finished,) = supervise(ScriptedPool(script), [TASK])
    assert finished.blamed["hed", 3].reason == "crash"
    assert "too many open files" in finished.blamed["hed", 3].message


def test_a_death_by_memory_is_called_so() -> None:
    def script(task: Task) -> list[Message]:
        return [done(task)] if task.blamed else [RowsStarted("hed", 7, (3,)), Died("held 9 bytes", "memory")]

    (finished,) = supervise(ScriptedPool(script), [TASK])
    assert finished.blamed["hed", 3].reason == "memory"
