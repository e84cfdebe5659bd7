"""What was taken down: by key, member digest, uri or subject. The one place that reads the list and matches it.

`takedowns/*.parquet` only grows: a file holds what it adds and is named by that. Rows that match are gone for every
reader of ours at once, and for all others when `onegen purge` has made the files anew. docs/contract.md, rule 13.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, Self, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from onegen.errors import ConfigError
from onegen.sample import IMAGE, PACKED, Kind
from onegen.shards.canonical import canonical, sha256
from onegen.shards.dataset import Dataset, file_of, folder
from onegen.shards.index import read_fields, to_parquet
from onegen.shards.key import DIGITS
from onegen.shards.manifest import Manifest
from onegen.shards.plan import PlannedItem
from onegen.shards.views import OTHERS, SETS
from onegen.storage.store import Store

By = Literal["key", "digest", "uri", "subject"]
Entry = tuple[By, str]
"""What to take down: by what, and its value."""
BYS: tuple[By, ...] = get_args(By)
TAKEDOWN = "takedown"
"""Reason of a row, or of an image of a set, that was taken down."""
FOLDER = "takedowns"
ENTRIES = pa.schema([("by", pa.string()), ("value", pa.string())])
"""A file of the list: one entry a row, sorted."""
MATCHED = ("item", "uri", "sha256", "members", "subject", OTHERS)
"""Fields of the image column, beside the key, that entries are matched with."""
_KEY, _DIGEST = re.compile(rf"[0-9a-f]{{{DIGITS}}}"), re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Taken:
    """What of a sample is taken down: all of it, or of a set the images of these numbers in the plan."""

    whole: bool = False
    images: frozenset[int] = frozenset()

    def __bool__(self) -> bool:
        return self.whole or bool(self.images)


@dataclass(frozen=True)
class Takedowns:
    """The entries of a list: values by what they are matched with."""

    values: Mapping[By, frozenset[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, entries: Iterable[Entry]) -> Self:
        """Return the list of these entries."""
        values: dict[By, set[str]] = {by: set() for by in BYS}
        for by, value in entries:
            values[by].add(value)
        return cls({by: frozenset(found) for by, found in values.items()})

    def __len__(self) -> int:
        return sum(len(found) for found in self.values.values())

    def __contains__(self, entry: object) -> bool:
        return entry in self._all

    @cached_property
    def _all(self) -> frozenset[Entry]:
        return frozenset(self.entries)

    @cached_property
    def _arrays(self) -> Mapping[By, pa.Array]:
        return {by: pa.array(sorted(found), pa.string()) for by, found in self.values.items()}

    @property
    def entries(self) -> list[Entry]:
        """All entries, sorted."""
        return sorted((by, value) for by, found in self.values.items() for value in found)

    @cached_property
    def digest(self) -> str | None:
        """The version of the list: SHA-256 over its sorted entries; None where nothing was taken down."""
        if not self:
            return None
        return sha256(b"".join(canonical(list(entry)) + b"\n" for entry in self.entries))

    def takes_image(self, digest: str | None, uri: str | None = None) -> bool:
        """Say whether an image is taken down, given the digest of its original bytes and its file."""
        is_digest = digest is not None and (digest in self._by("digest") or digest[:DIGITS] in self._by("key"))
        return is_digest or uri in self._by("uri")

    def takes_planned(self, item: PlannedItem, is_divisible: bool) -> bool:
        """Say whether a whole sample is taken down as far as its plan tells; a divisible one may lose images."""
        if item.item in self._by("uri"):
            return True
        files = [file.uri in self._by("uri") for file in item.images]
        return all(files) if is_divisible else any(files)

    def judge(
        self,
        item: PlannedItem,
        is_divisible: bool,
        keys: Iterable[str | None],
        subject: str | None,
        digests: Mapping[int, str],
        uris: Mapping[int, str | None],
    ) -> Taken:
        """Return what of a sample is taken down.

        `keys` are those it has or had; `digests` and `uris` are of its images, by their number in the plan. A sample
        that is not divisible (an image, a pair, a set whose recipe says `incomplete: fail`) is taken down whole.
        """
        if self.takes_planned(item, is_divisible) or subject in self._by("subject"):
            return Taken(whole=True)
        if any(key in self._by("key") for key in keys):
            return Taken(whole=True)
        planned = {number: file.uri for number, file in enumerate(item.images)}
        numbers = digests.keys() | uris.keys() | (planned.keys() if len(planned) > 1 else set())
        taken = {
            number
            for number in numbers
            if self.takes_image(digests.get(number), uris.get(number))
            or (len(planned) > 1 and planned.get(number) in self._by("uri"))
        }
        if taken and (not is_divisible or digests.keys() <= taken):
            return Taken(whole=True)
        return Taken(images=frozenset(taken))

    def rows(self, keys: pa.ChunkedArray, image: pa.Table) -> np.ndarray:
        """Return which rows match in any way, bool (n,), given their keys and those of MATCHED that there are.

        A set that would lose an image counts as taken down until it is made anew without it.
        """
        taken = self._is_in(keys, "key")
        for name, by in (("item", "uri"), ("uri", "uri"), ("sha256", "digest"), ("subject", "subject")):
            if name in image.column_names:
                taken |= self._is_in(image.column(name), by)  # type: ignore[arg-type]
        if "members" in image.column_names:
            parents, digests = _flat(image.column("members"))
            own = pc.utf8_slice_codeunits(digests, 0, DIGITS)
            np.logical_or.at(taken, parents, self._is_in(digests, "digest") | self._is_in(own, "key"))
        if OTHERS in image.column_names:
            parents, others = _flat(image.column(OTHERS))
            if pa.types.is_struct(others.type) and others.type.get_field_index("uri") >= 0:
                np.logical_or.at(taken, parents, self._is_in(others.field("uri"), "uri"))
        return taken

    def _by(self, by: By) -> frozenset[str]:
        return self.values.get(by, frozenset())

    def _is_in(self, values: pa.Array | pa.ChunkedArray, by: By) -> np.ndarray:
        if not self._by(by) or not len(values):
            return np.zeros(len(values), bool)
        found = pc.is_in(values, value_set=self._arrays[by])
        return np.array(found.to_numpy(zero_copy_only=False) if isinstance(found, pa.Array) else found.to_numpy(), bool)


def is_divisible(kind: Kind, incomplete: str) -> bool:
    """Say whether samples of a kind may lose an image and go on, by what the recipe says of incomplete ones."""
    return kind in SETS and incomplete == "keep"


def is_key(text: str) -> bool:
    """Say whether a text is a key, and no other entry."""
    return _KEY.fullmatch(text) is not None


def check_entry(by: By, value: str) -> Entry:
    """Return an entry; raises ConfigError for a value that can match nothing."""
    value = value.strip()
    wanted = {"key": (_KEY, f"{DIGITS} hex digits"), "digest": (_DIGEST, "64 hex digits")}
    if by in wanted and not wanted[by][0].fullmatch(value):
        raise ConfigError(f"a {by} to take down must be {wanted[by][1]}, got {value!r}. `onegen query` shows them.")
    if not value or not value.isprintable():
        raise ConfigError(f"a {by} to take down must be printable text, got {value!r}.")
    return by, value


def read_takedowns(store: Store) -> Takedowns:
    """Return all that was taken down in a dataset; raises ConfigError for a file that does not read.

    Nobody may go on without knowing what to leave out.
    """
    return Takedowns.of(entry for name in takedown_files(store) for entry in read_file(store, name))


def takedown_files(store: Store) -> list[str]:
    """Return the names of the files of the list, sorted."""
    return [name for name in store.names(FOLDER) if name.endswith(".parquet")]


def read_file(store: Store, name: str) -> list[Entry]:
    """Return the entries of one file of the list; raises ConfigError where it does not read."""
    path = f"{FOLDER}/{name}"
    try:
        data = store.read(path)
        table = pq.ParquetFile(pa.BufferReader(data)).read(use_threads=False).select(ENTRIES.names).cast(ENTRIES)
        entries = [(row["by"], row["value"]) for row in table.to_pylist()]
        if any(by not in BYS or not value for by, value in entries):
            raise ValueError(f"an entry must be by {', '.join(BYS)}")
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        raise ConfigError(
            f"{store.url}/{path} must be a list of takedowns, and does not read as one ({error}). Put the file back as "
            f"it was: without it nobody knows what to leave out."
        ) from error
    return entries


def append_takedowns(store: Store, entries: Iterable[Entry]) -> str | None:
    """Write a file of entries, named by what it says; return its name, None where there is no entry."""
    rows = sorted(set(entries))
    if not rows:
        return None
    name = f"{hashlib.sha256(b''.join(canonical(list(row)) for row in rows)).hexdigest()[:16]}.parquet"
    columns = {"by": [by for by, _ in rows], "value": [value for _, value in rows]}
    store.write(f"{FOLDER}/{name}", to_parquet(pa.Table.from_pydict(columns, schema=ENTRIES)))
    return name


def taken_positions(dataset: Dataset, takedowns: Takedowns, manifest: Manifest) -> frozenset[int]:
    """Return which rows of a shard of the images, or packed, are taken down; reads nothing where no entry is."""
    if not takedowns:
        return frozenset()
    with dataset.store.open(f"{folder(manifest.column)}/{file_of(manifest, '.parquet')}") as file:
        keys, table = read_fields(pq.ParquetFile(file), MATCHED, IMAGE if manifest.column == PACKED else None)
    return frozenset(np.flatnonzero(takedowns.rows(keys, table)).tolist())


def version_of(digest: str | None, takedowns: Takedowns) -> str | None:
    """Return the version of a dataset: its digest, and that of its takedowns where there are any."""
    if digest is None or takedowns.digest is None:
        return digest
    return f"{digest}+{takedowns.digest}"


def _flat(column: pa.ChunkedArray) -> tuple[np.ndarray, pa.Array]:
    """Return the entries of lists, one after another, and the row of each, int64."""
    chunk = column.combine_chunks()
    chunk = chunk if isinstance(chunk, pa.Array) else pa.concat_arrays(chunk.chunks)
    return pc.list_parent_indices(chunk).to_numpy(zero_copy_only=False), chunk.flatten()
