"""What the executor knows of work: jobs that load and perform themselves, their tasks, and what workers report.

Anything that makes shards can run here: a stage of annotators, packing, a render step, an evaluation.
"""

import fnmatch
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field
from typing import Literal, Protocol

from onegen.shards.index import Row
from onegen.shards.manifest import Manifest
from onegen.shards.views import failed_reasons
from onegen.storage.store import Store


class Interrupt(KeyboardInterrupt):
    """The user's own Ctrl-C in a process that performs tasks itself; a plain KeyboardInterrupt is of a row's making."""


@dataclass(frozen=True)
class Retry:
    """Which failed rows to compute again: a shell pattern over reasons, `*` for all; `keys` narrows them to samples."""

    reason: str = "*"
    keys: Set[str] | None = None

    def matches(self, row: Row) -> bool:
        """Say whether a row, or an image that its set goes on without, failed for a matching reason."""
        if self.keys is not None and row.key not in self.keys:
            return False
        return any(fnmatch.fnmatchcase(reason, self.reason) for reason in failed_reasons(row))


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
class Task:
    """One shard of a step: the columns of it to make, and what is known about its rows.

    `retries` (by column) and `force` (whole columns) say which committed rows to compute again; `unpinned` are columns
    whose source is taken as it is now, whatever the plan saw; `suspects` are (column, position) that were in flight
    when a worker died, to be run alone; `blamed` are those found guilty. `takes_over` turns false where what another
    worker noted of the shard must be left alone: that one may still be at it, or its machine died and kept a part.
    """

    shard: int
    columns: tuple[str, ...]
    retries: Mapping[str, Retry] = field(default_factory=dict)
    force: frozenset[str] = frozenset()
    unpinned: frozenset[str] = frozenset()
    suspects: tuple[tuple[str, int], ...] = ()
    blamed: Mapping[tuple[str, int], Blame] = field(default_factory=dict)
    takes_over: bool = True


@dataclass(frozen=True)
class ShardResult:
    """What a worker made of one shard: a manifest per column, ready to be committed, and for the packed view the
    content names its files carry until then."""

    manifests: tuple[Manifest, ...]
    pending: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Waiting:
    """The worker has no place yet, on a cluster whose nodes are busy; it is not silent, there is nobody to be heard."""


@dataclass(frozen=True)
class Placed:
    """The worker has its place, and loads; `machine` tells places apart that fail or dawdle together, "" is unknown."""

    machine: str = ""


@dataclass(frozen=True)
class Loaded:
    """The worker is ready for tasks."""


@dataclass(frozen=True, slots=True)
class RowsStarted:
    """The worker is about to run these rows of a column: they are to blame if it dies. No rows: none would be."""

    column: str
    shard: int
    positions: tuple[int, ...]


@dataclass(frozen=True)
class Finished:
    """A task is done; its manifests wait to be committed."""

    result: ShardResult


@dataclass(frozen=True)
class WorkerFailed:
    """The worker cannot go on: a wrong configuration, the store, the breaker, or an error, and no sample is at fault.

    A `crash` is as good as a death: what it ran has ruined its process.
    """

    kind: Literal["config", "store", "breaker", "error", "crash"]
    message: str


@dataclass(frozen=True)
class Died:
    """The worker's process is gone; `how` says by what, and `reason` is that of a row to blame for it."""

    how: str
    reason: str = "crash"


@dataclass(frozen=True)
class Lost:
    """The worker is gone with its machine or its connection, and no row has anything to do with it; `how` says more."""

    how: str


Message = Waiting | Placed | Loaded | RowsStarted | Finished | WorkerFailed | Died | Lost


class Job(Protocol):
    """Work on the shards of one dataset. Picklable: it travels to workers, loads there once, and performs tasks."""

    @property
    def store(self) -> Store:
        """Where the dataset lies."""
        ...

    def load(self) -> None:
        """Load what the tasks need, such as weights; raises ConfigError when they are missing, wrong or unreadable."""
        ...

    def perform(self, task: Task) -> Iterator[RowsStarted | Finished]:
        """Make one shard: yield what is about to run, go on when asked for more, and end with what was made.

        By the time it is asked for more, the supervisor has noted the rows. Raises Breaker when the work itself is
        broken, OSError where the store cannot be read or written.
        """
        ...


class Pool(Protocol):
    """Workers of one job, of either kind."""

    def room(self) -> int:
        """Return how many workers there is room for, as things stand."""
        ...

    def start(self) -> int:
        """Start a worker and return its number; Loaded follows."""
        ...

    def run(self, worker: int, task: Task) -> None:
        """Give a loaded worker a task; RowsStarted and Finished follow, or WorkerFailed, Died or Lost."""
        ...

    def wait(self, timeout: float) -> list[tuple[int, Message]]:
        """Return what workers have reported, waiting at most `timeout` seconds for the first word."""
        ...

    def own_seconds(self, worker: int) -> float | None:
        """Return how long a worker has had to itself: neither stopped nor starved; None where only the clock tells."""
        ...

    def kill(self, worker: int) -> None:
        """Kill a worker; nothing more is heard of it."""
        ...

    def close(self) -> None:
        """Kill every worker: what they have not returned is not wanted."""
        ...
