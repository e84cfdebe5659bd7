"""The index of one committed shard, as a reader asks it: one row at a time, and only the fields that are needed."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from onegen.errors import ConfigError
from onegen.shards.canonical import sha256
from onegen.shards.dataset import Dataset, file_of, folder, manifest_name
from onegen.shards.index import BASE
from onegen.shards.manifest import Manifest
from onegen.shards.tar import Member

BASE_FIELDS = ("key", "status", "parts")


class ShardTable:
    """The chosen fields of a shard's index (None: all of its own), as arrow: a thousand rows take about 200 KB."""

    def __init__(self, dataset: Dataset, manifest: Manifest, fields: Sequence[str] | None) -> None:
        name = f"{folder(manifest.column)}/{file_of(manifest, '.parquet')}"
        try:
            data = dataset.store.read(name)
        except OSError as error:
            raise ConfigError(_damaged(dataset, manifest, name, f"cannot be read ({error})")) from error
        if sha256(data) != manifest.files[file_of(manifest, ".parquet")].sha256:
            raise ConfigError(_damaged(dataset, manifest, name, "has another SHA-256 than its manifest says"))
        parquet = pq.ParquetFile(pa.BufferReader(data))
        known = set(parquet.schema_arrow.names)
        own = known - set(BASE) if fields is None else known & set(fields)
        self.table = parquet.read(columns=[*BASE_FIELDS, *sorted(own)], use_threads=False).combine_chunks()
        self.fields = [field for field in self.table.column_names if field not in BASE_FIELDS]
        self._parts = _Parts(self.table.column("parts"))

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def key(self, position: int) -> str | None:
        """Return the key of a row."""
        key: str | None = self.table.column("key")[position].as_py()
        return key

    def is_ok(self) -> pa.ChunkedArray:
        """Return a boolean for each row."""
        return pc.equal(self.table.column("status"), "ok")

    def values(self, position: int) -> dict[str, Any]:
        """Return the chosen fields of a row."""
        return {name: self.table.column(name)[position].as_py() for name in self.fields}

    def members(self, position: int) -> Iterator[Member]:
        """Yield the parts of a row."""
        return self._parts.of(position)

    def part_names(self) -> list[set[str]]:
        """Return the names of the parts of every row."""
        return self._parts.names()


class _Parts:
    """The members of every row as flat lists: reading one from arrow takes ten times as long."""

    def __init__(self, column: pa.ChunkedArray) -> None:
        chunk = column.combine_chunks()
        chunk = chunk if isinstance(chunk, pa.ListArray) else pa.concat_arrays(chunk.chunks)
        struct = chunk.flatten()
        self._ends = list(itertools.accumulate((pc.fill_null(chunk.value_lengths(), 0)).to_pylist(), initial=0))
        self._names = struct.field("name").to_pylist()
        self._offsets = struct.field("offset").to_numpy(zero_copy_only=False)
        self._sizes = struct.field("size").to_numpy(zero_copy_only=False)
        self._digests = struct.field("sha256")

    def of(self, position: int) -> Iterator[Member]:
        """Yield the members of a row."""
        for index in range(self._ends[position], self._ends[position + 1]):
            yield Member(
                self._names[index], int(self._offsets[index]), int(self._sizes[index]), self._digests[index].as_py()
            )

    def names(self) -> list[set[str]]:
        """Return the names of each row's members."""
        return [set(self._names[start:end]) for start, end in itertools.pairwise(self._ends)]


def check_tar(dataset: Dataset, manifest: Manifest) -> None:
    """Raise ConfigError where a file of a shard is gone or has another size than its manifest says."""
    for name, record in manifest.files.items():
        path = f"{folder(manifest.column)}/{name}"
        try:
            size = dataset.store.size(path)
        except OSError as error:
            raise ConfigError(_damaged(dataset, manifest, path, "is gone")) from error
        if size != record.size:
            what = f"has {size:,} bytes, not the {record.size:,} of its manifest"
            raise ConfigError(_damaged(dataset, manifest, path, what))


def _damaged(dataset: Dataset, manifest: Manifest, name: str, what: str) -> str:
    own = manifest_name(manifest.column, manifest.shard)
    return (
        f"shard must be whole to be trained on: {dataset.store.url}/{name} {what}. `onegen verify --full "
        f"{dataset.store.url}` says what else is damaged; delete {own} and run `onegen build` again, and this shard "
        f"alone is made anew."
    )
