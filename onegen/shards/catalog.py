"""The catalogue: what folds over a whole dataset ask of its manifests, a table a folder instead of a file a shard.

Derived and deletable. A row counts only while the listing of its folder gives the manifest (or the plan's file) the
version it had when it was read; any other file is read itself, so nothing rests on a catalogue that is old, damaged,
foreign or not there: it only takes longer. Only a driver writes one; readers never change a dataset. docs/contract.md.
"""

import contextlib
import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from onegen.shards.manifest import Manifest
from onegen.storage.store import Store

CATALOG = "catalog"
CATALOG_VERSION = b"1"
LEAST_FILES = 256
"""Manifests, or plans, of a folder that are worth a catalogue: fewer are read as fast."""
_VERSION_FIELD = b"onegen.catalog"
_ROWS = 2048

_COUNTS = ("rows", "ok", "skipped", "filtered", "failed")
PACE = ("computed", "seconds", "busy_seconds", "peak_rss", "peak_gpu", "halvings", "smallest_batch")
REASONS = pa.list_(pa.struct([("reason", pa.string()), ("count", pa.int64())]))
COMMITS = pa.schema(
    [
        ("shard", pa.int32()),
        ("version", pa.string()),
        ("digest", pa.string()),
        ("input_digest", pa.string()),
        ("fingerprint", pa.string()),
        ("producer", pa.string()),
        ("files", pa.list_(pa.string())),
        *((name, pa.int64()) for name in _COUNTS),
        ("messages", pa.int64()),
        ("where_errors", pa.int64()),
        *((name, pa.float64() if name.endswith("seconds") else pa.int64()) for name in PACE),
        ("reasons", REASONS),
    ]
)
"""Of each manifest: its shard, the version its file had, what it says, and why rows of its index failed (if readable).

`messages` counts the failures that the run part tells of, also those of images that a set went on without.
"""
PLANS = pa.schema([("shard", pa.int32()), ("version", pa.string()), ("digest", pa.string())])
"""Of each plan: its shard, the version its file had, and the digest of its bytes."""
_NUMBERED = re.compile(r"(\d{6})\.(json|parquet)")

Read = Callable[[int], Mapping[str, Any] | None]
"""Returns the facts of a shard by name, read from its file; None where it is gone."""


def facts_of(manifest: Manifest, reasons: Iterable[tuple[str, int]] | None = ()) -> dict[str, Any]:
    """Return what a manifest says, as a row of `COMMITS` without its version.

    `reasons` are those of its failed rows, None where these are not known.
    """
    run, counts = manifest.run, manifest.counts
    return {
        "shard": manifest.shard,
        "digest": manifest.digest,
        "input_digest": manifest.input_digest,
        "fingerprint": manifest.fingerprint,
        "producer": manifest.producer.label(),
        "files": list(manifest.files),
        **{name: getattr(counts, name) for name in _COUNTS},
        "messages": len(run.failures),
        "where_errors": run.where_errors,
        **{name: getattr(run, name) for name in PACE},
        "reasons": None if reasons is None else [{"reason": reason, "count": count} for reason, count in reasons],
    }


def shard_facts(
    store: Store,
    folder: str,
    versions: Mapping[int, str],
    schema: pa.Schema,
    fields: Sequence[str],
    read: Read,
    trusts: bool = True,
) -> pa.Table:
    """Return facts, a row a shard in order, of the numbered files of a folder: `shard`, `version` and `fields`.

    `versions` is their listing. Facts of files that are as the catalogue saw them are taken from it, if it `trusts`
    one; the others from `read`.
    """
    names = list(dict.fromkeys(("shard", "version", *fields)))
    own = pa.schema([schema.field(name) for name in names])
    known = _known(store, folder, own, versions) if trusts else own.empty_table()
    left = sorted(versions.keys() - set(known.column("shard").to_pylist()))
    if not left:
        return known
    rows = ({**facts, "version": versions[shard]} for shard in left if (facts := read(shard)) is not None)
    fresh = pa.Table.from_batches(_batches(rows, own), own)
    return pa.concat_tables([known, fresh]).sort_by("shard") if known.num_rows else fresh


def write_catalog(store: Store, folder: str, versions: Mapping[int, str], schema: pa.Schema, read: Read) -> None:
    """Bring the catalogue of a folder up to date, or remove it where the folder is small; only for a driver.

    What was written this very moment is left out: its version does not tell it from what is written next.
    """
    name = catalog_name(folder)
    if len(versions) < LEAST_FILES:
        if store.exists(name):
            store.delete(name)
        return
    settled = {shard for shard, version in versions.items() if version}
    before = _stored(store, folder, pa.schema([schema.field("shard"), schema.field("version")]))
    said = dict(zip(*(before.column(n).to_pylist() for n in ("shard", "version")), strict=True)) if before else {}
    if said == {shard: versions[shard] for shard in settled}:
        return
    table = shard_facts(store, folder, versions, schema, schema.names, read)
    is_settled = np.not_equal(table.column("version").to_numpy(zero_copy_only=False), "")
    table = table.filter(pa.array(is_settled)).replace_schema_metadata({_VERSION_FIELD: CATALOG_VERSION})
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", write_page_checksum=True)
    store.write(name, sink.getvalue().to_pybytes())


def drop_catalogs(store: Store, folders: Iterable[str]) -> None:
    """Delete the catalogues of columns whose folders are gone; only for a driver."""
    kept = {catalog_name(folder) for folder in folders}
    for name in store.names(f"{CATALOG}/columns"):
        if name.endswith(".parquet") and f"{CATALOG}/columns/{name}" not in kept:
            store.delete(f"{CATALOG}/columns/{name}")


def catalog_name(folder: str) -> str:
    """Return the name of the catalogue of a folder."""
    return f"{CATALOG}/{folder}.parquet"


def shard_versions(store: Store, folder: str, extension: str) -> dict[int, str]:
    """Return the version of the file of every shard, empty where it has none that can be relied on."""
    found = store.versions(folder, extension).items()
    return {int(name[:6]): version for name, version in found if _NUMBERED.fullmatch(name)}


def _known(store: Store, folder: str, own: pa.Schema, versions: Mapping[int, str]) -> pa.Table:
    """Return the rows of the catalogue whose files are as it saw them."""
    stored = _stored(store, folder, own)
    if stored is None:
        return own.empty_table()
    pairs = zip(stored.column("shard").to_pylist(), stored.column("version").to_pylist(), strict=True)
    is_current = [bool(version) and versions.get(shard) == version for shard, version in pairs]
    return stored if all(is_current) else stored.filter(pa.array(is_current, pa.bool_()))


def _stored(store: Store, folder: str, own: pa.Schema) -> pa.Table | None:
    """Return some fields of the catalogue as it was written, in shard order; None where there is none of this version.

    A damaged page is told by its checksum, a file cut short by its end.
    """
    name = catalog_name(folder)
    with contextlib.suppress(OSError, pa.ArrowException, KeyError):
        with store.open(name) as file:
            parquet = pq.ParquetFile(file, page_checksum_verification=True)
            metadata = parquet.schema_arrow.metadata or {}
            if metadata.get(_VERSION_FIELD) != CATALOG_VERSION:
                return None
            table = parquet.read(columns=own.names, use_threads=False).select(own.names).cast(own)
        shards = table.column("shard").to_numpy()
        return table if (np.diff(shards) > 0).all() else None
    return None


def _batches(rows: Iterable[Mapping[str, Any]], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    rows = iter(rows)
    while some := list(itertools.islice(rows, _ROWS)):
        columns = {name: [row[name] for row in some] for name in schema.names}
        yield cast(pa.RecordBatch, pa.RecordBatch.from_pydict(columns, schema=schema))
