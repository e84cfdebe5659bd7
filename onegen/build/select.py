"""The select barrier: exact duplicates, near duplicates and quality rules over the whole dataset, out of core.

It writes a status column per shard and never edits `image`. First in plan order wins. DESIGN section 2.
"""

import hashlib
import itertools
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from onegen.config.recipe import SelectConfig
from onegen.sample import IMAGE, SELECT, Kind, Provides, Status
from onegen.shards import where
from onegen.shards.column import ColumnWriter
from onegen.shards.dataset import Dataset
from onegen.shards.index import Row
from onegen.shards.manifest import Manifest, Producer, fingerprint, inputs_digest
from onegen.shards.run import describe_run
from onegen.shards.where import evaluate_rows
from onegen.storage.spill import BATCH_ROWS, Spill

SELECT_PROVIDES = Provides(fields={"duplicate_of": pa.string()})
HASH_BITS = 64
_IMAGES = pa.schema(
    [
        ("ordinal", pa.int64()),
        ("shard", pa.int32()),
        ("position", pa.int32()),
        ("key", pa.string()),
        ("phash", pa.uint64()),
    ]
)
_NEAR = pa.schema([("ordinal", pa.int64()), ("kept", pa.int64())])


@dataclass(frozen=True)
class SelectJob:
    """What select does: its options, the columns its rules name with their fields, and the fields of every column."""

    config: SelectConfig
    kind: Kind
    scope: Mapping[str, Mapping[str, pa.DataType]]
    columns: tuple[str, ...] = (IMAGE,)

    @property
    def settings(self) -> dict[str, Any]:
        """What changes the verdicts."""
        options = self.config.model_dump()
        return {"name": SELECT, "version": 1, "options": options}

    @property
    def fingerprint(self) -> str:
        """The digest of the settings."""
        return fingerprint(self.settings)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Why a row is left out, and the key of the row kept in its place."""

    reason: str
    duplicate_of: str | None = None


def input_digest(dataset: Dataset, job: SelectJob) -> str:
    """Return the digest of all that select looks at: the whole dataset, since any row may repeat any other."""
    total = hashlib.sha256(dataset.digest(job.columns).encode())
    return total.hexdigest()


def is_current(dataset: Dataset, job: SelectJob, num_shards: int) -> bool:
    """Say whether every shard has a verdict made by these options from these inputs."""
    return len(_current_shards(dataset, job, _inputs(dataset, job))) == num_shards


def run_select(dataset: Dataset, job: SelectJob, num_shards: int, force: bool = False) -> Iterator[Manifest]:
    """Judge every row and yield a manifest, ready to be committed, for each shard whose verdicts are not current.

    `force` yields the others too.
    """
    inputs = _inputs(dataset, job)
    current = set() if force else _current_shards(dataset, job, inputs)
    with Spill() as spill:
        spill.store("images", _IMAGES, _images(dataset, job, num_shards))
        _find_exact(spill)
        _find_near(spill, job.config.near_duplicates.distance if job.config.near_duplicates else None)
        verdicts = _verdicts(spill)
        pending = next(verdicts, None)
        for shard in range(num_shards):
            started = time.time()
            found: dict[int, Verdict] = {}
            while pending is not None and pending[0] == shard:
                found[pending[1]] = pending[2]
                pending = next(verdicts, None)
            if shard not in current:
                yield _write(dataset, job, shard, found, inputs, started)


def _inputs(dataset: Dataset, job: SelectJob) -> dict[str, str]:
    return {"dataset": input_digest(dataset, job)}


def _current_shards(dataset: Dataset, job: SelectJob, inputs: dict[str, str]) -> set[int]:
    """Return the shards whose committed verdicts were made by these options from these inputs."""
    expected = inputs_digest(inputs, None)
    return {
        manifest.shard
        for manifest in dataset.manifests(SELECT)
        if manifest.input_digest == expected and manifest.fingerprint == job.fingerprint
    }


def _images(dataset: Dataset, job: SelectJob, num_shards: int) -> Iterator[pa.RecordBatch]:
    """Yield the rows that take part: images that are ok and pass every rule."""
    ordinal = 0
    for shard in range(num_shards):
        rows = _rows(dataset, IMAGE, shard)
        failed_rules = _failed_rules(dataset, job, shard)
        chunk = []
        for row in rows:
            ordinal += 1
            if row.status == "ok" and row.position not in failed_rules:
                chunk.append((ordinal, shard, row.position, row.key, row.values["phash"]))
        for start in range(0, len(chunk), BATCH_ROWS):
            part = chunk[start : start + BATCH_ROWS]
            yield pa.RecordBatch.from_pydict(
                {name: [entry[i] for entry in part] for i, name in enumerate(_IMAGES.names)}, schema=_IMAGES
            )


def _find_exact(spill: Spill) -> None:
    spill.execute("CREATE TABLE first AS SELECT key, min(ordinal) AS kept FROM images GROUP BY key")
    spill.execute(
        "CREATE TABLE hashes AS SELECT phash, min(ordinal) AS ordinal FROM images JOIN first USING (key) "
        "WHERE ordinal = kept GROUP BY phash"
    )


def _find_near(spill: Spill, distance: int | None) -> None:
    """Fill the table `near` (hash representative, the one kept in its place) by a banded join.

    Two hashes at most d bits apart agree wholly in one of d + 1 bands, so only rows that share a band are compared.
    """
    pairs: Iterator[pa.RecordBatch] = iter(())
    if distance is not None:
        edges = [HASH_BITS * band // (distance + 1) for band in range(distance + 2)]
        bands = " UNION ALL ".join(
            f"SELECT {band} AS band, (phash >> {low}) & {(1 << (high - low)) - 1}::UBIGINT AS bits, phash, ordinal "
            f"FROM hashes"
            for band, (low, high) in enumerate(itertools.pairwise(edges))
        )
        pairs = spill.query(
            f"WITH bands AS ({bands}) SELECT DISTINCT later.ordinal AS later, earlier.ordinal AS earlier "
            f"FROM bands AS later JOIN bands AS earlier USING (band, bits) WHERE earlier.ordinal < later.ordinal "
            f"AND bit_count(xor(earlier.phash, later.phash)) <= {distance} ORDER BY later, earlier"
        )
    # Only a row that is itself kept may push another out, so the pairs are walked in plan order.
    dropped: dict[int, int] = {}
    for batch in pairs:
        for pair in batch.to_pylist():
            if pair["earlier"] not in dropped:
                dropped.setdefault(pair["later"], pair["earlier"])
    spill.store(
        "near",
        _NEAR,
        [pa.RecordBatch.from_pydict({"ordinal": list(dropped), "kept": list(dropped.values())}, schema=_NEAR)],
    )
    spill.execute(f"CREATE TABLE same_hash AS SELECT * FROM hashes WHERE {distance is not None}")


def _verdicts(spill: Spill) -> Iterator[tuple[int, int, Verdict]]:
    """Yield (shard, position, verdict) of the rows left out, in plan order."""
    batches = spill.query(
        """
        WITH judged AS (
            SELECT i.shard, i.position, i.ordinal, i.ordinal <> first.kept AS is_exact,
                   coalesce(near.kept, same_hash.ordinal, first.kept) AS kept_ordinal
            FROM images AS i JOIN first USING (key)
            LEFT JOIN same_hash ON same_hash.phash = i.phash
            LEFT JOIN near ON near.ordinal = same_hash.ordinal)
        SELECT judged.shard, judged.position, judged.is_exact, kept.key AS kept_key
        FROM judged JOIN images AS kept ON kept.ordinal = judged.kept_ordinal
        WHERE judged.kept_ordinal <> judged.ordinal
        ORDER BY judged.ordinal
        """
    )
    for batch in batches:
        for row in batch.to_pylist():
            reason = "duplicate" if row["is_exact"] else "near_duplicate"
            yield row["shard"], row["position"], Verdict(reason, row["kept_key"])


def _failed_rules(dataset: Dataset, job: SelectJob, shard: int) -> dict[int, str]:
    """Return position to the name of the first rule it breaks."""
    broken: dict[int, str] = {}
    for name, expression in job.config.keep.items():
        columns = where.columns_in(expression, job.scope)
        scope = {column: job.scope[column] for column in columns}
        rows = {column: _rows(dataset, column, shard) for column in columns}
        for position, kept in enumerate(evaluate_rows(expression, rows, scope)):
            if not kept:
                broken.setdefault(position, name)
    return broken


def _write(
    dataset: Dataset, job: SelectJob, shard: int, found: Mapping[int, Verdict], inputs: dict[str, str], started: float
) -> Manifest:
    broken = _failed_rules(dataset, job, shard)
    producer = Producer(name=SELECT, version=1)
    with ColumnWriter(dataset.store, SELECT, shard, SELECT_PROVIDES.fields, job.kind, producer.label()) as writer:
        for row in _rows(dataset, IMAGE, shard):
            status, reason, values = _judge(row, broken.get(row.position), found.get(row.position))
            writer.add(row.position, row.key, status, reason, "", values, {})
        files, counts, digest = writer.finish()
    return Manifest(
        column=SELECT,
        shard=shard,
        kind=job.kind,
        counts=counts,
        files=files,
        digest=digest,
        inputs=inputs,
        input_digest=inputs_digest(inputs, None),
        fingerprint=job.fingerprint,
        settings=job.settings,
        producer=producer,
        run=describe_run(started, counts.rows),
    )


def _judge(row: Row, rule: str | None, verdict: Verdict | None) -> tuple[Status, str | None, dict[str, Any]]:
    if row.status != "ok":
        return "skipped", f"{IMAGE}:{row.status}", {}
    if rule is not None:
        return "filtered", f"rule:{rule}", {}
    if verdict is not None:
        return "filtered", verdict.reason, {"duplicate_of": verdict.duplicate_of}
    return "ok", None, {}


def _rows(dataset: Dataset, column: str, shard: int) -> Sequence[Row]:
    manifest = dataset.manifest(column, shard)
    if manifest is None:
        raise FileNotFoundError(f"shard {shard:06d} of {column} must be committed before select.")
    return dataset.rows(manifest)
