"""Ask an annotator for a batch and make outcomes of its answers, an exception bisected to the item that raises it.

That item alone fails, with its reason. An annotator in parts is asked part by part: its items are prepared ahead and
finished behind, on threads; only its network runs here.
"""

import math
import os
import resource
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa

from onegen.build.appetite import Appetite
from onegen.build.jobs import ColumnJob
from onegen.build.outcome import Outcome, describe, failed, is_code
from onegen.errors import SampleError, Unavailable
from onegen.executor.contract import Interrupt
from onegen.pixels.codec import encode_part
from onegen.sample import Annotation, InParts, Item, Rejected
from onegen.shards.canonical import canonical

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Ready:
    """An item, and what its annotator prepared of it: None where it prepares nothing."""

    item: Item
    prepared: Any = None


def prepare(job: ColumnJob, item: Item) -> Ready | Outcome:
    """Return an item as its annotator wants it, or why that failed."""
    annotator = job.annotator
    if not isinstance(annotator, InParts):
        return Ready(item)
    (prepared,) = _bisected(job, [Ready(item)], lambda ready: [annotator.prepare(one.item) for one in ready])
    return prepared if isinstance(prepared, Outcome) else Ready(item, prepared)


def infer(job: ColumnJob, ready: Sequence[Ready | Outcome], appetite: Appetite | None = None) -> list[Any]:
    """Return what the annotator answers, one an item, or the Outcome of one that failed; outcomes given stay.

    What ends the process is not the item's to raise: SystemExit, which a signal raises on some workers, the user's own
    Ctrl-C, and the loss of a device or a server.
    """
    asked = [one for one in ready if isinstance(one, Ready)]
    answers = iter(_bisected(job, asked, lambda some: _asked(job, some, appetite)) if asked else [])
    return [next(answers) if isinstance(one, Ready) else one for one in ready]


def finish(job: ColumnJob, item: Item, answer: Any) -> Outcome:
    """Return the outcome of an item: its answer finished, checked and encoded."""
    if isinstance(answer, Outcome):
        return answer
    annotator = job.annotator

    def outcomes(ready: Sequence[Ready]) -> list[Outcome]:
        finished = annotator.finish(item, answer) if isinstance(annotator, InParts) else answer
        return [_outcome(job, one.item, finished) for one in ready]

    (outcome,) = _bisected(job, [Ready(item)], outcomes)
    assert isinstance(outcome, Outcome)
    return outcome


def answer(job: ColumnJob, items: Sequence[Item]) -> list[Outcome]:
    """Return one outcome per item: prepared, inferred and finished."""
    answers = infer(job, [prepare(job, item) for item in items])
    return [finish(job, item, given) for item, given in zip(items, answers, strict=True)]


def _asked(job: ColumnJob, ready: Sequence[Ready], appetite: Appetite | None) -> Sequence[Any]:
    annotator = job.annotator
    if not isinstance(annotator, InParts):
        return _watched(job, lambda: annotator.annotate([one.item for one in ready]))
    prepared = [one.prepared for one in ready]
    if appetite is None:
        return _watched(job, lambda: annotator.infer(prepared))
    return _watched(job, lambda: appetite.fed(annotator.infer, prepared))


def _bisected(
    job: ColumnJob, ready: Sequence[Ready], work: Callable[[Sequence[Ready]], Sequence[T]]
) -> list[T | Outcome]:
    """Return what `work` gives for each, asked in halves where it raises, down to the one that does."""
    try:
        answers = work(ready)
        if len(answers) != len(ready):
            raise SampleError(
                "bad_annotation", f"{job.column} must answer each item once, got {len(answers)} for {len(ready)}."
            )
        return list(answers)
    except (SystemExit, Interrupt):
        raise
    except BaseException as error:
        # An annotator may raise KeyboardInterrupt itself, and panics of Rust libraries are no Exception either.
        if isinstance(error, Unavailable) or "CUDA error" in describe(error):
            # The device context is gone and every further call in this process fails, or a server is away and would
            # be asked row by row: a fresh worker finds who is to blame.
            raise
        if len(ready) == 1:
            return [failed(ready[0].item.key, error)]
        half = len(ready) // 2
        return _bisected(job, ready[:half], work) + _bisected(job, ready[half:], work)


_WATCHED_LIMITS = {"open files": resource.RLIMIT_NOFILE, "the size of a file": resource.RLIMIT_FSIZE}
"""Limits of the process that would end it later, over another row, when an annotator lowers them."""


def _watched(job: ColumnJob, work: Callable[[], Sequence[T]]) -> Sequence[T]:
    """Return what an annotator's work gives; end the process that is not what it was before."""
    process, limits = os.getpid(), _limits()
    try:
        return work()
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
        if isinstance(value, np.ndarray) and size is not None and value.shape[:2] != size:
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
