"""What can be wrong with one committed shard of one column: its manifest, its files, its rows and its tar.

A manifest proves itself as far as it goes: place, fingerprint, input digest, seed rule and producer follow from what
else it says. The rest is proved by the files it names. What is read from a damaged file is not looked at.
"""

import hashlib
import io
import re
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import pyarrow.parquet as pq

from onegen.audit.readable import DAMAGE, brief
from onegen.sample import IMAGE, PACKED, STATUSES, Kind
from onegen.shards.canonical import sha256
from onegen.shards.column import count
from onegen.shards.dataset import Dataset, file_of, folder, manifest_name
from onegen.shards.index import Row
from onegen.shards.index import digest as digest_of
from onegen.shards.key import SEED_RULE
from onegen.shards.manifest import FileRecord, Manifest, fingerprint, inputs_digest
from onegen.shards.tar import Member
from onegen.shards.views import failed_reasons, key_of

Problem = tuple[str, str]
"""The path of a file, and what is wrong with it."""


@dataclass
class Shard:
    """What is known of a shard whose columns are checked, the image column first.

    `kind` is that of the dataset, `items` and `plan_digest` are those of the plan, `keys` those of the image column;
    each is None where the file that says so is damaged or absent.
    """

    number: int
    kind: Kind | None
    items: list[str] | None = None
    plan_digest: str | None = None
    keys: list[str | None] | None = None


def manifest_problems(manifest: Manifest, column: str, shard: Shard) -> Iterator[str]:
    """Yield what a manifest says that does not follow from its place and from what else it says."""
    if (manifest.column, manifest.shard) != (column, shard.number):
        yield f"manifest must be that of {column}, shard {shard.number}, got {manifest.column}, shard {manifest.shard}"
        return
    if shard.kind is not None and manifest.kind != shard.kind:
        yield f"kind must be that of the dataset, {shard.kind}, got {manifest.kind}"
    if manifest.fingerprint != fingerprint(manifest.settings):
        yield f"fingerprint must be the digest of the settings, {fingerprint(manifest.settings)}, got another"
    if manifest.input_digest != inputs_digest(manifest.inputs, manifest.where):
        yield f"input digest must be that of inputs and where, {inputs_digest(manifest.inputs, manifest.where)}"
    if manifest.seed_rule != SEED_RULE:
        yield f"seed rule must be {SEED_RULE!r}, got {manifest.seed_rule!r}"
    producer, settings = manifest.producer, manifest.settings
    if settings.get("version") != producer.version:
        yield f"producer must have the version of the settings, {settings.get('version')}, got {producer.version}"
    weights = [{name: weight.get(name) for name in ("name", "revision", "sha256")} for weight in producer.weights]
    if weights != settings.get("weights", []):
        yield f"producer must have the weights of the settings, {settings.get('weights', [])}, got {weights}"
    for name, record in manifest.files.items():
        if not _is_named_well(manifest, name, record):
            yield f"file names must be made of shard number and SHA-256, got {name!r} of {record.sha256}"


def _is_named_well(manifest: Manifest, name: str, record: FileRecord) -> bool:
    """Say whether a file has the name its shard and its bytes give it; the packed view's are plain."""
    number = f"{manifest.shard:06d}"
    if manifest.column == PACKED:
        return name in (f"{number}.tar", f"{number}.parquet")
    pattern = re.fullmatch(rf"{number}-([0-9a-f]{{8,64}})\.(tar|parquet)", name)
    return pattern is not None and record.sha256.startswith(pattern[1])


def shard_problems(dataset: Dataset, manifest: Manifest, shard: Shard, full: bool) -> Iterator[Problem]:
    """Yield each file of a shard that is wrong, with what is; `full` reads and hashes every byte.

    Fills in the keys of the shard when its image column is checked.
    """
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
        # Consumed here: rows of strange types break on the way to their digest.
        problems = [*_row_problems(manifest, rows, shard), *_label_problems(dataset, manifest)]
    except DAMAGE as error:
        yield index, f"index must be readable: {brief(error)}"
        return
    for problem in problems:
        yield index, problem
    for problem in _failure_problems(manifest, rows, shard):
        yield manifest_name(manifest.column, manifest.shard), problem
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
        if size != record.size:
            return f"file must have {record.size} bytes, got {size}"
        if full:
            with dataset.store.open(path) as file:
                digest = hashlib.file_digest(cast(io.BufferedReader, file), "sha256").hexdigest()
            if digest != record.sha256:
                return f"file must have SHA-256 {record.sha256}, got {digest}"
    except FileNotFoundError:
        return "file must be there, its manifest names it"
    except OSError as error:
        return f"file must be readable: {brief(error)}"
    return None


def _row_problems(manifest: Manifest, rows: Sequence[Row], shard: Shard) -> Iterator[str]:
    planned = len(rows) if shard.items is None else len(shard.items)
    if [row.position for row in rows] != list(range(planned)):
        yield f"index must have one row for each of {planned} planned items in their order, got {len(rows)} rows"
        return
    strange = [row.status for row in rows if row.status not in STATUSES]
    if strange:
        yield f"status must be one of {', '.join(STATUSES)}, got {strange[0]!r}"
        return
    if count(list(rows)) != manifest.counts:
        yield (
            f"rows by status must be as the manifest says, {manifest.counts.model_dump()}, "
            f"got {count(list(rows)).model_dump()}"
        )
    if digest_of(rows) != manifest.digest:
        yield f"rows must have digest {manifest.digest}, got {digest_of(rows)}"
    if manifest.column == IMAGE:
        shard.keys = [row.key for row in rows]
        yield from _image_problems(manifest, rows, shard)
        return
    for row, key in zip(rows, shard.keys or (), strict=False):
        if row.key != key:
            yield f"keys must be those of the image column, got {row.key} at position {row.position}, not {key}"
            return


def _image_problems(manifest: Manifest, rows: Sequence[Row], shard: Shard) -> Iterator[str]:
    """Yield rows of other items than the plan's, and keys that do not follow from what they name."""
    for row, item in zip(rows, shard.items or (), strict=False):
        if row.values["item"] != item:
            yield f"items must be those of the plan, got {row.values['item']} at position {row.position}, not {item}"
            break
    for row in rows:
        # A scene that is not stored has a key and no cameras.
        is_known = row.key is not None and (manifest.kind != "scene" or row.status == "ok")
        if is_known and row.key != key_of(row, manifest.kind):
            yield f"keys must follow from members and words, got {row.key} at position {row.position}"


def _label_problems(dataset: Dataset, manifest: Manifest) -> Iterator[str]:
    """Yield what the index says of itself in every row that is not what its manifest says; no digest covers it."""
    with dataset.store.open(f"{folder(manifest.column)}/{file_of(manifest, '.parquet')}") as file:
        table = pq.ParquetFile(file).read(columns=["shard", "kind", "producer"], use_threads=False)
    labels: dict[str, Any] = {
        "shard": manifest.shard,
        "kind": manifest.kind,
        "producer": manifest.producer.label(),
    }
    # An index of an older version may have no shard.
    for name in [name for name in labels if name in table.column_names]:
        label = labels[name]
        strange = set(table.column(name).to_pylist()) - {label}
        if strange:
            yield f"{name} must be that of the manifest, {label}, got {next(iter(strange))}"


def _failure_problems(manifest: Manifest, rows: Sequence[Row], shard: Shard) -> Iterator[str]:
    """Yield messages of failures that are not those of the rows."""
    failed = {row.position: row.reason for row in rows if row.status == "failed"}
    of_images = {row.position: failed_reasons(row) for row in rows if row.status != "failed"}
    for failure in manifest.run.failures:
        is_of_image = failure.reason in of_images.get(failure.position, ())
        if failed.get(failure.position) != failure.reason and not is_of_image:
            yield (
                f"failures must be those of the rows, got {failure.reason!r} at position {failure.position}, "
                f"not {failed.get(failure.position)!r}"
            )
            return
        if shard.items is not None and shard.items[failure.position] != failure.item:
            yield f"failures must name the items of the plan, got {failure.item!r} at position {failure.position}"
            return


def _tar_problems(dataset: Dataset, tar: str, rows: Sequence[Row], full: bool) -> Iterator[str]:
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
        except (tarfile.TarError, *DAMAGE) as error:
            yield f"tar must be readable: {brief(error)}"
            return
        if members != {name: (member.offset, member.size) for name, member in expected.items()}:
            odd = sorted(set(members) ^ set(expected)) or sorted(expected)
            yield f"tar members must be those of the index, got a difference at {odd[0]}"
        for name, member in expected.items():
            file.seek(member.offset)
            if sha256(file.read(member.size)) != member.sha256:
                yield f"part {name} must have SHA-256 {member.sha256}"
