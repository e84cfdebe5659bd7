"""The plan: which item is row p of shard n, fixed before any work starts and never made again.

docs/contract.md, rule 12.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from json.encoder import encode_basestring
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from onegen.shards.canonical import canonical
from onegen.shards.dataset import PlanSummary
from onegen.shards.index import to_parquet
from onegen.storage.spill import Spill
from onegen.storage.store import Store

FILES = pa.list_(pa.struct([("uri", pa.string()), ("size", pa.int64()), ("etag", pa.string())]))
LISTING = pa.schema([("item", pa.string()), ("images", FILES), ("sidecars", FILES)])
"""What a source lists: item id, its images in order and the files beside them, each with size and etag or mtime."""
_PLAN = re.compile(r"\d{6}\.parquet")
PLAN = pa.schema([pa.field("position", pa.int32()), *LISTING])


@dataclass(frozen=True, slots=True)
class PlannedFile:
    """A file as the plan saw it: uri relative to the source root, size in bytes, etag or modification time.

    Without an etag it is the file as it is now, whatever the plan saw.
    """

    uri: str
    size: int
    etag: str | None

    def unpinned(self) -> "PlannedFile":
        """Return the file as it is now."""
        return replace(self, etag=None)

    def record(self) -> dict[str, Any]:
        """Return the file as a row of `LISTING` has it."""
        return {"uri": self.uri, "size": self.size, "etag": self.etag}


@dataclass(frozen=True, slots=True)
class PlannedItem:
    """One row of the plan: position in its shard, item id, images in order, and files beside them."""

    position: int
    item: str
    images: tuple[PlannedFile, ...]
    sidecars: tuple[PlannedFile, ...]

    def digest(self) -> str:
        """Return the digest of the row: what the image column's row is made from."""
        return hashlib.sha256(canonical(self.content())).hexdigest()

    def unpinned(self) -> "PlannedItem":
        """Return the item with its files as they are now."""
        images, sidecars = (tuple(file.unpinned() for file in files) for files in (self.images, self.sidecars))
        return replace(self, images=images, sidecars=sidecars)

    def content(self) -> list[Any]:
        """Return what identifies the row, as JSON values."""
        return [self.item, *([[f.uri, f.size, f.etag] for f in files] for files in (self.images, self.sidecars))]


def plan_name(shard: int) -> str:
    """Return the name of a shard's plan."""
    return f"plan/{shard:06d}.parquet"


def plan_shards(store: Store) -> list[int]:
    """Return the shards that have a plan, in order."""
    return [int(name[:6]) for name in store.names("plan") if _PLAN.fullmatch(name)]


def make_plan(
    store: Store, listing: Iterable[pa.RecordBatch], samples_per_shard: int, limit: int | None = None
) -> PlanSummary:
    """Sort a listing by item id, out of core, cut it into shards and write their plans.

    `samples_per_shard` counts images; an item never spans shards. `limit` keeps the first items only. The plan is
    pinned once the caller names it in the dataset's card; until then its files are orphans and a new plan replaces
    them.
    """
    for shard in plan_shards(store):
        store.delete(plan_name(shard))
    total = hashlib.sha256()
    shards = items = 0
    with Spill() as spill:
        spill.store("listing", LISTING, listing)
        cut = "" if limit is None else f"LIMIT {limit}"
        ordered = spill.query(f"SELECT item, images, sidecars FROM listing ORDER BY item {cut}")
        for rows in _shards(ordered, samples_per_shard):
            total.update(plan_lines(rows))
            store.write(plan_name(shards), plan_table_file(rows))
            shards += 1
            items += rows.num_rows
    return PlanSummary(shards=shards, items=items, digest=total.hexdigest())


@dataclass(frozen=True, slots=True)
class Changes:
    """How a source differs from its plan: items that are new, changed (another size, etag or set of files), or gone."""

    new: int
    changed: int
    gone: int


def compare_plan(store: Store, num_shards: int, listing: Iterable[pa.RecordBatch]) -> Changes:
    """Compare a listing made now with the pinned plan, out of core and without reading an image."""
    plans = (batch for shard in range(num_shards) for batch in _planned(store, shard))
    with Spill() as spill:
        spill.store("listing", LISTING, listing)
        spill.store("plan", LISTING, plans)
        counts = spill.query(
            "SELECT count(*) FILTER (plan.item IS NULL) AS new, count(*) FILTER (listing.item IS NULL) AS gone, "
            "count(*) FILTER (plan.item = listing.item AND (plan.images <> listing.images OR "
            "plan.sidecars <> listing.sidecars)) AS changed "
            "FROM listing FULL JOIN plan ON plan.item = listing.item"
        )
        (row,) = next(counts).to_pylist()
    return Changes(row["new"], row["changed"], row["gone"])


def _planned(store: Store, shard: int) -> Iterator[pa.RecordBatch]:
    with store.open(plan_name(shard)) as file:
        table = pq.ParquetFile(file).read(columns=LISTING.names, use_threads=False)
    yield from table.cast(LISTING).to_batches()


def read_plan(store: Store, shard: int) -> list[PlannedItem]:
    """Return the plan of a shard, in position order."""
    with store.open(plan_name(shard)) as file:
        table = pq.ParquetFile(file).read(use_threads=False)
    return [planned_item(row) for row in table.to_pylist()]


def plan_digest(store: Store, shard: int) -> str:
    """Return the digest of a shard's plan: what its image column is made from.

    Over the file's bytes, not its rows: a plan is written once, and a million rows need not be parsed to resume.
    """
    return hashlib.sha256(store.read(plan_name(shard))).hexdigest()


def _shards(batches: Iterable[pa.RecordBatch], samples_per_shard: int) -> Iterator[pa.Table]:
    """Yield the rows of each shard, as `PLAN` has them: as many as their images allow, one at least."""
    left = LISTING.empty_table()
    num_images = 0
    for batch in batches:
        rows = _in_order(batch)
        start = 0
        for place, images in enumerate(rows.column("images").combine_chunks().value_lengths().to_pylist()):
            if left.num_rows + place - start and num_images + images > samples_per_shard:
                yield _numbered([left, rows.slice(start, place - start)])
                left, start, num_images = LISTING.empty_table(), place, 0
            num_images += images
        left = pa.concat_tables([left, rows.slice(start)])
    if left.num_rows:
        yield _numbered([left])


def _in_order(batch: pa.RecordBatch) -> pa.Table:
    """Return a batch as `LISTING` has it, with an empty list where there is none."""
    columns = [_files_array(batch.column(name)) for name in ("images", "sidecars")]
    return pa.Table.from_arrays([batch.column("item").cast(pa.string()), *columns], schema=LISTING)


def _files_array(column: pa.ListArray) -> pa.ListArray:
    ends = np.cumsum(column.value_lengths().fill_null(0).to_numpy(zero_copy_only=False), dtype=np.int32)
    files, fields = column.flatten(), list(FILES.value_type)
    values = pa.StructArray.from_arrays([files.field(f.name).cast(f.type) for f in fields], fields=fields)
    return pa.ListArray.from_arrays(pa.array(np.append(np.int32(0), ends)), values, type=FILES)


def _numbered(tables: Sequence[pa.Table]) -> pa.Table:
    rows = pa.concat_tables(tables).combine_chunks()
    return rows.add_column(0, PLAN.field("position"), [np.arange(rows.num_rows, dtype=np.int32)])


def plan_lines(rows: pa.Table) -> bytes:
    """Return what the digest of a plan is taken over: the canonical content of each item, one a line."""
    items = rows.column("item").to_pylist()
    texts = zip(items, _file_texts(rows.column("images")), _file_texts(rows.column("sidecars")), strict=True)
    return "".join(f"[{_json(item)},[{images}],[{sidecars}]]\n" for item, images, sidecars in texts).encode()


def _file_texts(column: pa.ChunkedArray) -> Iterator[str]:
    """Yield the files of each row as canonical JSON has them, without the list's brackets."""
    lists = column.combine_chunks()
    fields = (lists.flatten().field(name).to_pylist() for name in ("uri", "size", "etag"))
    files = [
        f"[{_json(uri)},{'null' if size is None else size},{_json(etag)}]"
        for uri, size, etag in zip(*fields, strict=True)
    ]
    start = 0
    for length in lists.value_lengths().to_pylist():
        yield ",".join(files[start : start + length])
        start += length


def _json(text: str | None) -> str:
    return "null" if text is None else encode_basestring(text)


def plan_table_file(rows: pa.Table) -> bytes:
    """Return the bytes of the file of a plan, those that `plan_file` returns of its items."""
    return to_parquet(rows.cast(PLAN))


def planned_item(row: Mapping[str, Any]) -> PlannedItem:
    """Return the item of a row of `PLAN`."""
    return PlannedItem(row["position"], row["item"], _files(row["images"]), _files(row["sidecars"]))


def _files(records: Sequence[Mapping[str, Any]] | None) -> tuple[PlannedFile, ...]:
    # A list is filled in half the time of a generator, and a plan has millions of these.
    return tuple([PlannedFile(file["uri"], file["size"], file["etag"]) for file in records or ()])


def plan_file(rows: Sequence[PlannedItem]) -> bytes:
    """Return the bytes of the file of a plan, the same for the same items."""
    columns = {
        "position": [row.position for row in rows],
        "item": [row.item for row in rows],
        "images": [[file.record() for file in row.images] for row in rows],
        "sidecars": [[file.record() for file in row.sidecars] for row in rows],
    }
    return to_parquet(pa.Table.from_pydict(columns, schema=PLAN))
