"""Read any sample of a dataset by (shard, position): only the columns and the images that are asked for.

A local part is one positioned read, a part elsewhere one ranged request; the last shards looked at keep their index
rows in memory and their files open. Nothing is mapped into memory: a file that another process cuts short would end
this one (SIGBUS) instead of failing a sample.
"""

import os
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Generic, Protocol, TypeVar

from onegen.errors import SampleError
from onegen.loader.shard_table import ShardTable
from onegen.loader.stored import Stored
from onegen.sample import IMAGE, PACKED, Kind
from onegen.shards.canonical import sha256
from onegen.shards.dataset import Dataset, file_of, folder
from onegen.shards.views import OTHERS, PICTURES, split_name
from onegen.storage.local import LocalStore
from onegen.storage.store import Store

OPEN_TABLES, OPEN_FILES = 512, 256
"""Indexes of (column, shard) kept in memory, 100 to 200 KB each, and files kept open."""
IMAGE_FIELDS = ("width", "height", "caption", "subject", "instruction", "camera", OTHERS)
"""What examples ask of the image column."""
_PACKED_FIELDS = tuple(f"{IMAGE}.{name}" for name in IMAGE_FIELDS)
_split = cache(split_name)
K = TypeVar("K")
V = TypeVar("V")


class Recent(Generic[K, V]):
    """The last `limit` values made, by key; `dispose` is given those that go."""

    def __init__(self, limit: int, dispose: Callable[[V], None] = lambda value: None) -> None:
        self._limit, self._dispose = limit, dispose
        self._values: OrderedDict[K, V] = OrderedDict()

    def get(self, key: K, make: Callable[[], V]) -> V:
        """Return the value of a key, made now if it is not there."""
        if key in self._values:
            self._values.move_to_end(key)
            return self._values[key]
        value = make()
        self._values[key] = value
        if len(self._values) > self._limit:
            self._dispose(self._values.popitem(last=False)[1])
        return value

    def clear(self) -> None:
        """Dispose of all."""
        while self._values:
            self._dispose(self._values.popitem()[1])


class PartReader(Protocol):
    """The bytes of the parts of a dataset, by file."""

    def read(self, name: str, offset: int, size: int) -> bytes:
        """Return the bytes of a part; fewer where the file is cut short. Raises OSError."""
        ...

    def close(self) -> None:
        """Close what is open."""
        ...


class _LocalParts:
    """Parts of local files: one positioned read each."""

    def __init__(self, store: LocalStore) -> None:
        self._root = store.root
        self._files: Recent[str, int] = Recent(OPEN_FILES, os.close)

    def read(self, name: str, offset: int, size: int) -> bytes:
        """Return the bytes of a part."""
        file = self._files.get(name, lambda: os.open(f"{self._root}/{name}", os.O_RDONLY))
        return os.pread(file, size, offset)

    def close(self) -> None:
        """Close the files."""
        self._files.clear()


class _RangedParts:
    """Parts of files elsewhere: one ranged request each, and no file open."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def read(self, name: str, offset: int, size: int) -> bytes:
        """Return the bytes of a part."""
        return self._store.read_range(name, offset, offset + size)

    def close(self) -> None:
        """Do nothing."""


class Reader:
    """The samples of one dataset, from its columns or from its packed view.

    `check_parts` compares the SHA-256 of every part that is read with the index's.
    """

    def __init__(self, store: Store, name: str, is_packed: bool, check_parts: bool = False) -> None:
        self._dataset, self.name = Dataset(store), name
        self._is_packed, self._check_parts = is_packed, check_parts
        self._parts: PartReader = _LocalParts(store) if isinstance(store, LocalStore) else _RangedParts(store)
        self._tables: Recent[tuple[str, int, tuple[str, ...]], _Opened | None] = Recent(OPEN_TABLES)

    def close(self) -> None:
        """Close the files."""
        self._parts.close()

    def key(self, shard: int, position: int) -> str | None:
        """Return the key of a sample."""
        fields = None if self._is_packed else IMAGE_FIELDS
        opened = self._table(PACKED if self._is_packed else IMAGE, shard, () if fields is None else fields)
        return opened.table.key(position) if opened else None

    def read(
        self, shard: int, position: int, columns: Iterable[str], parts: Iterable[str] = (), images: Sequence[int] = (0,)
    ) -> Stored:
        """Return one sample with what `columns` say of it, its `images`, and of each the named `parts`.

        Raises SampleError `unreadable_shard`, `cut_short` or `wrong_hash` where the bytes are not what was committed.
        """
        try:
            read = self._read_packed if self._is_packed else self._read_columns
            return read(shard, position, tuple(columns), frozenset(parts), frozenset(images))
        except OSError as error:
            raise SampleError("unreadable_shard", f"shard {shard:06d} must be readable: {error}.") from error

    def _read_columns(
        self, shard: int, position: int, columns: tuple[str, ...], parts: frozenset[str], images: frozenset[int]
    ) -> Stored:
        values: dict[str, dict[str, Any]] = {}
        data: dict[tuple[int, str], bytes] = {}
        image = self._opened(IMAGE, shard, IMAGE_FIELDS)
        for column in dict.fromkeys((IMAGE, *columns)):
            opened = image if column == IMAGE else self._table(column, shard, None)
            if opened is not None:
                values[column] = opened.table.values(position)
                data |= self._wanted(opened, position, parts, images)
        return Stored(self.name, str(image.table.key(position)), image.kind, values, data)

    def _read_packed(
        self, shard: int, position: int, columns: tuple[str, ...], parts: frozenset[str], images: frozenset[int]
    ) -> Stored:
        opened = self._opened(PACKED, shard, (*_PACKED_FIELDS, *columns))
        values = {column: value or {} for column, value in opened.table.values(position).items()}
        data = self._wanted(opened, position, parts, images)
        return Stored(self.name, str(opened.table.key(position)), opened.kind, values, data)

    def _wanted(
        self, opened: "_Opened", position: int, parts: frozenset[str], images: frozenset[int]
    ) -> dict[tuple[int, str], bytes]:
        """Return the parts of a row that are asked for."""
        found = {}
        for name, offset, size, number in opened.table.members(position):
            image, own = _split(name)
            if image not in images or not (own in PICTURES or own in parts):
                continue
            data = self._parts.read(opened.tar, offset, size)
            if len(data) != size:
                raise SampleError("cut_short", f"{opened.tar} must hold {size:,} bytes at {offset:,}, got less.")
            if self._check_parts and sha256(data) != opened.table.digest(number):
                raise SampleError("wrong_hash", f"{opened.tar}: part {name} must have the SHA-256 of its index.")
            found[image, own] = data
        return found

    def _opened(self, column: str, shard: int, fields: Sequence[str]) -> "_Opened":
        """Return what a sample cannot do without; raises SampleError `unreadable_shard`."""
        opened = self._table(column, shard, fields)
        if opened is None:
            raise SampleError("unreadable_shard", f"shard {shard:06d} of {column!r} must be there, and is gone.")
        return opened

    def _table(self, column: str, shard: int, fields: Sequence[str] | None) -> "_Opened | None":
        key = (column, shard, tuple(fields or ()))
        return self._tables.get(key, lambda: self._open(column, shard, fields))

    def _open(self, column: str, shard: int, fields: Sequence[str] | None) -> "_Opened | None":
        manifest = self._dataset.manifest(column, shard)
        if manifest is None:
            return None
        table = ShardTable(self._dataset, manifest, fields)
        has_tar = any(name.endswith(".tar") for name in manifest.files)
        return _Opened(table, f"{folder(column)}/{file_of(manifest, '.tar')}" if has_tar else "", manifest.kind)


@dataclass(frozen=True, slots=True)
class _Opened:
    """A shard of a column: its rows, the name of its tar, and what its samples are."""

    table: ShardTable
    tar: str
    kind: Kind
