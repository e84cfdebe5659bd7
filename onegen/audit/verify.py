"""Check a dataset against its contract: every file its manifests name, every count, every key; with `full` every byte.

`onegen verify DATASET [--full]`. Each finding names the file, the rule it breaks, and the way out.
"""

import hashlib
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa

from onegen.errors import ConfigError
from onegen.sample import IMAGE, PACKED, Kind
from onegen.shards.canonical import sha256
from onegen.shards.column import count
from onegen.shards.dataset import Card, Dataset, file_of, folder, manifest_name
from onegen.shards.index import Row
from onegen.shards.index import digest as digest_of
from onegen.shards.key import sample_key
from onegen.shards.manifest import Manifest
from onegen.shards.plan import plan_name, read_plan
from onegen.shards.tar import Member


@dataclass(frozen=True)
class Finding:
    """A broken rule: the file, what is wrong with it, and the way out."""

    file: str
    what: str
    way_out: str

    def __str__(self) -> str:
        return f"{self.file}: {self.what}. {self.way_out}"


def verify(dataset: Dataset, full: bool = False) -> Iterator[Finding]:
    """Yield what is wrong with a dataset; nothing for a sound one. `full` reads and hashes every byte.

    Raises ConfigError where there is no dataset.
    """
    card = dataset.require_card()
    yield from _check_plan(dataset, card)
    keys: dict[int, list[str | None]] = {}
    columns = sorted(dataset.columns(), key=lambda column: (column != IMAGE, column))
    for column in columns:
        yield from _check_column(dataset, card, column, keys, full)
    if card.recipe.get("pack") is not None:
        yield from _check_column(dataset, card, PACKED, keys, full)
    if card.state == "complete" and card.digest != dataset.digest():
        yield Finding(
            "dataset.json",
            f"its digest must be that of the committed manifests, got {card.digest}",
            "Run `onegen build` again.",
        )


def _check_plan(dataset: Dataset, card: Card) -> Iterator[Finding]:
    items = 0
    for shard in range(card.plan.shards):
        try:
            items += len(read_plan(dataset.store, shard))
        except (OSError, pa.ArrowException) as error:
            yield Finding(
                plan_name(shard), f"plan must be readable: {error}", "The plan is pinned: build into a new OUT."
            )
            return
    if items != card.plan.items:
        yield Finding(
            "plan", f"must hold {card.plan.items} items, got {items}", "The plan is pinned: build into a new OUT."
        )


def _check_column(
    dataset: Dataset, card: Card, column: str, keys: dict[int, list[str | None]], full: bool
) -> Iterator[Finding]:
    for shard in range(card.plan.shards):
        name = manifest_name(column, shard)
        again = f"Delete {name} and run `onegen build`: only this shard is made again."
        try:
            manifest = dataset.manifest(column, shard)
        except ConfigError as error:
            yield Finding(name, str(error), again)
            continue
        if manifest is not None:
            yield from _check_shard(dataset, manifest, keys, again, full)
        elif card.state == "complete":
            yield Finding(name, "manifest must be there in a complete dataset", "Run `onegen build`.")


def _check_shard(
    dataset: Dataset, manifest: Manifest, keys: dict[int, list[str | None]], again: str, full: bool
) -> Iterator[Finding]:
    sound = True
    for name, record in manifest.files.items():
        path = f"{folder(manifest.column)}/{name}"
        problem = _file_problem(dataset, path, record.size, record.sha256 if full else None)
        if problem:
            sound = False
            yield Finding(path, problem, again)
    if not sound:
        return
    index = f"{folder(manifest.column)}/{file_of(manifest, '.parquet')}"
    try:
        rows = dataset.rows(manifest)
    except (OSError, KeyError, pa.ArrowException) as error:
        yield Finding(index, f"index must be readable: {error}", again)
        return
    for problem in _row_problems(dataset, manifest, rows, keys):
        yield Finding(index, problem, again)
    members = {member for row in rows for member in row.parts}
    if members or manifest.column == PACKED:
        tar = f"{folder(manifest.column)}/{file_of(manifest, '.tar')}"
        for problem in _tar_problems(dataset, tar, manifest, rows, full):
            yield Finding(tar, problem, again)


def _file_problem(dataset: Dataset, path: str, size: int, expected: str | None) -> str | None:
    try:
        found = dataset.store.size(path)
    except FileNotFoundError:
        return "file must be there, its manifest names it"
    if found != size:
        return f"file must have {size} bytes, got {found}"
    if expected is not None:
        with dataset.store.open(path) as file:
            digest = hashlib.sha256()
            while chunk := file.read(1 << 20):
                digest.update(chunk)
        if digest.hexdigest() != expected:
            return f"file must have SHA-256 {expected}, got {digest.hexdigest()}"
    return None


def _row_problems(
    dataset: Dataset, manifest: Manifest, rows: list[Row], keys: dict[int, list[str | None]]
) -> Iterator[str]:
    planned = len(read_plan(dataset.store, manifest.shard))
    if [row.position for row in rows] != list(range(planned)):
        yield f"index must have one row for each of {planned} planned items, got {len(rows)}"
    if count(rows) != manifest.counts:
        yield f"rows by status must be as the manifest says, {_brief(manifest)}, got {count(rows).model_dump()}"
    if digest_of(rows) != manifest.digest:
        yield f"rows must have digest {manifest.digest}, got {digest_of(rows)}"
    if manifest.column == IMAGE:
        keys[manifest.shard] = [row.key for row in rows]
        for row in rows:
            if row.key is not None and row.key != _key_of(row, manifest.kind):
                yield f"keys must follow from members and words, got {row.key} at position {row.position}"
    known = keys.get(manifest.shard)
    if known is not None and len(known) == len(rows):
        foreign = [row for row in rows if row.key != known[row.position]]
        if foreign:
            row = foreign[0]
            expected = known[row.position]
            yield f"keys must be those of the image column, got {row.key} at position {row.position}, not {expected}"


def _key_of(row: Row, kind: Kind) -> str:
    said = row.values
    return sample_key(kind, said["members"] or [""], said.get("instruction"), said.get("subject"))


def _tar_problems(dataset: Dataset, tar: str, manifest: Manifest, rows: list[Row], full: bool) -> Iterator[str]:
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
                found = {info.name: (info.offset_data, info.size) for info in archive}
        except tarfile.TarError as error:
            yield f"tar must be readable: {error}"
            return
        if found != {name: (member.offset, member.size) for name, member in expected.items()}:
            odd = sorted(set(found) ^ set(expected)) or sorted(expected)
            yield f"tar members must be those of the index, got a difference at {odd[0]}"
        for name, member in expected.items():
            file.seek(member.offset)
            if sha256(file.read(member.size)) != member.sha256:
                yield f"part {name} must have SHA-256 {member.sha256}"


def _brief(manifest: Manifest) -> str:
    return str(manifest.counts.model_dump())
