"""A stage of the recipe as a step of the build: its columns are made on workers, shard by shard."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from onegen.build.jobs import Permissions
from onegen.build.pending import column_tasks
from onegen.build.stage import StageJob
from onegen.build.steps import Commit, OnWorkers
from onegen.config.recipe import Workers
from onegen.executor.contract import Task
from onegen.sample import Resources
from onegen.shards.dataset import Dataset
from onegen.shards.manifest import Provenance


@dataclass(frozen=True)
class StageStep:
    """Ingest, the source's own columns, or annotators that share one decode."""

    job: StageJob
    workers: Workers | None = None
    resources: Resources = field(default_factory=Resources)

    @property
    def name(self) -> str:
        """The stage's name."""
        return self.job.name

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns it makes."""
        return tuple(column.column for column in self.job.columns)

    @property
    def made_from(self) -> Mapping[str, tuple[str, ...]]:
        """The inputs of each column."""
        return {column.column: column.inputs for column in self.job.columns}

    @property
    def settings(self) -> Mapping[str, Provenance]:
        """How each column is made."""
        return {column.column: column.provenance for column in self.job.columns}

    def tasks(self, dataset: Dataset, num_shards: int, permissions: Permissions) -> list[Task]:
        """Return the shards with columns that are absent, new in part, to be retried, or stale and allowed to be."""
        return column_tasks(self.job.columns, dataset, num_shards, permissions)

    def run(self, dataset: Dataset, tasks: Sequence[Task], commit: Commit, on_workers: OnWorkers) -> None:
        """Make the shards on workers."""
        on_workers(self.job, tasks)
