"""The select barrier: exact duplicates, near duplicates and quality rules over the whole dataset, out of core.

It writes a status column per shard and never edits `image`. First in plan order wins; of a set (an identity, a scene)
it judges image by image (`select_sets`). docs/design.md.
"""

import time
from collections import Counter
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from onegen.build.jobs import Permissions
from onegen.build.select_sets import DUPLICATE, SetVerdict, set_verdicts
from onegen.build.steps import Commit, OnWorkers
from onegen.config.recipe import SelectConfig
from onegen.executor.contract import ShardResult, Task
from onegen.pixels.near import KeptHashes
from onegen.pixels.phash import FLAT
from onegen.sample import IMAGE, SELECT, Kind, Provides, Resources, Status
from onegen.shards.canonical import sha256
from onegen.shards.column import ColumnWriter, write_index
from onegen.shards.dataset import Dataset, made_so
from onegen.shards.index import Row, bare_table
from onegen.shards.manifest import Manifest, Producer, Provenance, Run
from onegen.shards.run import describe_run
from onegen.shards.views import DROPPED, FEW_IMAGES, SETS, stored_fields
from onegen.shards.where import columns_in, evaluate_rows
from onegen.storage.spill import Spill, cut

SELECT_PROVIDES = Provides(fields={"duplicate_of": pa.string()})
NEAR_ROWS = 1 << 16
"""Hashes compared at a time; they are numbers, not Python's objects."""
_PRODUCER = Producer(name=SELECT, version=2)
_IMAGES = pa.schema(
    [
        ("ordinal", pa.int64()),
        ("key", pa.string()),
        ("phash", pa.uint64()),
        ("status", pa.string()),
        ("rule", pa.string()),
    ]
)
_NEAR = pa.schema([("ordinal", pa.int64()), ("kept", pa.int64())])


@dataclass(frozen=True, slots=True)
class Verdict:
    """Why a row is left out, and the key of the row kept in its place."""

    reason: str
    duplicate_of: str | None = None


@dataclass(frozen=True)
class SelectStep:
    """The barrier as a step: its options, the columns its rules name, and the fields of every column.

    It runs in the driver: any row may repeat any other, so the whole dataset is looked at once.
    """

    config: SelectConfig
    kind: Kind
    scope: Mapping[str, Mapping[str, pa.DataType]]
    inputs: tuple[str, ...] = (IMAGE,)
    name: str = SELECT
    columns: tuple[str, ...] = (SELECT,)
    made_from: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    workers: int | None = None
    resources: Resources = field(default_factory=Resources)
    is_whole: bool = False
    """Whether a set that loses an image is left out; for pairs that goes without saying."""

    @property
    def provenance(self) -> Provenance:
        """What changes the verdicts."""
        options = self.config.model_dump()
        if self.kind not in SETS:
            # Datasets made before there were sets have no such option, and must not look changed.
            del options["min_images"]
        elif self.is_whole:
            options["incomplete"] = "fail"
        settings = {"name": SELECT, "version": _PRODUCER.version, "options": options}
        return Provenance(SELECT, self.kind, settings, _PRODUCER)

    @property
    def settings(self) -> Mapping[str, Provenance]:
        """How the verdicts are made."""
        return {SELECT: self.provenance}

    def tasks(self, dataset: Dataset, num_shards: int, permissions: Permissions) -> list[Task]:
        """Return the shards without verdicts made by these options from these inputs; all of them where permitted.

        Raises ConfigError where an input is not committed in every shard.
        """
        for column in self.inputs:
            absent = set(range(num_shards)) - set(dataset.shards(column))
            if absent:
                dataset.require_manifest(column, min(absent))
        inputs, provenance = self.input_digests(dataset), self.provenance
        made = made_so(dataset, SELECT)
        current = {shard for shard, commit in made.items() if provenance.is_current(commit, inputs)}
        everything = SELECT in permissions.permitted
        return [Task(shard, self.columns) for shard in range(num_shards) if everything or shard not in current]

    def run(self, dataset: Dataset, tasks: Sequence[Task], commit: Commit, on_workers: OnWorkers) -> None:
        """Judge every row, and commit the verdicts of the tasks' shards."""
        for manifest in self.judge(dataset, {task.shard for task in tasks}):
            commit(ShardResult((manifest,)))

    def judge(self, dataset: Dataset, shards: Container[int]) -> Iterator[Manifest]:
        """Judge every row of the dataset and yield a manifest, ready to be committed, for each of these shards."""
        if self.kind in SETS:
            yield from self._judge_sets(dataset, shards)
            return
        inputs = self.input_digests(dataset)
        errors: Counter[int] = Counter()
        with Spill() as spill:
            sizes: dict[int, int] = {}
            spill.store("all_images", _IMAGES, _images(dataset, self, errors, sizes))
            spill.execute("CREATE VIEW images AS SELECT * FROM all_images WHERE status = 'ok' AND rule IS NULL")
            _find_exact(spill)
            _find_near(spill, self.config.near_duplicates.distance if self.config.near_duplicates else None)
            verdicts = _verdicts(spill)
            pending = next(verdicts, None)
            # The indexes are read once: what is written of each shard comes from what was put aside.
            stored = cut(spill.stored("all_images", "key", "status"), sizes.values())
            first = 0
            for (shard, size), images in zip(sizes.items(), stored, strict=True):
                started = time.time()
                of_shard: dict[int, Verdict] = {}
                while pending is not None and pending[0] < first + size:
                    of_shard[pending[0] - first] = pending[1]
                    pending = next(verdicts, None)
                first += size
                if shard in shards:
                    run = partial(describe_run, started, where_errors=errors[shard])
                    yield _write(dataset, self, shard, images, of_shard, inputs, run)

    def _judge_sets(self, dataset: Dataset, shards: Container[int]) -> Iterator[Manifest]:
        """Judge every image of every set, and yield the manifests of these shards."""
        inputs, started = self.input_digests(dataset), time.time()
        least = self.config.least_images(self.kind)
        for shard, verdicts, num_errors in set_verdicts(dataset, self.kind, self.config, self.scope, self.is_whole):
            if shard in shards:
                run = partial(describe_run, started, where_errors=num_errors)
                yield _write_sets(dataset, self, shard, verdicts, least, inputs, run)

    def input_digests(self, dataset: Dataset) -> dict[str, str]:
        """Return the digest of all that select looks at: the whole dataset."""
        return {"dataset": sha256(dataset.digest(self.inputs).encode())}


def _images(
    dataset: Dataset, step: SelectStep, errors: Counter[int], sizes: dict[int, int]
) -> Iterator[pa.RecordBatch]:
    """Yield the images in plan order, each with the first rule it breaks.

    `errors` counts, by shard, the rows over which a rule is in error, and `sizes` all rows.
    """
    ordinal = 0
    fields = ("key", "phash", "status")
    for shard, table in dataset.indexes(IMAGE, *fields):
        broken, in_error = _broken_rules(dataset, step, shard)
        errors[shard] = len(in_error)
        count = sizes[shard] = table.num_rows
        rules = [broken.get(position) for position in range(count)] if broken else [None] * count
        columns = {
            "ordinal": np.arange(ordinal, ordinal + count),
            **{name: table.column(name) for name in fields},
            "rule": pa.array(rules, pa.string()),
        }
        ordinal += count
        yield from pa.Table.from_pydict(columns, schema=_IMAGES).to_batches()


def _broken_rules(dataset: Dataset, step: SelectStep, shard: int) -> tuple[dict[int, str], set[int]]:
    """Return, by position, the first rule a row breaks, and the positions at which a rule is in error."""
    broken: dict[int, str] = {}
    errors: set[int] = set()
    for name, expression in step.config.keep.items():
        scope = {column: step.scope[column] for column in columns_in(expression, step.scope)}
        rows = {column: _rows(dataset, column, shard) for column in scope}
        answers = evaluate_rows(expression, rows, scope)
        errors |= answers.errors
        for position, is_kept in enumerate(answers.holds):
            if not is_kept:
                broken.setdefault(position, name)
    return broken, errors


def _find_exact(spill: Spill) -> None:
    """Make the table `first`: of each key the row kept, and how many have it."""
    spill.execute("CREATE TABLE first AS SELECT key, min(ordinal) AS kept, count(*) AS times FROM images GROUP BY key")


def _find_near(spill: Spill, distance: int | None) -> None:
    """Make the table `alike`: of each hash that looks like one before it the ordinal of the row kept in its place.

    Only a row that is itself kept may push another out, so the hashes go by in plan order.
    """
    if distance is None:
        spill.execute("CREATE TABLE alike (phash UBIGINT, kept BIGINT)")
        return
    spill.execute(
        "CREATE TABLE hashes AS SELECT phash, min(ordinal) AS ordinal, count(*) AS times "
        f"FROM images JOIN first ON kept = ordinal WHERE phash NOT IN {FLAT} GROUP BY phash"
    )
    spill.store("near", _NEAR, _near(spill, distance))
    # Few as a rule: hashes that stand for another, or that several rows have.
    spill.execute(
        "CREATE TABLE alike AS SELECT phash, coalesce(near.kept, hashes.ordinal) AS kept "
        "FROM hashes LEFT JOIN near USING (ordinal) WHERE near.kept IS NOT NULL OR hashes.times > 1"
    )


def _near(spill: Spill, distance: int) -> Iterator[pa.RecordBatch]:
    kept_hashes = KeptHashes(distance)
    for batch in spill.query("SELECT ordinal, phash FROM hashes ORDER BY ordinal", NEAR_ROWS):
        ordinals, hashes = (batch.column(name).to_numpy() for name in ("ordinal", "phash"))
        kept = kept_hashes.admit(ordinals, hashes)
        is_dropped = kept != ordinals
        yield pa.RecordBatch.from_arrays([pa.array(ordinals[is_dropped]), pa.array(kept[is_dropped])], schema=_NEAR)


def _verdicts(spill: Spill) -> Iterator[tuple[int, Verdict]]:
    """Yield (ordinal, verdict) of the rows left out, in plan order."""
    batches = spill.query(
        """
        WITH moved AS (
            SELECT images.ordinal, other.key AS kept_key
            FROM images JOIN alike USING (phash) JOIN first AS own ON own.kept = images.ordinal
            JOIN first AS other ON other.kept = alike.kept WHERE images.ordinal <> alike.kept)
        SELECT ordinal, 'near_duplicate' AS reason, kept_key FROM moved
        UNION ALL BY NAME
        SELECT images.ordinal, 'duplicate' AS reason, coalesce(moved.kept_key, key) AS kept_key
        FROM images JOIN first USING (key) LEFT JOIN moved ON moved.ordinal = first.kept
        WHERE first.times > 1 AND images.ordinal <> first.kept
        UNION ALL BY NAME
        SELECT ordinal, 'rule:' || rule AS reason FROM all_images WHERE status = 'ok' AND rule IS NOT NULL
        ORDER BY ordinal
        """
    )
    for batch in batches:
        for row in batch.to_pylist():
            yield row["ordinal"], Verdict(row["reason"], row["kept_key"])


def _write(
    dataset: Dataset,
    step: SelectStep,
    shard: int,
    images: pa.Table,
    verdicts: Mapping[int, Verdict],
    inputs: Mapping[str, str],
    run: Callable[[int], Run],
) -> Manifest:
    """Write the verdicts on the images of a shard without a Python object a row: most are ok, and say no more."""
    said = images.column("status").to_pylist()
    statuses: list[str | None] = ["ok" if status == "ok" else "skipped" for status in said]
    reasons = [None if status == "ok" else f"{IMAGE}:{status}" for status in said]
    kept: list[str | None] = [None] * len(said)
    for position, verdict in verdicts.items():
        statuses[position], reasons[position], kept[position] = "filtered", verdict.reason, verdict.duplicate_of
    fields = stored_fields(SELECT, SELECT_PROVIDES.fields, step.kind)
    values = {"status": statuses, "reason": reasons, "duplicate_of": kept}
    table = bare_table(images.column("key"), fields, step.kind, _PRODUCER.label(), shard, values)
    files, counts, digest = write_index(dataset.store, SELECT, shard, table)
    return step.provenance.manifest(shard, files, counts, digest, inputs, run(counts.rows))


def _write_sets(
    dataset: Dataset,
    step: SelectStep,
    shard: int,
    verdicts: Mapping[int, SetVerdict],
    least: int,
    inputs: Mapping[str, str],
    run: Callable[[int], Run],
) -> Manifest:
    judged = (
        (row, *_judge_set(row, verdicts.get(row.position), least, step.is_whole))
        for row in _rows(dataset, IMAGE, shard)
    )
    fields = stored_fields(SELECT, SELECT_PROVIDES.fields, step.kind)
    with ColumnWriter(dataset.store, SELECT, shard, fields, step.kind, _PRODUCER.label()) as writer:
        for row, status, reason, values in judged:
            writer.add(row.position, row.key, status, reason, "", values, {})
        files, counts, digest = writer.finish()
    return step.provenance.manifest(shard, files, counts, digest, inputs, run(counts.rows))


def _judge_set(
    row: Row, verdict: SetVerdict | None, least: int, is_whole: bool
) -> tuple[Status, str | None, dict[str, Any]]:
    """Return what becomes of a set: left out as a duplicate of another, for want of images, or without some."""
    if row.status != "ok":
        return "skipped", f"{IMAGE}:{row.status}", {}
    lost = verdict.lost if verdict else {}
    values: dict[str, Any] = {
        DROPPED: [{"image": image, "status": "filtered", "reason": lost[image]} for image in sorted(lost)] or None
    }
    if verdict and verdict.duplicate_of:
        return "filtered", DUPLICATE, {"duplicate_of": verdict.duplicate_of}
    if lost and is_whole:
        return "filtered", lost[min(lost)], values
    if len(row.parts) - len(lost) < least:
        return "filtered", FEW_IMAGES, values
    return "ok", None, values


def _rows(dataset: Dataset, column: str, shard: int) -> Sequence[Row]:
    return dataset.rows(dataset.require_manifest(column, shard))
