"""What a worker does with one shard of a stage: read columns, batch, bisect, write, and return the manifests to commit.

Before a batch runs its rows are named, so that the supervisor knows whom to suspect when this process dies. Where a
network has a device of its own, the next batch is read meanwhile and the one before encoded and written; their rows are
named with it. docs/design.md.
"""

import contextlib
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from onegen.build.appetite import Appetite
from onegen.build.batch_work import BatchWork
from onegen.build.column_shard import ColumnShard
from onegen.build.feed import Feed
from onegen.build.jobs import ColumnJob
from onegen.build.lanes import Lanes, Later
from onegen.build.outcome import Outcome
from onegen.config.recipe import LimitsConfig
from onegen.errors import ConfigError
from onegen.executor.contract import Finished, RowsStarted, ShardResult, Task
from onegen.sample import InParts
from onegen.shards.dataset import Dataset
from onegen.storage.store import Store


@dataclass(frozen=True)
class StageJob:
    """Columns that share one decode. `open_feed` gives the rows of a shard as their annotators get them.

    `threads` read ahead and encode behind an annotator in parts.
    """

    name: str
    store: Store
    columns: tuple[ColumnJob, ...]
    batch_size: int
    limits: LimitsConfig
    open_feed: Callable[[Dataset, int], Feed]
    threads: int = 2
    batch_pixels: int | None = None
    appetite: Appetite = field(default_factory=Appetite, compare=False)

    def load(self) -> None:
        """Load every annotator; raises ConfigError when weights are missing, wrong or unreadable."""
        for column in self.columns:
            try:
                column.annotator.load()
            except OSError as error:
                raise ConfigError(
                    f"annotator {column.column!r} must be able to read its files, got {error}. "
                    f"Mend that, or run `onegen models fetch`."
                ) from error

    def perform(self, task: Task) -> Iterator[RowsStarted | Finished]:
        """Make the task's columns of one shard; their files lie uncommitted under content names.

        Raises Breaker when the stage itself is broken, OSError where the store cannot be read or written.
        """
        dataset = Dataset(self.store)
        columns = [column for column in self.columns if column.column in task.columns]
        self.appetite.forget()
        with contextlib.ExitStack() as stack:
            shards = [stack.enter_context(ColumnShard(dataset, column, task, self.limits)) for column in columns]
            feed = stack.enter_context(self.open_feed(dataset, task.shard))
            feed.unpin({position for shard in shards for position in shard.unpinned})
            early = yield from _run_suspects(feed, shards, task)
            lanes = stack.enter_context(Lanes(self._num_threads(shards, task)))
            cuts = _batches(shards, self.batch_size, self.batch_pixels, feed)
            batches = (BatchWork(feed, shards, positions, early, lanes) for positions in cuts)
            written: deque[tuple[BatchWork, Later[None]]] = deque()
            for batch, ahead in _looking_ahead(batches, lanes.depth):
                for shard in shards:
                    if batch.wanted[shard.column]:
                        near = [batch, *ahead, *(work for work, _ in written if work is not batch)]
                        rows = dict.fromkeys(position for work in near for position in work.wanted[shard.column])
                        yield RowsStarted(shard.column, task.shard, tuple(rows))
                        batch.infer(shard, self.appetite)
                    written.append((batch, lanes.write(batch.write, shard)))
                    while len(written) > lanes.depth * len(shards):
                        written.popleft()[1].result()
            for _, later in written:
                later.result()
            # From here on no sample is to blame: a death while files are written must not fall on the last batch.
            yield RowsStarted(self.name, task.shard, ())
            manifests = tuple(shard.finish(self.appetite) for shard in shards)
        yield Finished(ShardResult(manifests))

    def _num_threads(self, shards: Sequence[ColumnShard], task: Task) -> int:
        """Return how many threads work beside the network: none unless it is a device's.

        Nor after a death, and where columns want different rows: what runs is then named row by row and column by
        column, so that whoever ends the process is found.
        """
        are_alike = len({frozenset(shard.to_compute) for shard in shards}) <= 1
        is_calm = not task.suspects and not task.blamed
        has_device = any(isinstance(shard.job.annotator, InParts) for shard in shards)
        return self.threads if has_device and is_calm and are_alike else 0


def _looking_ahead(batches: Iterable[BatchWork], depth: int) -> Iterator[tuple[BatchWork, list[BatchWork]]]:
    """Yield each batch with those behind it that have begun already, at most `depth`."""
    begun: deque[BatchWork] = deque()
    for batch in batches:
        begun.append(batch)
        if len(begun) > depth:
            first = begun.popleft()
            yield first, list(begun)
    while begun:
        first = begun.popleft()
        yield first, list(begun)


def _run_suspects(
    feed: Feed, shards: Sequence[ColumnShard], task: Task
) -> Generator[RowsStarted, None, dict[tuple[str, int], Outcome]]:
    """Run each suspect alone, before anything else: if it kills this process too, little is lost."""
    by_column = {shard.column: shard for shard in shards}
    early: dict[tuple[str, int], Outcome] = {}
    for (column, position), blame in task.blamed.items():
        if column in by_column:
            key, values = by_column[column].plans[position].key, feed.values(position)
            if feed.names_rows and blame.is_readable:
                # Reading the source again only names the row: its bytes are hashed, not decoded.
                yield RowsStarted(column, task.shard, (position,))
                row = feed.read(position)
                key, values = row.key, row.values
            early[column, position] = Outcome(
                "failed", blame.reason, blame.message, values, key=key, attempts=blame.attempts, is_expected=False
            )
    for column, position in task.suspects:
        # What the dead one noted in its journal is done, whatever ended it afterwards.
        is_open = column in by_column and position in by_column[column].to_compute
        if is_open and (column, position) not in early:
            shard = by_column[column]
            yield RowsStarted(column, task.shard, (position,))
            work = BatchWork(feed, [shard], [position], {}, Lanes(0))
            work.infer(shard, None)
            early[column, position] = work.outcome(shard, position)
    return early


def _batches(
    shards: Sequence[ColumnShard], batch_size: int, batch_pixels: int | None, feed: Feed
) -> Iterator[list[int]]:
    """Cut the shard's positions so that each run has at most `batch_size` images to compute, and one row at least.

    Nor more than `batch_pixels` of the stored images: what a network takes of a device's memory goes by them where it
    sees them in their own size.
    """
    batch: list[int] = []
    computing = pixels = 0
    for position, item in enumerate(shards[0].inputs.plan if shards else ()):
        is_computed = any(position in shard.to_compute for shard in shards)
        images = len(item.images) * is_computed
        size = feed.num_pixels(position) if batch_pixels is not None and is_computed else 0
        is_full = computing + images > batch_size or (batch_pixels is not None and pixels + size > batch_pixels)
        if computing and is_full:
            yield batch
            batch, computing, pixels = [], 0, 0
        batch.append(position)
        computing += images
        pixels += size
        if computing >= batch_size:
            yield batch
            batch, computing, pixels = [], 0, 0
    if batch:
        yield batch
