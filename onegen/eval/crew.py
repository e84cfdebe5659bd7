"""Who does the work: the build's executor, on chunks of units. A worker that dies costs no more than its unit."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from onegen.config.recipe import LimitsConfig
from onegen.errors import ConfigError
from onegen.executor.contract import Finished, Job, Pool, RowsStarted, ShardResult, Task
from onegen.executor.local import InProcessPool, LocalPool
from onegen.executor.supervisor import Supervisor
from onegen.sample import Resources

CHUNK = 8
"""Units a task has: what is done again at most when a worker dies, and what a piece of scores holds."""
_LIMITS = LimitsConfig(batch_seconds=4 * 3600, load_seconds=3600)
"""A unit of a large model on a small machine takes long."""


@dataclass(frozen=True, slots=True)
class Crew:
    """The workers: how many (0: this process), of which kind, how many GPUs each has, and the cluster they are on."""

    workers: int = 0
    executor: Literal["local", "ray"] = "local"
    num_gpus: float = 0.0
    address: str | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """Which chunks a command does of those that there are: every `of`-th, from `index` (0 to `of` - 1) on."""

    index: int = 0
    of: int = 1

    def takes(self, chunk: int) -> bool:
        """Say whether a chunk is of this part."""
        return chunk % self.of == self.index


IN_PROCESS, WHOLE = Crew(), Part()


def parse_part(text: str) -> Part:
    """Return the part that `i/n` names, i from 0 to n - 1; raises ConfigError for another text."""
    index, _, of = text.partition("/")
    if not (index.isdecimal() and of.isdecimal() and int(index) < int(of)):
        raise ConfigError(f"--shard must be i/n with i from 0 to n - 1, such as 0/4, got {text!r}.")
    return Part(int(index), int(of))


def run_chunks(job: Job, chunks: Sequence[int], column: str, crew: Crew, done: Callable[[int], None]) -> None:
    """Have a job perform chunks; `done` is told after each how many are finished. Raises ConfigError and Stopped."""
    finished = 0

    def commit(_: ShardResult) -> None:
        nonlocal finished
        finished += 1
        done(finished)

    tasks = [Task(chunk, (column,)) for chunk in chunks]
    if tasks:
        with _pool(job, crew) as pool:
            Supervisor(pool, _LIMITS, min(len(tasks), max(1, crew.workers)), commit).run(tasks)


@contextlib.contextmanager
def _pool(job: Job, crew: Crew) -> Iterator[Pool]:
    if crew.workers == 0:
        yield InProcessPool(job)
    elif crew.executor == "local":
        yield LocalPool(job)
    else:
        from onegen.executor.ray import RayPool, ray_session

        with ray_session(crew.address, crew.workers):
            yield RayPool(job, Resources(num_gpus=crew.num_gpus))


def started(column: str, chunk: int, position: int) -> RowsStarted:
    """Return the report of a unit that is about to run alone."""
    return RowsStarted(column, chunk, (position,))


def finished() -> Finished:
    """Return the report of a chunk that is done: what was made lies in its files already."""
    return Finished(ShardResult(()))
