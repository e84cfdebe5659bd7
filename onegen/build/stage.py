"""What a worker does with one shard of a stage: read columns, batch, bisect, write, and return the manifests to commit.

An exception in a batch is halved down to the sample that raises it; that sample alone fails, with its reason. Before
a batch runs its rows are named, so that the supervisor knows whom to suspect when this process dies. docs/design.md.
"""

import contextlib
import dataclasses
import math
import os
import resource
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from onegen.build.column_shard import ColumnShard
from onegen.build.feed import Batch, Feed, FeedRow
from onegen.build.jobs import ColumnJob
from onegen.build.outcome import Outcome, describe, failed, is_code
from onegen.config.recipe import LimitsConfig
from onegen.errors import ConfigError, SampleError, Unavailable
from onegen.executor.contract import Finished, Interrupt, RowsStarted, ShardResult, Task
from onegen.pixels.codec import encode_part
from onegen.sample import Annotation, Item, Rejected
from onegen.shards.canonical import canonical
from onegen.shards.dataset import Dataset
from onegen.shards.views import joined_parts, joined_values, part_name
from onegen.storage.store import Store


@dataclass(frozen=True)
class StageJob:
    """Columns that share one decode. `open_feed` gives the rows of a shard as their annotators get them."""

    name: str
    store: Store
    columns: tuple[ColumnJob, ...]
    batch_size: int
    limits: LimitsConfig
    open_feed: Callable[[Dataset, int], Feed]

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
        with contextlib.ExitStack() as stack:
            shards = [stack.enter_context(ColumnShard(dataset, column, task, self.limits)) for column in columns]
            feed = stack.enter_context(self.open_feed(dataset, task.shard))
            feed.unpin({position for shard in shards for position in shard.unpinned})
            early = yield from _run_suspects(feed, shards, task)
            for positions in _batches(shards, self.batch_size):
                batch = Batch(feed)
                for shard in shards:
                    outcomes = {p: early[shard.column, p] for p in positions if (shard.column, p) in early}
                    wanted = [p for p in positions if p in shard.to_compute and p not in outcomes]
                    if wanted:
                        yield RowsStarted(shard.column, task.shard, tuple(wanted))
                        rows = batch.rows(shard.job, wanted)
                        outcomes.update(zip(wanted, _answer_rows(shard.job, rows), strict=True))
                    shard.write(positions, outcomes)
            # From here on no sample is to blame: a death while files are written must not fall on the last batch.
            yield RowsStarted(self.name, task.shard, ())
            manifests = tuple(shard.finish() for shard in shards)
        yield Finished(ShardResult(manifests))


def _answer_rows(job: ColumnJob, rows: Sequence[FeedRow | Outcome]) -> list[Outcome]:
    """Answer the images of the rows that could be read, all at once; the other rows have their outcome already."""
    items = [item for row in rows if isinstance(row, FeedRow) for item in row.items]
    outcomes = iter(answer(job, items) if items else [])
    return [_joined(row, [next(outcomes) for _ in row.items]) if isinstance(row, FeedRow) else row for row in rows]


def _joined(row: FeedRow, outcomes: Sequence[Outcome]) -> Outcome:
    """Return the outcome of a row, given that of each of its images: the first that is not ok stands for all."""
    for index, outcome in enumerate(outcomes):
        if outcome.status != "ok":
            at = f"image {index + 1} of {len(outcomes)}: " if len(outcomes) > 1 else ""
            return dataclasses.replace(outcome, key=row.key, message=f"{at}{outcome.message}", values=row.values)
    values = {**joined_values([outcome.values for outcome in outcomes]), **row.values}
    parts = joined_parts([outcome.parts for outcome in outcomes])
    return Outcome("ok", values=values, parts=parts, key=row.key, digests=_known_digests(row, outcomes))


def _known_digests(row: FeedRow, outcomes: Sequence[Outcome]) -> dict[str, str]:
    """Return the SHA-256 of parts that are the source's own bytes: hashing those named the row."""
    return {
        part_name(index, name): row.digests[index]
        for index, (item, outcome) in enumerate(zip(row.items, outcomes, strict=True))
        for name, data in outcome.parts.items()
        if item.source is not None and item.source.panel is None and data is item.source.data
    }


def answer(job: ColumnJob, items: Sequence[Item]) -> list[Outcome]:
    """Return one outcome per item; an exception is bisected to the item that raises it, whatever its kind.

    What ends the process is not the item's to raise: SystemExit, which a signal raises on some workers, the user's own
    Ctrl-C, and the loss of a device or a server.
    """
    try:
        answers = _annotate(job, items)
        if len(answers) != len(items):
            raise SampleError(
                "bad_annotation", f"{job.column} must answer each item once, got {len(answers)} for {len(items)}."
            )
        return [_outcome(job, item, annotation) for item, annotation in zip(items, answers, strict=True)]
    except (SystemExit, Interrupt):
        raise
    except BaseException as error:
        # An annotator may raise KeyboardInterrupt itself, and panics of Rust libraries are no Exception either.
        if isinstance(error, Unavailable) or "CUDA error" in describe(error):
            # The device context is gone and every further call in this process fails, or a server is away and would
            # be asked row by row: a fresh worker finds who is to blame.
            raise
        if len(items) == 1:
            return [failed(items[0].key, error)]
        half = len(items) // 2
        return answer(job, items[:half]) + answer(job, items[half:])


_WATCHED_LIMITS = {"open files": resource.RLIMIT_NOFILE, "the size of a file": resource.RLIMIT_FSIZE}
"""Limits of the process that would end it later, over another row, when an annotator lowers them."""


def _annotate(job: ColumnJob, items: Sequence[Item]) -> list[Annotation | Rejected]:
    """Return the annotator's answers; end the process that is not what it was before."""
    process, limits = os.getpid(), _limits()
    try:
        return job.annotator.annotate(items)
    finally:
        if os.getpid() != process:
            # The annotator forked, and its child came back too: one process writes this shard, not two.
            os._exit(1)
        for name, limit in _limits().items():
            if limit < limits[name]:
                raise SystemExit(f"annotator {job.column} lowered this process's limit of {name} to {limit:.0f}")


def _limits() -> dict[str, float]:
    """Return the limits of this process that must not fall."""
    soft = {name: resource.getrlimit(number)[0] for name, number in _WATCHED_LIMITS.items()}
    return {name: math.inf if limit == resource.RLIM_INFINITY else limit for name, limit in soft.items()}


def _outcome(job: ColumnJob, item: Item, annotation: Annotation | Rejected) -> Outcome:
    if isinstance(annotation, Rejected):
        if not is_code(annotation.reason):
            raise SampleError(
                "bad_annotation", f"{job.column} must reject for a reason that is text, got {annotation.reason!r}."
            )
        return Outcome("filtered", annotation.reason, str(annotation.detail), key=item.key)
    provides = job.annotator.provides
    encodings = {part.name: part.encoding for part in provides.parts}
    undeclared = {*(set(annotation.values) - set(provides.fields)), *(set(annotation.parts) - set(encodings))}
    if undeclared:
        raise SampleError("bad_annotation", f"{job.column} must declare what it stores, got {min(undeclared)!r}.")
    _check_sizes(job, item, annotation)
    _check_values(job, annotation.values)
    parts = {
        job.part_names.get(name, name): encode_part(value, encodings[name]) for name, value in annotation.parts.items()
    }
    return Outcome("ok", values=annotation.values, parts=parts, key=item.key)


def _check_sizes(job: ColumnJob, item: Item, annotation: Annotation) -> None:
    """Raise SampleError for a map that has not the size of its image."""
    size = item.size if item.pixels is None else item.pixels.shape[:2]
    for value in annotation.parts.values():
        if isinstance(value, np.ndarray) and size is not None and value.shape != size:
            height, width = size
            raise SampleError(
                "bad_annotation",
                f"{job.column} map must have the size of its image: key {item.key}, "
                f"{value.shape[1]}x{value.shape[0]} vs {width}x{height}.",
            )


def _check_values(job: ColumnJob, values: Mapping[str, Any]) -> None:
    """Raise SampleError for a value the index cannot hold: found when the shard is written, it would cost every row."""
    fields = job.annotator.provides.fields
    try:
        canonical({name: pa.scalar(value, fields[name]).as_py() for name, value in values.items()})
    except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
        raise SampleError(
            "bad_annotation", f"{job.column} values must fit their types and be finite, got {dict(values)}: {error}."
        ) from error


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
        if column in by_column and (column, position) not in early:
            shard = by_column[column]
            yield RowsStarted(column, task.shard, (position,))
            early[column, position] = _answer_rows(shard.job, Batch(feed).rows(shard.job, [position]))[0]
    return early


def _batches(shards: Sequence[ColumnShard], batch_size: int) -> Iterator[list[int]]:
    """Cut the shard's positions so that each run has at most `batch_size` images to compute, and one row at least."""
    batch: list[int] = []
    computing = 0
    for position, item in enumerate(shards[0].inputs.plan if shards else ()):
        images = len(item.images) * any(position in shard.to_compute for shard in shards)
        if computing and computing + images > batch_size:
            yield batch
            batch, computing = [], 0
        batch.append(position)
        computing += images
        if computing >= batch_size:
            yield batch
            batch, computing = [], 0
    if batch:
        yield batch
