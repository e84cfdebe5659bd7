"""Check a dataset against its contract: every file its manifests name, every count, every key; with `full` every byte.

`onegen verify DATASET [--full]`. Each finding names the file, the rule it breaks, and the way out. Where a file cannot
be read, what would follow from it is not found a second time.
"""

import hashlib
import io
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import cast

import pyarrow as pa

from onegen.errors import ConfigError
from onegen.sample import IMAGE, PACKED, Kind
from onegen.shards.canonical import sha256
from onegen.shards.column import count
from onegen.shards.dataset import CARD, Card, Dataset, folder, manifest_name
from onegen.shards.index import Row
from onegen.shards.index import digest as digest_of
from onegen.shards.key import sample_key
from onegen.shards.manifest import FileRecord, Manifest
from onegen.shards.plan import plan_name, read_plan
from onegen.shards.tar import Member

PINNED = "The plan is pinned: build into a new OUT."


@dataclass(frozen=True)
class Finding:
    """A broken rule: the file, what is wrong with it, and the way out."""

    file: str
    what: str
    way_out: str

    def __str__(self) -> str:
        return f"{self.file}: {self.what}. {self.way_out}"


@dataclass
class _Known:
    """What the files checked so far say of those to come.

    Number of planned items and keys of the image column, both by shard, and whether all manifests of columns are there
    and readable. A shard whose plan or image index is damaged has no entry.
    """

    planned: dict[int, int] = field(default_factory=dict)
    keys: dict[int, list[str | None]] = field(default_factory=dict)
    is_whole: bool = True


def verify(dataset: Dataset, full: bool = False) -> Iterator[Finding]:
    """Yield what is wrong with a dataset; nothing for a sound one. `full` reads and hashes every byte.

    Raises ConfigError where there is no dataset.
    """
    card = dataset.require_card()
    known = _Known()
    yield from _check_plan(dataset, card, known)
    columns = sorted(dataset.columns(), key=lambda column: (column != IMAGE, column))
    for column in columns if card.recipe.get("pack") is None else [*columns, PACKED]:
        yield from _check_column(dataset, card, column, known, full)
    if card.state == "complete" and known.is_whole and card.digest != dataset.digest(card.columns):
        yield Finding(
            CARD, f"its digest must be that of the committed manifests, got {card.digest}", "Run `onegen build` again."
        )


def _check_plan(dataset: Dataset, card: Card, known: _Known) -> Iterator[Finding]:
    for shard in range(card.plan.shards):
        try:
            known.planned[shard] = len(read_plan(dataset.store, shard))
        except (OSError, KeyError, pa.ArrowException) as error:
            yield Finding(plan_name(shard), f"plan must be readable: {error}", PINNED)
    items = sum(known.planned.values())
    if len(known.planned) == card.plan.shards and items != card.plan.items:
        yield Finding("plan", f"must hold {card.plan.items} items, got {items}", PINNED)


def _check_column(dataset: Dataset, card: Card, column: str, known: _Known, full: bool) -> Iterator[Finding]:
    for shard in range(card.plan.shards):
        name = manifest_name(column, shard)
        way_out = f"Delete {name} and run `onegen build`: only this shard is made again."
        try:
            manifest = dataset.manifest(column, shard)
        except ConfigError as error:
            known.is_whole &= column == PACKED
            yield Finding(name, str(error), way_out)
            continue
        if manifest is not None:
            for file, what in _shard_problems(dataset, manifest, known, full):
                yield Finding(file, what, way_out)
        elif card.state == "complete":
            known.is_whole &= column == PACKED
            yield Finding(name, "manifest must be there in a complete dataset", "Run `onegen build`.")


def _shard_problems(dataset: Dataset, manifest: Manifest, known: _Known, full: bool) -> Iterator[tuple[str, str]]:
    """Yield each file of a shard that is wrong, with what is; what is read from a damaged file is not looked at."""
    where = folder(manifest.column)
    is_damaged = False
    for name, record in manifest.files.items():
        problem = _file_problem(dataset, f"{where}/{name}", record, full)
        if problem is not None:
            is_damaged = True
            yield f"{where}/{name}", problem
    if is_damaged:
        return
    index, tar = _named(manifest, ".parquet"), _named(manifest, ".tar")
    if index is None:
        yield manifest_name(manifest.column, manifest.shard), "manifest must name an index (.parquet), and names none"
        return
    try:
        rows = dataset.rows(manifest)
    except (OSError, KeyError, pa.ArrowException) as error:
        yield index, f"index must be readable: {error}"
        return
    for problem in _row_problems(manifest, rows, known):
        yield index, problem
    if tar is not None:
        for problem in _tar_problems(dataset, tar, rows, full):
            yield tar, problem
    elif manifest.column == PACKED or any(row.parts for row in rows):
        yield manifest_name(manifest.column, manifest.shard), "manifest must name the tar of its parts, and names none"


def _named(manifest: Manifest, extension: str) -> str | None:
    """Return the path of the file with this extension that a manifest names; None where it names none."""
    names = [name for name in manifest.files if name.endswith(extension)]
    return f"{folder(manifest.column)}/{names[0]}" if names else None


def _file_problem(dataset: Dataset, path: str, record: FileRecord, full: bool) -> str | None:
    try:
        size = dataset.store.size(path)
    except FileNotFoundError:
        return "file must be there, its manifest names it"
    if size != record.size:
        return f"file must have {record.size} bytes, got {size}"
    if full:
        with dataset.store.open(path) as file:
            digest = hashlib.file_digest(cast(io.BufferedReader, file), "sha256").hexdigest()
        if digest != record.sha256:
            return f"file must have SHA-256 {record.sha256}, got {digest}"
    return None


def _row_problems(manifest: Manifest, rows: list[Row], known: _Known) -> Iterator[str]:
    planned = known.planned.get(manifest.shard, len(rows))
    if [row.position for row in rows] != list(range(planned)):
        yield f"index must have one row for each of {planned} planned items in their order, got {len(rows)} rows"
        return
    if count(rows) != manifest.counts:
        yield (
            f"rows by status must be as the manifest says, {manifest.counts.model_dump()}, "
            f"got {count(rows).model_dump()}"
        )
    if digest_of(rows) != manifest.digest:
        yield f"rows must have digest {manifest.digest}, got {digest_of(rows)}"
    if manifest.column == IMAGE:
        known.keys[manifest.shard] = [row.key for row in rows]
        for row in rows:
            if row.key is not None and row.key != _key_of(row, manifest.kind):
                yield f"keys must follow from members and words, got {row.key} at position {row.position}"
        return
    for row, key in zip(rows, known.keys.get(manifest.shard, ()), strict=False):
        if row.key != key:
            yield f"keys must be those of the image column, got {row.key} at position {row.position}, not {key}"
            return


def _key_of(row: Row, kind: Kind) -> str:
    values = row.values
    return sample_key(kind, values["members"] or [""], values.get("instruction"), values.get("subject"))


def _tar_problems(dataset: Dataset, tar: str, rows: list[Row], full: bool) -> Iterator[str]:
    size = dataset.store.size(tar)
    expected: dict[str, Member] = {f"{row.key}.{member.name}": member for row in rows for member in row.parts}
    beyond = [name for name, member in expected.items() if member.offset + member.size > size]
    if beyond:
        yield f"tar must reach to the end of {beyond[0]}, got {size} bytes"
        return
    if not full:
        return
    with dataset.store.open(tar) as file:
        try:
            with tarfile.open(fileobj=file, mode="r:") as archive:
                members = {info.name: (info.offset_data, info.size) for info in archive}
        except tarfile.TarError as error:
            yield f"tar must be readable: {error}"
            return
        if members != {name: (member.offset, member.size) for name, member in expected.items()}:
            odd = sorted(set(members) ^ set(expected)) or sorted(expected)
            yield f"tar members must be those of the index, got a difference at {odd[0]}"
        for name, member in expected.items():
            file.seek(member.offset)
            if sha256(file.read(member.size)) != member.sha256:
                yield f"part {name} must have SHA-256 {member.sha256}"
