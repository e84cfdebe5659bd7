"""Datasets put together row by row, so that a test can say exactly what a column holds."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from onegen.build.build import Summary, build
from onegen.build.work import Options
from onegen.config.recipe import Recipe
from onegen.sample import Kind, Status
from onegen.shards.column import ColumnWriter
from onegen.shards.dataset import Card, Dataset, PlanSummary
from onegen.shards.index import IMAGE_FIELDS
from onegen.shards.manifest import Manifest, Producer, Run, fingerprint, inputs_digest
from onegen.storage import open_store
from onegen.storage.store import Store

RUN = Run(started="2026-11-22T00:00:00Z", seconds=0, host="test", peak_rss=0, computed=0, libraries={})

TINY_CARD = Card(
    name="tiny",
    kind="image",
    state="building",
    recipe={},
    recipe_digest="",
    source={},
    source_root="photos",
    plan=PlanSummary(shards=3, items=24, digest=""),
)
"""Of a dataset of three planned shards."""


@contextlib.contextmanager
def memory_store(name: str) -> Iterator[Store]:
    """Give an empty store in memory, and empty it afterwards: fsspec keeps one for the whole process."""
    store = open_store(f"memory://{name}")
    try:
        yield store
    finally:
        with contextlib.suppress(FileNotFoundError):
            store._fs.rm(store._root, recursive=True)


@dataclass(frozen=True)
class Line:
    """One row of a column to be written."""

    key: str | None
    status: Status = "ok"
    reason: str | None = None
    values: Mapping[str, Any] = field(default_factory=dict)
    parts: Mapping[str, bytes] = field(default_factory=dict)


def write_column(
    store: Store,
    column: str,
    shard: int,
    lines: Sequence[Line],
    fields: Mapping[str, pa.DataType] = IMAGE_FIELDS,
    kind: Kind = "image",
) -> Manifest:
    """Write and commit one shard of a column."""
    producer = Producer(name=column, version=1)
    with ColumnWriter(store, column, shard, fields, kind, producer.label()) as writer:
        for position, line in enumerate(lines):
            writer.add(position, line.key, line.status, line.reason, "", line.values, line.parts)
        files, counts, digest = writer.finish()
    settings = {"name": column, "version": 1}
    manifest = Manifest(
        column=column,
        shard=shard,
        kind=kind,
        counts=counts,
        files=files,
        digest=digest,
        inputs={},
        input_digest=inputs_digest({}, None),
        fingerprint=fingerprint(settings),
        settings=settings,
        producer=producer,
        run=RUN,
    )
    Dataset(store).commit(manifest)
    return manifest


class Silent:
    """A listener that keeps what it is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)

    def plan(self, steps: Sequence[str], shards: int) -> None:
        pass

    def begin(self, step: str, shards: int, done: int) -> None:
        pass

    def committed(self, step: str, manifest: Manifest) -> None:
        pass

    def waiting(self, step: str, workers: Mapping[int, str]) -> None:
        pass

    def end(self, step: str) -> None:
        pass


def build_here(recipe: Mapping[str, Any], store: Store) -> Summary:
    """Build a recipe in this process."""
    return build(Recipe.model_validate(recipe), store, Options(workers=0), Silent())
