"""Which samples failed, where and why. `onegen failures DATASET [--stage S] [--reason R] [--csv]`.

The rows of the indexes decide; what went wrong and how often it was tried stands beside them, in the run part of their
manifests. A row whose message is not there is told all the same.
"""

import fnmatch
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from onegen.audit.readable import readable
from onegen.config.recipe import SOURCE
from onegen.errors import ConfigError, nearest
from onegen.sample import IMAGE, SELECT
from onegen.shards.dataset import CARD, Dataset, manifest_name
from onegen.shards.index import Row
from onegen.shards.manifest import Manifest
from onegen.shards.plan import plan_name, read_plan
from onegen.shards.views import SETS

EXAMPLES = 3
"""Failures that a summary tells, so that a reader need not ask what happened."""


@dataclass(frozen=True)
class Failure:
    """A failed row, or an image that a set goes on without: item and key, column, reason, message, number of attempts.

    `key` is None where the bytes were never read, `message` is empty where none was kept.
    """

    item: str
    key: str | None
    column: str
    shard: int
    position: int
    reason: str
    message: str
    attempts: int


def find_failures(dataset: Dataset, stage: str | None = None, reason: str = "*") -> Iterator[Failure]:
    """Yield the failed rows of a stage or column, of all without one, whose reason matches a shell pattern.

    Raises ConfigError for a stage the dataset does not have, and for damaged files.
    """
    card = dataset.require_card()
    columns = sorted(dataset.columns(), key=lambda column: (column != IMAGE, column))
    if stage is not None:
        with readable(f"the recipe in {CARD}"):
            columns = _columns_of(stage, columns, card.recipe)
    for column in columns:
        for manifest in _manifests_with_failures(dataset, column):
            matching = [row for row in failed_rows(dataset, manifest) if fnmatch.fnmatchcase(row.reason or "", reason)]
            if matching:
                yield from _failures(dataset, manifest, matching)
            yield from (one for one in _of_images(dataset, manifest) if fnmatch.fnmatchcase(one.reason, reason))


def _manifests_with_failures(dataset: Dataset, column: str) -> Iterator[Manifest]:
    commits = dataset.commits(column, "failed", "messages")
    for commit in commits.to_pylist():
        manifest = dataset.manifest(column, commit["shard"]) if commit["failed"] or commit["messages"] else None
        if manifest is not None:
            yield manifest


def first_failures(dataset: Dataset) -> tuple[Failure, ...]:
    """Return the first few failed rows; raises ConfigError for damaged files."""
    return tuple(itertools.islice(find_failures(dataset), EXAMPLES))


def failed_rows(dataset: Dataset, manifest: Manifest) -> list[Row]:
    """Return the failed rows of a shard; its index is read only where the manifest counts some."""
    if not manifest.counts.failed:
        return []
    with readable(f"the index of {manifest_name(manifest.column, manifest.shard)}"):
        return [row for row in dataset.rows(manifest) if row.status == "failed"]


def _failures(dataset: Dataset, manifest: Manifest, rows: Sequence[Row]) -> Iterator[Failure]:
    records = {record.position: record for record in manifest.run.failures}
    items: Sequence[str] = ()
    if any(row.position not in records for row in rows):
        with readable(plan_name(manifest.shard)):
            items = [item.item for item in read_plan(dataset.store, manifest.shard)]
    for row in rows:
        record = records.get(row.position)
        yield Failure(
            record.item if record else items[row.position],
            row.key,
            manifest.column,
            manifest.shard,
            row.position,
            row.reason or "unknown",
            record.message if record else "",
            record.attempts if record else 1,
        )


def _of_images(dataset: Dataset, manifest: Manifest) -> Iterator[Failure]:
    """Yield the images that failed of sets that went on without them."""
    if manifest.kind not in SETS or not manifest.run.failures:
        return
    with readable(f"the index of {manifest_name(manifest.column, manifest.shard)}"):
        rows = dataset.rows(manifest)
    for record in manifest.run.failures:
        row = rows[record.position]
        if row.status != "failed":
            place = (manifest.column, manifest.shard, record.position)
            yield Failure(record.item, row.key, *place, record.reason, record.message, record.attempts)


def _columns_of(stage: str, columns: Sequence[str], recipe: Mapping[str, Any]) -> list[str]:
    """Return the columns a stage of the recipe makes, or the column of this name; raises ConfigError for neither."""
    stages = {entry["name"]: _named_in(entry["annotators"]) for entry in recipe.get("stages", ())}
    staged = {name for names in stages.values() for name in names}
    stages[SOURCE] = [column for column in columns if column not in (IMAGE, SELECT, *staged)]
    names = stages.get(stage, [stage])
    if stage not in stages and stage not in columns:
        raise ConfigError(
            f"--stage must be a stage or a column of the dataset, got {stage!r}; {nearest(stage, [*stages, *columns])}"
        )
    return [column for column in columns if column in names]


def _named_in(annotators: Mapping[str, Any]) -> list[str]:
    """Return the columns of a stage's annotators: a dotted name ends in that of its column."""
    return [name.rpartition(".")[2] for name in annotators]
