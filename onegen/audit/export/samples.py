"""What is handed on of a dataset, one sample after the other: shard by shard, in plan order, with its rights.

Only samples that `select` kept are handed on, and none that was taken down. Whoever must leave out another names its
key in `leave_out`, and it is in no format.
"""

import contextlib
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Self

import pyarrow as pa

from onegen.audit.readable import readable
from onegen.errors import ConfigError
from onegen.sample import IMAGE, SELECT
from onegen.shards.canonical import sha256
from onegen.shards.column import ColumnReader
from onegen.shards.dataset import Card, Dataset
from onegen.shards.index import Row
from onegen.shards.manifest import Producer
from onegen.shards.scope import fields_of
from onegen.shards.takedowns import Takedowns, read_takedowns, taken_positions, version_of
from onegen.shards.tar import Member
from onegen.shards.views import DROPPED, OTHERS, dropped, kept_images, split_name, values_of


def part_of(reader: ColumnReader, row: Row, member: Member) -> bytes:
    """Return the bytes of a part as they are stored; raises ConfigError where they are others."""
    where = f"{reader.manifest.column} of {row.key} in shard {reader.manifest.shard:06d}"
    with readable(where):
        data = reader.part(member)
    if sha256(data) != member.sha256:
        raise ConfigError(f"{where} must have SHA-256 {member.sha256}, got others. `onegen verify --full` says more.")
    return data


@dataclass(frozen=True)
class Picture:
    """One image of a sample, `index` in its order: what is said of it, and its bytes where they are asked for."""

    key: str
    index: int
    rows: Mapping[str, tuple[ColumnReader, Row]]

    @property
    def name(self) -> str:
        """The file name of the image: KEY.jpg, KEY.img1.jpg of a further one, KEY.view00.jpg of a scene."""
        return f"{self.key}.{self._stored(IMAGE, self._image_part()).name}"

    @property
    def facts(self) -> Mapping[str, Any]:
        """What the image column says: uri, width, height, licence, attribution, caption."""
        return values_of(self.rows[IMAGE][1], self.index)

    @property
    def columns(self) -> list[str]:
        """The columns that have an answer for the image, without `image` and `select`."""
        return [
            name
            for name, (_, row) in self.rows.items()
            if name not in (IMAGE, SELECT) and all(entry["image"] != self.index for entry in dropped(row))
        ]

    def values(self, column: str) -> Mapping[str, Any]:
        """Return what a column says of the image; nothing where it has no answer."""
        return values_of(self.rows[column][1], self.index) if column in self.rows else {}

    def parts(self, column: str) -> list[str]:
        """Return the names of the files a column has of the image."""
        split = (split_name(part.name) for part in self.rows[column][1].parts) if column in self.rows else ()
        return [name for owner, name in split if owner == self.index]

    def part(self, column: str, name: str) -> bytes:
        """Return the bytes of a file of a column, as they are stored."""
        reader, row = self.rows[column]
        return part_of(reader, row, self._stored(column, name))

    def image(self) -> bytes:
        """Return the bytes of the image, as they are stored."""
        return self.part(IMAGE, self._image_part())

    def _stored(self, column: str, name: str) -> Member:
        return next(part for part in self.rows[column][1].parts if split_name(part.name) == (self.index, name))

    def _image_part(self) -> str:
        return self.parts(IMAGE)[0]


@dataclass(frozen=True)
class Sample:
    """One sample that is handed on: its key, the shard it lies in, its images in order."""

    key: str
    shard: int
    pictures: tuple[Picture, ...]


@dataclass(frozen=True)
class Samples:
    """The samples of a dataset that are handed on; `shards` are those whose columns are all there, of `num_shards`.

    `producers` says what made each column.
    """

    dataset: Dataset
    card: Card
    shards: tuple[int, ...]
    columns: tuple[str, ...]
    producers: Mapping[str, Producer]
    leave_out: Set[str] = field(default_factory=frozenset)
    takedowns: Takedowns = field(default_factory=Takedowns)

    @classmethod
    def of(cls, dataset: Dataset, leave_out: Set[str] = frozenset()) -> Self:
        """Return the samples of a dataset; raises ConfigError where there is none, or no shard of it is whole yet.

        Columns that the last recipe does not make are left out once a build has finished.
        """
        card = dataset.require_card()
        there = dataset.columns()
        known = [name for name in there if name in card.columns] if card.state == "complete" else there
        columns = (IMAGE, SELECT, *(name for name in known if name not in (IMAGE, SELECT)))
        whole: set[int] = set(range(card.plan.shards))
        for column in columns:
            whole &= set(dataset.shards(column))
        if not whole:
            raise ConfigError(
                f"{dataset.store.url} must have a shard whose columns are all there, got none of {card.plan.shards}. "
                f"Go on with `onegen build`."
            )
        shards = tuple(sorted(whole))
        producers = {column: dataset.require_manifest(column, shards[0]).producer for column in columns}
        return cls(dataset, card, shards, columns, producers, leave_out, read_takedowns(dataset.store))

    @property
    def is_whole(self) -> bool:
        """Say whether every planned shard is handed on."""
        return len(self.shards) == self.card.plan.shards

    @property
    def version(self) -> str | None:
        """The version of the dataset: its digest, and that of its takedowns; None while it is being built."""
        return version_of(self.card.digest, self.takedowns)

    def told(self) -> str:
        """Return how much of the dataset this is, in words."""
        shards = f"{len(self.shards):,} of {self.card.plan.shards:,} shards"
        return "all shards" if self.is_whole else f"{shards}, for the dataset is still being built"

    def fields(self, column: str) -> Mapping[str, pa.DataType]:
        """Return the fields that a column says of one image, with their types, as its first shard has them."""
        return self._fields[column]

    @cached_property
    def _fields(self) -> Mapping[str, Mapping[str, pa.DataType]]:
        fields = {}
        for column in self.columns:
            with readable(f"the index of {column}"):
                own = fields_of(self.dataset, self.dataset.require_manifest(column, self.shards[0]))
            fields[column] = {name: kind for name, kind in own.items() if name not in (OTHERS, DROPPED)}
        return fields

    def __iter__(self) -> Iterator[Sample]:
        """Yield every sample, in plan order; raises ConfigError for a damaged shard."""
        for shard in self.shards:
            yield from self.shard(shard)

    def shard(self, shard: int) -> Iterator[Sample]:
        """Yield the samples of one shard."""
        with contextlib.ExitStack() as stack:
            with readable(f"shard {shard:06d}"):
                readers = {
                    column: ColumnReader(self.dataset, self.dataset.require_manifest(column, shard))
                    for column in self.columns
                }
            for reader in readers.values():
                stack.callback(reader.close)
            if len({len(reader.rows) for reader in readers.values()}) > 1:
                raise ConfigError(
                    f"the columns of shard {shard:06d} must have the same rows. `onegen verify` says more."
                )
            taken = taken_positions(self.dataset, self.takedowns, readers[IMAGE].manifest)
            for position in (p for p in range(len(readers[IMAGE].rows)) if p not in taken):
                rows = {column: (reader, reader.rows[position]) for column, reader in readers.items()}
                answers = {column: entry for column, entry in rows.items() if entry[1].status == "ok"}
                key = rows[IMAGE][1].key
                if key is not None and key not in self.leave_out and {IMAGE, SELECT} <= answers.keys():
                    # What `select` took out of a set is not handed on.
                    kept = kept_images(rows[IMAGE][1], [rows[SELECT][1]])
                    yield Sample(key, shard, tuple(Picture(key, index, answers) for index in kept))
