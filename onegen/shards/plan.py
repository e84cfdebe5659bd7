"""The plan: which item is row p of shard n, fixed before any work starts and never made again.

docs/contract.md, rule 12.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
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
NAMED = 3
"""Items of each kind of change that are named."""
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
    """How a source differs from its plan: items that are new, changed (another size, etag or set of files), or gone.

    `named` has the first few of each by name. An item planned again since it changed is as it is in any of its rows.
    """

    new: int = 0
    changed: int = 0
    gone: int = 0
    named: Mapping[str, Sequence[str]] = field(default_factory=dict, compare=False)

    def told(self, *kinds: str) -> str:
        """Return the counts of these kinds, with the first names of each."""
        return ", ".join(self._told(kind) for kind in kinds)

    def _told(self, kind: str) -> str:
        number, names = getattr(self, kind), self.named.get(kind, ())
        more = ", ..." if number > len(names) else ""
        return f"{number:,} {kind}" + (f" ({', '.join(names)}{more})" if names else "")


def compare_plan(store: Store, num_shards: int, listing: Iterable[pa.RecordBatch]) -> Changes:
    """Compare a listing made now with the pinned plan, out of core and without reading an image."""
    with Spill() as spill:
        return _compare(spill, store, num_shards, listing)


def extend_plan(
    store: Store,
    plan: PlanSummary,
    listing: Iterable[pa.RecordBatch],
    samples_per_shard: int,
    limit: int | None = None,
) -> tuple[PlanSummary, Changes]:
    """Write plans of further shards for what is new or changed in a listing; return the plan with them, and what is.

    Shards there are stay as they are. `limit` is of all items. The extension is pinned once the caller names it in the
    dataset's card; until then its files are orphans, and another extension replaces them.
    """
    drop_unpinned(store, plan.shards)
    with Spill() as spill:
        changes = _compare(spill, store, plan.shards, listing)
        room = "" if limit is None else f"LIMIT {max(0, limit - plan.items)}"
        shards, items = plan.shards, plan.items
        total = hashlib.sha256()
        lacking = spill.query(
            f"SELECT item, images, sidecars FROM listing JOIN compared USING (item) WHERE NOT is_same "
            f"ORDER BY item {room}"
        )
        for rows in _shards(lacking, samples_per_shard):
            if shards == plan.shards:
                # The digest is over all rows: it cannot go on from that of the plan as it was.
                total = _digest_of(store, plan.shards)
            total.update(plan_lines(rows))
            store.write(plan_name(shards), plan_table_file(rows))
            shards, items = shards + 1, items + rows.num_rows
    if shards == plan.shards:
        return plan, changes
    return plan.model_copy(update={"shards": shards, "items": items, "digest": total.hexdigest()}), changes


def drop_unpinned(store: Store, num_shards: int) -> None:
    """Delete the plans of shards that no card names: an extension that was not pinned."""
    for shard in plan_shards(store):
        if shard >= num_shards:
            store.delete(plan_name(shard))


def _digest_of(store: Store, num_shards: int) -> "hashlib._Hash":
    """Return the digest of a plan's rows so far."""
    total = hashlib.sha256()
    for shard in range(num_shards):
        for row in read_plan(store, shard):
            total.update(canonical(row.content()) + b"\n")
    return total


def _compare(spill: Spill, store: Store, num_shards: int, listing: Iterable[pa.RecordBatch]) -> Changes:
    """Make the tables `listing`, `plan` and `compared` (each listed item: is it planned, and as it is), and count."""
    spill.store("listing", LISTING, listing)
    spill.store("plan", LISTING, (batch for shard in range(num_shards) for batch in _planned(store, shard)))
    spill.execute(
        "CREATE TABLE compared AS SELECT listing.item, bool_or(plan.item IS NOT NULL) AS is_planned, "
        "bool_or(plan.item IS NOT NULL AND NOT coalesce(plan.images <> listing.images OR "
        "plan.sidecars <> listing.sidecars, false)) AS is_same "
        "FROM listing LEFT JOIN plan ON plan.item = listing.item GROUP BY listing.item"
    )
    queries = {
        "new": "SELECT item FROM compared WHERE NOT is_planned",
        "changed": "SELECT item FROM compared WHERE is_planned AND NOT is_same",
        "gone": "SELECT DISTINCT item FROM plan ANTI JOIN listing USING (item)",
    }
    counts: dict[str, int] = {}
    named: dict[str, Sequence[str]] = {}
    for kind, sql in queries.items():
        found = [
            row["item"]
            for batch in spill.query(f"SELECT item FROM ({sql}) ORDER BY item LIMIT {NAMED}")
            for row in batch.to_pylist()
        ]
        (count,) = next(spill.query(f"SELECT count(*) AS n FROM ({sql})")).to_pylist()
        counts[kind], named[kind] = count["n"], found
    return Changes(**counts, named=named)


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
