"""What a worker does with one shard: read columns, batch, bisect, write, and return the manifests to commit.

An exception in a batch is halved down to the sample that raises it; that sample alone fails, with its reason. Before
a batch runs its rows are named, so that the supervisor knows whom to suspect when this process dies. DESIGN
section 5.
"""

import contextlib
import dataclasses
from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from onegen.build.column_shard import ColumnShard
from onegen.build.feed import Fed, Feed
from onegen.build.jobs import ColumnJob, Made, StageJob, Task
from onegen.build.outcome import Began, Outcome, failed
from onegen.errors import SampleError
from onegen.pixels.codec import encode_part
from onegen.sample import IMAGE, Annotation, Item, Rejected
from onegen.shards.canonical import canonical
from onegen.shards.dataset import Dataset
from onegen.shards.views import joined_parts, joined_values


def run_task(job: StageJob, task: Task) -> Generator[Began, None, Made]:
    """Make the task's columns of one shard and return their manifests; the files lie uncommitted under content names.

    Yields what is about to run, and runs it when asked on: by then the supervisor must have noted it. Raises Breaker
    when the stage itself is broken, OSError where the store cannot be read or written.
    """
    dataset = Dataset(job.store)
    columns = [column for column in job.columns if column.column in task.columns]
    with contextlib.ExitStack() as stack:
        shards = [stack.enter_context(ColumnShard(dataset, job, column, task)) for column in columns]
        feed = stack.enter_context(Feed(dataset, job, task.shard))
        early = yield from _run_suspects(feed, shards, task)
        for positions in _batches(shards, job.batch_size):
            batch = feed.batch()
            for shard in shards:
                outcomes = {p: early[shard.column, p] for p in positions if (shard.column, p) in early}
                wanted = [p for p in positions if p in shard.to_compute and p not in outcomes]
                if wanted:
                    yield Began(shard.column, task.shard, tuple(wanted))
                    outcomes.update(zip(wanted, _answer_rows(shard.job, batch.rows(shard.job, wanted)), strict=True))
                shard.write(positions, outcomes)
        # From here on no sample is to blame: a death while files are written must not fall on the last batch.
        yield Began(job.name, task.shard, ())
        return Made(tuple(shard.finish() for shard in shards))


def _answer_rows(job: ColumnJob, rows: Sequence[Fed | Outcome]) -> list[Outcome]:
    """Answer the images of the rows that could be read, all at once; the other rows have their outcome already."""
    items = [item for row in rows if isinstance(row, Fed) for item in row.items]
    answers = iter(answer(job, items) if items else [])
    return [_joined(row, [next(answers) for _ in row.items]) if isinstance(row, Fed) else row for row in rows]


def _joined(row: Fed, said: Sequence[Outcome]) -> Outcome:
    """Return the outcome of a row, given that of each of its images: the first that is not ok stands for all."""
    for index, outcome in enumerate(said):
        if outcome.status != "ok":
            at = f"image {index + 1} of {len(said)}: " if len(said) > 1 else ""
            return dataclasses.replace(outcome, key=row.key, message=f"{at}{outcome.message}", values=row.facts)
    values = {**joined_values([outcome.values for outcome in said]), **row.facts}
    return Outcome("ok", values=values, parts=joined_parts([outcome.parts for outcome in said]), key=row.key)


def answer(job: ColumnJob, items: Sequence[Item]) -> list[Outcome]:
    """Return one outcome per item; an exception is bisected to the item that raises it."""
    try:
        answers = job.annotator.annotate(items)
        if len(answers) != len(items):
            raise SampleError(
                "bad_annotation", f"{job.column} must answer each item once, got {len(answers)} for {len(items)}."
            )
        return [_outcome(job, item, said) for item, said in zip(items, answers, strict=True)]
    except Exception as error:
        if "CUDA error" in str(error):
            # The device context is gone and every further call in this process fails: a fresh worker finds who is to
            # blame.
            raise
        if len(items) == 1:
            return [failed(items[0].key, error)]
        half = len(items) // 2
        return answer(job, items[:half]) + answer(job, items[half:])


def _outcome(job: ColumnJob, item: Item, said: Annotation | Rejected) -> Outcome:
    if isinstance(said, Rejected):
        return Outcome("filtered", said.reason, said.detail, key=item.key)
    provides = job.annotator.provides
    encodings = {part.name: part.encoding for part in provides.parts}
    parts: dict[str, bytes] = {}
    size = item.size if item.pixels is None else item.pixels.shape[:2]
    for name, value in said.parts.items():
        if isinstance(value, np.ndarray) and size is not None and value.shape != size:
            height, width = size
            raise SampleError(
                "bad_annotation",
                f"{job.column} map must have the size of its image: key {item.key}, "
                f"{value.shape[1]}x{value.shape[0]} vs {width}x{height}.",
            )
        parts[name] = encode_part(value, encodings.get(name, "bytes"))
    # Ingest names its part by the file format, so it declares none.
    undeclared = {*(set(said.values) - set(provides.fields)), *(set(parts) - set(encodings) if job.gates else ())}
    if undeclared:
        raise SampleError("bad_annotation", f"{job.column} must declare what it stores, got {min(undeclared)!r}.")
    _check_values(job, said.values)
    return Outcome("ok", values=said.values, parts=parts, key=item.key)


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
) -> Generator[Began, None, dict[tuple[str, int], Outcome]]:
    """Run each suspect alone, before anything else: if it kills this process too, little is lost."""
    by_column = {shard.column: shard for shard in shards}
    early: dict[tuple[str, int], Outcome] = {}
    for (column, position), blame in task.blamed.items():
        if column in by_column:
            key = by_column[column].plans[position].key
            facts: Mapping[str, Any] = {}
            if column == IMAGE and blame.is_readable:
                # Reading the source again only names the row: its bytes are hashed, not decoded.
                yield Began(column, task.shard, (position,))
                read = feed.read(position)
                key, facts = read.key, read.facts if isinstance(read, Fed) else {}
            early[column, position] = Outcome(
                "failed",
                blame.reason,
                blame.message,
                values=facts,
                key=key,
                attempts=blame.attempts,
                is_expected=False,
            )
    for column, position in task.suspects:
        if column in by_column and (column, position) not in early:
            shard = by_column[column]
            yield Began(column, task.shard, (position,))
            early[column, position] = _answer_rows(shard.job, feed.batch().rows(shard.job, [position]))[0]
    return early


def _batches(shards: Sequence[ColumnShard], batch_size: int) -> Iterator[list[int]]:
    """Cut the shard's positions so that each run has at most `batch_size` images to compute, and one row at least."""
    held: list[int] = []
    computing = 0
    for position, item in enumerate(shards[0].inputs.plan if shards else ()):
        images = len(item.images) * any(position in shard.to_compute for shard in shards)
        if computing and computing + images > batch_size:
            yield held
            held, computing = [], 0
        held.append(position)
        computing += images
        if computing >= batch_size:
            yield held
            held, computing = [], 0
    if held:
        yield held
