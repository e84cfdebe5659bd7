"""The index of a column shard: one typed row per plan item, what its parts are and what happened to it.

All columns have the same rows, joined by (`shard`, `position`). Digests are taken over canonical rows, never over
Parquet bytes, so they survive another writer version. docs/contract.md, rules 5 and 7.
"""

import hashlib
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from onegen.sample import Kind, Status
from onegen.shards.canonical import canonical
from onegen.shards.tar import Member

MEMBERS = pa.list_(
    pa.struct([("name", pa.string()), ("offset", pa.int64()), ("size", pa.int64()), ("sha256", pa.string())])
)

BASE: dict[str, pa.DataType] = {
    "shard": pa.int32(),
    "position": pa.int32(),
    "key": pa.string(),
    "kind": pa.string(),
    "status": pa.string(),
    "reason": pa.string(),
    "parts": MEMBERS,
    "input_digest": pa.string(),
    "producer": pa.string(),
}
"""Fields every column's index has; a column's own fields follow. Indexes of older builds have no `shard`."""

IMAGE_FIELDS: dict[str, pa.DataType] = {
    "item": pa.string(),
    "uri": pa.string(),
    "sha256": pa.string(),
    "members": pa.list_(pa.string()),
    "width": pa.int32(),
    "height": pa.int32(),
    "phash": pa.uint64(),
    "caption": pa.string(),
    "licence": pa.string(),
    "attribution": pa.string(),
}
"""Fields of the `image` column: what the source said, and the facts of the stored image. `sha256` is of the original
bytes of a single image; `members` lists those of all images in order; the rest is of the first image."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a column: `position` in the shard's plan, key (None where bytes were never read), status and reason,
    the parts in the column's tar, the digest of what the row was made from, and the column's own values."""

    position: int
    key: str | None
    status: Status
    reason: str | None = None
    parts: tuple[Member, ...] = ()
    input_digest: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)


def to_table(
    rows: Sequence[Row], fields: Mapping[str, pa.DataType], kind: Kind, producer: str, shard: int = 0
) -> pa.Table:
    """Return the rows of a shard as an arrow table with the base fields and the column's own.

    Raises pyarrow.ArrowInvalid or pyarrow.ArrowTypeError for a value that is not of its field's type.
    """
    base: dict[str, Any] = {
        "shard": [shard] * len(rows),
        "position": [row.position for row in rows],
        "key": [row.key for row in rows],
        "kind": [kind] * len(rows),
        "status": [row.status for row in rows],
        "reason": [row.reason for row in rows],
        "parts": _members_array([row.parts for row in rows]),
        "input_digest": [row.input_digest for row in rows],
        "producer": [producer] * len(rows),
    }
    own = {name: [row.values.get(name) for row in rows] for name in fields}
    schema = pa.schema(list(BASE.items()) + list(fields.items()))
    return pa.Table.from_pydict({**base, **own}, schema=schema)


def bare_table(
    keys: pa.ChunkedArray,
    fields: Mapping[str, pa.DataType],
    kind: Kind,
    producer: str,
    shard: int,
    values: Mapping[str, Sequence[Any]],
) -> pa.Table:
    """Return the table that `to_table` returns of rows without parts; `values` are by field, null where there are none.

    The rows are in position order.
    """
    count = len(keys)
    base: dict[str, Any] = {
        "shard": np.full(count, shard, np.int32),
        "position": np.arange(count, dtype=np.int32),
        "key": keys,
        "kind": pa.repeat(kind, count),
        "parts": pa.ListArray.from_arrays(
            np.zeros(count + 1, np.int32), pa.array([], MEMBERS.value_type), type=MEMBERS
        ),
        "input_digest": pa.repeat("", count),
        "producer": pa.repeat(producer, count),
    }
    own = {name: pa.nulls(count, kind) for name, kind in fields.items()}
    schema = pa.schema(list(BASE.items()) + list(fields.items()))
    return pa.Table.from_pydict({**base, **own, **values}, schema=schema)


def from_table(table: pa.Table) -> list[Row]:
    """Return the rows of an index; values are as arrow stored them."""
    own = [name for name in table.column_names if name not in BASE]
    base = (table.column(name).to_pylist() for name in ("position", "key", "status", "reason"))
    values = zip(*(table.column(name).to_pylist() for name in own), strict=True) if own else itertools.repeat(())
    return [
        Row(position, key, cast(Status, status), reason, parts, input_digest, dict(zip(own, row, strict=True)))
        for position, key, status, reason, parts, input_digest, row in zip(
            *base, _members(table.column("parts")), table.column("input_digest").to_pylist(), values, strict=False
        )
    ]


def table_digest(table: pa.Table) -> str:
    """Return what `digest` returns of the rows of an index, many times as fast where they have no parts."""
    if any(len(chunk.flatten()) for chunk in table.column("parts").chunks):
        return digest(from_table(table))
    # Arrow's own arithmetic costs more in calls than these lists do: most shards have a thousand rows.
    statuses, reasons = (table.column(name).to_pylist() for name in ("status", "reason"))
    own = [name for name in table.column_names if name not in BASE and table.column(name).null_count < table.num_rows]
    values = zip(*(table.column(name).to_pylist() for name in own), strict=True) if own else itertools.repeat(())
    nothing = (None,) * len(own)
    # All keys by one call, a line each: what JSON quotes holds no line's end.
    keys = json.dumps(table.column("key").to_pylist(), ensure_ascii=False, separators=("\n", ":"))[1:-1].split("\n")
    heads = {kind: canonical(kind)[1:-1].decode() for kind in set(zip(statuses, reasons, strict=True))}
    lines = []
    for key, kind, said in zip(keys, zip(statuses, reasons, strict=True), values, strict=False):
        stated = "{}" if said == nothing else canonical(_stated(zip(own, said, strict=True))).decode()
        lines.append(f"[{key},{heads[kind]},{stated},[]]\n")
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _stated(values: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    return {name: value for name, value in values if value is not None}


def _members_array(parts: Sequence[Sequence[Member]]) -> pa.ListArray:
    """Return the members of each row as arrow: four flat arrays, three times as fast as a mapping per member."""
    flat = [member for members in parts for member in members]
    ends = list(itertools.accumulate((len(members) for members in parts), initial=0))
    names, offsets, sizes, digests = zip(*flat, strict=True) if flat else ((), (), (), ())
    columns = [
        pa.array(column, field.type)
        for column, field in zip((names, offsets, sizes, digests), MEMBERS.value_type, strict=True)
    ]
    struct = pa.StructArray.from_arrays(columns, fields=list(MEMBERS.value_type))
    return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), struct, type=MEMBERS)


def _members(column: pa.ChunkedArray) -> Iterator[tuple[Member, ...]]:
    """Yield the members of each row."""
    for chunk in column.chunks:
        struct, ends = chunk.flatten(), list(itertools.accumulate(chunk.value_lengths().to_pylist(), initial=0))
        flat = list(map(Member, *(struct.field(name).to_pylist() for name in Member._fields)))
        for start, end in itertools.pairwise(ends):
            yield tuple(flat[start:end])


def to_parquet(table: pa.Table) -> bytes:
    """Return a table as Parquet bytes, the same for the same table under one pyarrow version."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", row_group_size=max(1, table.num_rows))
    return sink.getvalue().to_pybytes()


def read_fields(
    parquet: pq.ParquetFile, fields: Iterable[str], under: str | None = None
) -> tuple[pa.ChunkedArray, pa.Table]:
    """Return the keys of an index, and those of the fields that it has; in the packed view they stand `under` a column.

    Base fields stand at the top of either.
    """
    schema = parquet.schema_arrow
    base = [name for name in fields if name in BASE]
    if under is None:
        own = [name for name in fields if name in schema.names and name not in BASE]
        table = parquet.read(columns=["key", *base, *own], use_threads=False)
        return table.column("key"), table.select([*base, *own])
    names = [field.name for field in schema.field(under).type] if under in schema.names else []
    own = [name for name in fields if name in names and name not in BASE]
    table = parquet.read(columns=["key", *base, *(f"{under}.{name}" for name in own)], use_threads=False)
    found = table.select(base)
    if own:
        struct = table.column(under).combine_chunks()
        struct = struct if isinstance(struct, pa.Array) else pa.concat_arrays(struct.chunks)
        for name in own:
            found = found.append_column(name, pc.struct_field(struct, name))
    return table.column("key"), found


def canonical_row(row: Row) -> bytes:
    """Return what identifies a row's content: key, status, reason, values, and the SHA-256 of each part."""
    return canonical(
        [row.key, row.status, row.reason, _stated(row.values.items()), [[part.name, part.sha256] for part in row.parts]]
    )


def digest(rows: Iterable[Row]) -> str:
    """Return a column shard's digest: SHA-256 over its canonical rows, one a line."""
    total = hashlib.sha256()
    for row in rows:
        total.update(canonical_row(row) + b"\n")
    return total.hexdigest()
