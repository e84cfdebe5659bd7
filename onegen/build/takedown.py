"""Take samples down: `onegen takedown`. The list grows by what is new, and what it matches is told.

No lease is needed: a list file is named by what it says, and nothing else is written. What stands under a name that
may change is recorded under one that does not, too: a file's picture by its digest, a set by its item.
"""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from onegen.audit.readable import readable
from onegen.errors import ConfigError
from onegen.sample import IMAGE, PACKED, Kind
from onegen.shards.dataset import Dataset, folder, is_own_file
from onegen.shards.index import read_fields
from onegen.shards.key import DIGITS
from onegen.shards.plan import plan_name, plan_shards
from onegen.shards.takedowns import (
    BYS,
    ENTRIES,
    MATCHED,
    By,
    Entry,
    Takedowns,
    append_takedowns,
    check_entry,
    is_key,
    read_takedowns,
)
from onegen.shards.views import OTHERS, SETS
from onegen.storage.local import LocalStore
from onegen.storage.parquet_sql import parquet_rows
from onegen.storage.spill import Spill

_THREADS = 2
_SINGLE: Mapping[By, tuple[str, ...]] = {"key": (), "digest": ("sha256",), "uri": ("item", "uri"), "subject": ()}
_SEVERAL: Mapping[By, tuple[str, ...]] = {
    "key": ("members",),
    "digest": ("members",),
    "uri": ("item", "uri", OTHERS),
    "subject": ("subject",),
}
"""Fields of the image column that an entry is looked for in, beside the key: of samples of one image, and of others."""


@dataclass(frozen=True)
class TakenDown:
    """What a command did: entries that are new and that were there, those that match nothing yet, and rows matched."""

    added: int
    known: int
    unknown: tuple[Entry, ...]
    rows: int


def take_down(dataset: Dataset, entries: Sequence[Entry]) -> TakenDown:
    """Append entries to a dataset's list, and say which of them match nothing that is stored or planned.

    These are recorded all the same: they hold for what is ingested later. Only the fields that entries are matched
    with are read. Raises ConfigError for a list or an index that does not read.
    """
    before, card = read_takedowns(dataset.store), dataset.card()
    asked = Takedowns.of(entries)
    matched: set[Entry] = set()
    resolved: set[Entry] = set()
    rows = 0
    kind = card.kind if card is not None else "image"
    for row in _matching(dataset, asked, kind):
        rows += 1
        found = set(_matches(row, asked))
        matched |= found
        resolved |= set(_resolved(row, found, kind))
    uris = {value for by, value in asked.entries if by == "uri"} if card is not None else set()
    for item, uri in _planned(dataset, uris):
        matched.add(("uri", uri))
        if kind not in SETS:
            # A pair goes with any of its files, and its index names but the first.
            resolved.add(("uri", item))
    new = [entry for entry in {*asked.entries, *resolved} if entry not in before]
    append_takedowns(dataset.store, new)
    return TakenDown(
        sum(entry not in before for entry in asked.entries),
        sum(entry in before for entry in asked.entries),
        tuple(entry for entry in asked.entries if entry not in matched),
        rows,
    )


def read_list(text: str, name: str) -> list[Entry]:
    """Return the entries of a text with one a line, `key K`, `digest D`, `uri U` or `subject S`; a bare key is one too.

    Blank lines, and lines that begin with #, are passed over. Raises ConfigError naming the first line that is none.
    """
    entries: list[Entry] = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        word, _, value = line.strip().partition(" ")
        by = next((known for known in BYS if known == word.rstrip(":")), None)
        if is_key(line.strip()):
            # What `onegen browse` saves, and other lists of keys.
            by, value = "key", line
        if by is None:
            raise ConfigError(
                f"{name} must hold lines such as `key 3f9a...`, by {', '.join(BYS)}, got {line!r} in line {number}. "
                f"Nothing was taken down."
            )
        try:
            entries.append(check_entry(by, value))
        except ConfigError as error:
            raise ConfigError(f"{name}, line {number}: {error} Nothing was taken down.") from error
    return entries


def _matching(dataset: Dataset, asked: Takedowns, kind: Kind) -> Iterator[dict[str, Any]]:
    """Yield the stored rows that entries match, with all that they are matched with."""
    where = folder(IMAGE) if dataset.store.names(folder(IMAGE)) else PACKED
    column = IMAGE if where != PACKED else PACKED
    files = [n for n in dataset.store.names(where) if n.endswith(".parquet") and is_own_file(column, n)]
    looked_in = _SINGLE if kind == "image" else _SEVERAL
    fields = [name for by in BYS if asked.values[by] for name in looked_in[by]]
    is_resolved = kind in SETS or bool(asked.values["uri"])
    look = partial(_matching_file, dataset, asked, tuple(dict.fromkeys(fields)), is_resolved, column == PACKED)
    names: Sequence[str] = [f"{where}/{name}" for name in files]
    if kind == "image" and column != PACKED and isinstance(dataset.store, LocalStore):
        found = _found_in_folder(dataset.store, asked, names)
        if found is not None and not is_resolved:
            yield from found
            return
        names = names if found is None else sorted({row["name"] for row in found})
    # Most of the time goes into opening files, not into what Python does.
    with ThreadPoolExecutor(_THREADS) as threads:
        for rows in threads.map(look, names):
            yield from rows


def _found_in_folder(store: LocalStore, asked: Takedowns, names: Sequence[str]) -> list[dict[str, Any]] | None:
    """Return the rows of indexes of single images in a folder that match, with the `name` of their index.

    duckdb opens a file in a quarter of the time that pyarrow needs. None where it cannot read one: who reads them one
    by one says which.
    """
    looked_in = [(field, by) for by in BYS if asked.values[by] for field in ("key",) * (by == "key") + _SINGLE[by]]
    if not looked_in or not names:
        return []
    wanted = pa.RecordBatch.from_pylist([{"by": by, "value": value} for by, value in asked.entries], schema=ENTRIES)
    by_path = {os.path.join(store.root, name): name for name in names}
    matches = " OR ".join(f"""{field} IN (SELECT value FROM wanted WHERE "by" = '{by}')""" for field, by in looked_in)
    fields = ", ".join(dict.fromkeys(["key", *(field for field, _ in looked_in)]))
    source = parquet_rows(by_path, by_name=len(looked_in) > 1, filename=True)
    try:
        with Spill() as spill:
            spill.store("wanted", ENTRIES, [wanted])
            batches = spill.query(f"SELECT {fields}, filename AS name FROM {source} WHERE {matches}")
            rows = [row for batch in batches for row in batch.to_pylist()]
    except duckdb.Error:
        return None
    return [{**row, "name": by_path[row["name"]]} for row in rows]


def _matching_file(
    dataset: Dataset, asked: Takedowns, fields: Sequence[str], is_resolved: bool, is_packed: bool, name: str
) -> list[dict[str, Any]]:
    with readable(f"{dataset.store.url}/{name}"), dataset.store.open(name) as file:
        parquet = pq.ParquetFile(file)
        keys, table = read_fields(parquet, fields, IMAGE if is_packed else None)
        found = np.flatnonzero(asked.rows(keys, table))
        if not len(found):
            return []
        if is_resolved:
            keys, table = read_fields(parquet, MATCHED, IMAGE if is_packed else None)
    rows = pa.table({"key": keys, **{field: table.column(field) for field in table.column_names}})
    return list(rows.take(found).to_pylist())


def _images(row: Mapping[str, Any]) -> Iterator[tuple[str | None, str | None]]:
    """Yield digest and file of each image of a row, as far as they are known."""
    members = row.get("members") or ([row["sha256"]] if row.get("sha256") else [])
    uris = [row.get("uri"), *((other or {}).get("uri") for other in row.get(OTHERS) or ())]
    for index in range(max(len(members), len(uris))):
        yield (members[index] if index < len(members) else None), (uris[index] if index < len(uris) else None)


def _matches(row: Mapping[str, Any], asked: Takedowns) -> Iterator[Entry]:
    """Yield the entries that match a row."""
    said: list[tuple[By, Any]] = [("key", row["key"]), ("uri", row.get("item")), ("subject", row.get("subject"))]
    for digest, uri in _images(row):
        said += [("digest", digest), ("key", digest and digest[:DIGITS]), ("uri", uri)]
    yield from (entry for entry in said if entry in asked)


def _resolved(row: Mapping[str, Any], matched: Iterable[Entry], kind: Kind) -> Iterator[Entry]:
    """Yield what else is to be recorded of a row, so that it stays down whatever name it gets."""
    for by, value in matched:
        if by == "uri":
            whole = value == row.get("item")
            yield from (("digest", digest) for digest, uri in _images(row) if digest and (whole or uri == value))
        if by == "key" and value == row["key"] and kind in SETS:
            # The key of a set is of the images it has by now; its item is for good.
            yield "uri", row["item"]


def _planned(dataset: Dataset, uris: set[str]) -> Iterator[tuple[str, str]]:
    """Yield (item, uri) of planned files that are asked for, which need not have been read yet."""
    if not uris:
        return
    wanted = pa.array(sorted(uris), pa.string())
    for shard in plan_shards(dataset.store):
        with readable(plan_name(shard)), dataset.store.open(plan_name(shard)) as file:
            table = pq.ParquetFile(file).read(columns=["item", "images"], use_threads=False).combine_chunks()
        if not table.num_rows:
            continue
        images = table.column("images").chunk(0)
        parents, files = pc.list_parent_indices(images), images.flatten().field("uri")
        found = pc.is_in(files, value_set=wanted)
        items = table.column("item").take(parents.filter(found))
        yield from zip(items.to_pylist(), files.filter(found).to_pylist(), strict=True)
        is_item = pc.is_in(table.column("item"), value_set=wanted)
        yield from ((item, item) for item in table.column("item").filter(is_item).to_pylist())
