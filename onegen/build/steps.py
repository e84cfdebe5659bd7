"""What the build asks of a step, and what it asks of all of them: which columns a name means, and what follows what."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from onegen.build.jobs import Permissions
from onegen.config.recipe import Workers
from onegen.errors import ConfigError, nearest
from onegen.executor.contract import Job, ShardResult, Task
from onegen.sample import Resources
from onegen.shards.dataset import Dataset
from onegen.shards.manifest import Provenance

Commit = Callable[[ShardResult], None]
OnWorkers = Callable[[Job, Sequence[Task]], None]
"""Run tasks of a job on the build's workers; each result is committed as it comes."""


class Step(Protocol):
    """One step of a build: it knows its columns, what is left of them, and how to make them.

    A new kind of step is a class with these members, and a line in `onegen.build.assemble`.
    """

    @property
    def name(self) -> str:
        """What --only, --recompute and the progress table call it."""
        ...

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns it makes; the packed view counts as one."""
        ...

    @property
    def made_from(self) -> Mapping[str, tuple[str, ...]]:
        """For each column that --recompute may drag along, the columns it is made from."""
        ...

    @property
    def settings(self) -> Mapping[str, Provenance]:
        """How each column is made whose committed work is lost when its options change."""
        ...

    @property
    def workers(self) -> Workers | None:
        """Workers the recipe asks for; None leaves it to the command or the machine."""
        ...

    @property
    def resources(self) -> Resources:
        """What each worker asks for."""
        ...

    def tasks(self, dataset: Dataset, num_shards: int, permissions: Permissions) -> list[Task]:
        """Return the shards that need work; raises ConfigError for work that may not be done without permission."""
        ...

    def run(self, dataset: Dataset, tasks: Sequence[Task], commit: Commit, on_workers: OnWorkers) -> None:
        """Do the tasks: on workers, or here where a step must see the whole dataset at once."""
        ...


def find_columns(steps: Sequence[Step], name: str) -> set[str]:
    """Return the columns a STAGE argument means, a step's or a column's name; raises ConfigError for another."""
    for step in steps:
        if name == step.name:
            return set(step.columns)
    columns = [column for step in steps for column in step.columns]
    if name in columns:
        return {name}
    raise ConfigError(
        f"stage must be one of the recipe's, got {name!r}; {nearest(name, [*(s.name for s in steps), *columns])}"
    )


def downstream(steps: Sequence[Step], columns: set[str]) -> list[str]:
    """Return the columns made from these, directly or through others, in build order."""
    reached = set(columns)
    following: list[str] = []
    for step in steps:
        for column, inputs in step.made_from.items():
            if column not in reached and reached & set(inputs):
                reached.add(column)
                following.append(column)
    return following
