"""Read and write one shard of one column: a tar of parts, if it has any, and its index, named by their content."""

import contextlib
import hashlib
import io
import threading
from collections.abc import Mapping
from types import TracebackType
from typing import Any, BinaryIO, cast

import pyarrow as pa
import pyarrow.compute as pc

from onegen.pixels.codec import decode_part
from onegen.sample import Annotation, Kind, Provides, Status
from onegen.shards.dataset import Dataset, file_of, folder
from onegen.shards.index import Row, table_digest, to_parquet, to_table
from onegen.shards.manifest import Counts, FileRecord, Manifest
from onegen.shards.tar import Member, TarWriter
from onegen.shards.views import split_name, values_of
from onegen.storage.store import Spool, Store


class ColumnReader:
    """A committed column shard: its manifest, its rows in position order, and the bytes of its parts."""

    def __init__(self, dataset: Dataset, manifest: Manifest) -> None:
        self._dataset = dataset
        self.manifest = manifest
        self.rows = dataset.rows(manifest)
        self._tar: BinaryIO | None = None
        self._reading = threading.Lock()

    def part(self, member: Member) -> bytes:
        """Return the bytes of a part, on any thread; raises OSError naming the file where it is cut short."""
        with self._reading:
            if self._tar is None:
                self._tar = self._dataset.store.open(f"{folder(self.manifest.column)}/{file_of(self.manifest, '.tar')}")
            self._tar.seek(member.offset)
            data = self._tar.read(member.size)
        if len(data) != member.size:
            raise OSError(
                f"{folder(self.manifest.column)}/{file_of(self.manifest, '.tar')} must hold {member.size} bytes at "
                f"{member.offset}, got {len(data)}. Run `onegen verify` to see what else is damaged."
            )
        return data

    def parts(self, row: Row) -> dict[str, bytes]:
        """Return all parts of a row by name."""
        return {member.name: self.part(member) for member in row.parts}

    def annotation(self, row: Row, index: int, provides: Provides) -> Annotation:
        """Return what a row says of one image of its sample, parts decoded to arrays."""
        encodings = {part.name: part.encoding for part in provides.parts}
        named = ((member, *split_name(member.name)) for member in row.parts)
        parts = {
            name: decode_part(self.part(member), encodings.get(name, "bytes"))
            for member, owner, name in named
            if owner == index
        }
        return Annotation(values_of(row, index), parts)

    def close(self) -> None:
        """Close the tar."""
        if self._tar is not None:
            self._tar.close()


class ColumnWriter:
    """Write a column shard row by row, in position order; `finish` names the files, and nothing is visible before.

    Use as a context manager: temporary files are gone afterwards, whatever happened.
    """

    def __init__(
        self, store: Store, column: str, shard: int, fields: Mapping[str, pa.DataType], kind: Kind, producer: str
    ) -> None:
        self._store, self._column, self._shard = store, column, shard
        self._fields, self._kind, self._producer = fields, kind, producer
        self._rows: list[Row] = []
        self._written: dict[str, list[Member]] = {}
        self._stack = contextlib.ExitStack()
        self._spool: Spool | None = None
        self._tar: TarWriter | None = None

    def __enter__(self) -> "ColumnWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def add(
        self,
        position: int,
        key: str | None,
        status: Status,
        reason: str | None,
        input_digest: str,
        values: Mapping[str, Any],
        parts: Mapping[str, bytes],
        known: Mapping[str, str] | None = None,
    ) -> None:
        """Add the next row.

        `known` holds, by name, the SHA-256 of the bytes of those parts of which it is known already, such as those
        copied from a committed shard; the others are hashed. Raises ValueError for a row out of order, for parts
        without a key, and for names that a tar may not hold.
        """
        if position != len(self._rows):
            raise ValueError(f"rows must come in position order, got {position} after {len(self._rows) - 1}.")
        members: list[Member] = []
        if parts:
            if key is None:
                raise ValueError(f"a row with parts must have a key, got none at position {position}.")
            # The same bytes twice in a shard: the members are written once and both rows point at them.
            members = self._written.get(key) or self.open().add(key, parts, known)
            self._written[key] = members
        self._rows.append(Row(position, key, status, reason, tuple(members), input_digest, dict(values)))

    def flush(self) -> str | None:
        """Hand the parts added so far to the operating system; return the path of the half-written tar, if any."""
        if self._tar is None or self._spool is None:
            return None
        self._tar.flush()
        return self._spool.path

    def row(self, position: int) -> Row:
        """Return a row that was added."""
        return self._rows[position]

    def finish(self) -> tuple[dict[str, FileRecord], Counts, str]:
        """Write the files under content names; return them with the rows by status and the column shard's digest."""
        files: dict[str, FileRecord] = {}
        if self._tar is not None and self._spool is not None:
            sha256 = self._tar.close()
            name = publish(self._store, self._spool, folder(self._column), self._shard, ".tar", sha256)
            files[name] = FileRecord(size=self._tar.size, sha256=sha256)
        table = to_table(self._rows, self._fields, self._kind, self._producer, self._shard)
        index, counts, digest = write_index(self._store, self._column, self._shard, table)
        return {**files, **index}, counts, digest

    def open(self) -> TarWriter:
        """Start the tar, if it is not started; the first row with parts does it too."""
        if self._tar is None:
            label = f"{folder(self._column)}/{self._shard:06d}.tar"
            self._spool = self._stack.enter_context(self._store.spool(label))
            self._tar = TarWriter(self._spool.file)
        return self._tar


def write_index(store: Store, column: str, shard: int, table: pa.Table) -> tuple[dict[str, FileRecord], Counts, str]:
    """Write the index of a column shard under a content name; return what `ColumnWriter.finish` returns.

    The digest is that of the arrow table: it says what a reader of the index will see.
    """
    data = to_parquet(table)
    sha256 = hashlib.sha256(data).hexdigest()
    with store.spool(f"{folder(column)}/{shard:06d}.parquet") as spool:
        spool.file.write(data)
        name = publish(store, spool, folder(column), shard, ".parquet", sha256)
    found = {said["values"]: said["counts"] for said in pc.value_counts(table.column("status")).to_pylist()}
    counts = Counts(rows=table.num_rows, **found)
    return {name: FileRecord(size=len(data), sha256=sha256)}, counts, table_digest(table)


def count(rows: list[Row]) -> Counts:
    """Return rows by status."""
    totals = {"ok": 0, "skipped": 0, "filtered": 0, "failed": 0}
    for row in rows:
        totals[row.status] += 1
    return Counts(rows=len(rows), **totals)


def publish(store: Store, spool: Spool, where: str, shard: int, extension: str, sha256: str) -> str:
    """Give a spooled file the name `SHARD-HASH.EXTENSION` in a folder and return it.

    A file of that name is kept if it has the same bytes, since a committed manifest may name it; otherwise (a damaged
    file, or two contents with the same eight digits) the name takes more digits.
    """
    for digits in (8, 16, 64):
        name = f"{shard:06d}-{sha256[:digits]}{extension}"
        if not store.exists(f"{where}/{name}"):
            store.publish(spool, f"{where}/{name}")
            return name
        if _sha256(store, f"{where}/{name}") == sha256:
            return name
    raise OSError(f"{where}/{name} must hold the bytes its name says, and is damaged. Delete it and run again.")


def _sha256(store: Store, name: str) -> str:
    with store.open(name) as file:
        return hashlib.file_digest(cast(io.BufferedReader, file), "sha256").hexdigest()
