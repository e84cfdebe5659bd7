"""What is to be done, as records that travel to workers: a stage's columns, and one shard of them at a time."""

import fnmatch
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from onegen.config.recipe import LimitsConfig
from onegen.sample import Annotator, Kind, Provides
from onegen.shards.index import Row
from onegen.shards.manifest import Manifest, Producer, fingerprint
from onegen.sources import Source
from onegen.storage.store import Store


@dataclass(frozen=True)
class Retry:
    """Which failed rows to compute again: a shell pattern over reasons, `*` for all."""

    reason: str = "*"

    def matches(self, row: Row) -> bool:
        """Say whether a row failed for a matching reason."""
        return row.status == "failed" and self.matches_reason(row.reason or "")

    def matches_reason(self, reason: str) -> bool:
        """Say whether a failure's reason matches."""
        return fnmatch.fnmatchcase(reason, self.reason)


@dataclass(frozen=True)
class Blame:
    """A verdict of the supervisor on a row that killed or hung its worker: no worker runs it again in this run.

    `is_readable` turns false when even reading its bytes, to name the row, ended a worker.
    """

    reason: str
    message: str
    attempts: int
    is_readable: bool = True


@dataclass(frozen=True)
class ColumnJob:
    """How one column is made.

    `gates` are the columns whose row must be ok, in order (image, select, then those the annotator requires; none for
    the image column itself); `provides` says what each of them stores; `where` skips rows, evaluated over
    `where_scope`.
    """

    annotator: Annotator
    settings: dict[str, Any]
    producer: Producer
    gates: tuple[str, ...] = ()
    provides: Mapping[str, Provides] = field(default_factory=dict)
    where: str | None = None
    where_scope: Mapping[str, Mapping[str, pa.DataType]] = field(default_factory=dict)

    @property
    def column(self) -> str:
        """The column's name."""
        return self.annotator.name

    @property
    def fingerprint(self) -> str:
        """The digest of everything that changes the column's results."""
        return fingerprint(self.settings)

    @property
    def inputs(self) -> tuple[str, ...]:
        """Every column this one is made from: its gates and what `where` names."""
        return tuple(dict.fromkeys((*self.gates, *self.where_scope)))


@dataclass(frozen=True)
class Task:
    """One shard of a stage: the columns of it to make, and what is known about its rows.

    `retries` (by column) and `force` (whole columns) say which committed rows to compute again; `suspects` are
    (column, position) that were in flight when a worker died, to be run alone; `blamed` are those found guilty.
    """

    shard: int
    columns: tuple[str, ...]
    retries: Mapping[str, Retry] = field(default_factory=dict)
    force: frozenset[str] = frozenset()
    suspects: tuple[tuple[str, int], ...] = ()
    blamed: Mapping[tuple[str, int], Blame] = field(default_factory=dict)


@dataclass(frozen=True)
class StageJob:
    """A stage: columns that share one decode. `source` is set for the image stage and that of the
    source's own columns."""

    name: str
    store: Store
    kind: Kind
    columns: tuple[ColumnJob, ...]
    batch_size: int
    limits: LimitsConfig
    source: Source | None = None


@dataclass(frozen=True)
class Made:
    """What a worker returns for one shard: a manifest per column, ready to be committed, and for the packed view the
    content names its files carry until then."""

    manifests: tuple[Manifest, ...]
    pending: Mapping[str, str] = field(default_factory=dict)
