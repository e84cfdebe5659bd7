"""Give annotators their items: for ingest and the columns of a source what the source reads, for the others the stored
images and other columns.

Only rows that are about to be computed are read, each image decoded once for all columns of the stage.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from onegen.build.jobs import ColumnJob, StageJob
from onegen.build.outcome import Outcome, failed
from onegen.errors import SampleError
from onegen.pixels.codec import decode_image
from onegen.sample import IMAGE, Annotation, Item
from onegen.shards.canonical import storable
from onegen.shards.column import ColumnReader
from onegen.shards.dataset import Dataset
from onegen.shards.index import Row
from onegen.shards.key import DIGITS, member_digest, sample_key
from onegen.shards.plan import read_plan
from onegen.shards.views import values_of


@dataclass(frozen=True, slots=True)
class Fed:
    """One row as an annotator gets it: the sample's key and an item an image, or one for a column of the source.

    `facts` are values of the image column that the source's bytes and words decide, known whatever ingest says of them.
    """

    key: str | None
    items: tuple[Item, ...]
    facts: Mapping[str, Any] = field(default_factory=dict)


class Feed:
    """The rows of one shard. Close it, or use it as a context manager, to close the columns it reads.

    `is_beside` says that they are for columns of the source: the images stay where they are.
    """

    def __init__(self, dataset: Dataset, job: StageJob, shard: int) -> None:
        self._job, self._dataset, self._shard = job, dataset, shard
        self._plan = read_plan(dataset.store, shard) if job.source else []
        self._needs_pixels = any(column.annotator.needs_pixels for column in job.columns)
        self._readers: dict[str, ColumnReader] = {}
        self.is_beside = job.source is not None and job.name != IMAGE

    def __enter__(self) -> "Feed":
        return self

    def __exit__(self, *error: object) -> None:
        for reader in self._readers.values():
            reader.close()

    def batch(self) -> "Batch":
        """Return a view of some rows that remembers the images it decoded."""
        return Batch(self)

    def read(self, position: int) -> Fed | Outcome:
        """Read the images of one row, or say why they cannot be read."""
        if self.is_beside:
            return self._read_beside(position)
        return self._read_bytes(position) if self._job.source is not None else self._read_stored(position)

    def said(self, position: int) -> Mapping[str, Annotation | SampleError] | Outcome:
        """Return what the source says of one row in each of its columns, or why it cannot say anything."""
        assert self._job.source is not None
        try:
            return self._job.source.annotations(self._plan[position])
        except SampleError as error:
            return failed(self._reader(IMAGE).rows[position].key, error)

    def annotations(self, job: ColumnJob, position: int, index: int) -> dict[str, Annotation]:
        """Return what the required columns say of one image of a row."""
        readers = {column: self._reader(column) for column in job.provides}
        return {
            column: reader.annotation(reader.rows[position], index, job.provides[column])
            for column, reader in readers.items()
        }

    def _read_bytes(self, position: int) -> Fed | Outcome:
        assert self._job.source is not None
        try:
            source = self._job.source.read(self._plan[position])
        except SampleError as error:
            return failed(None, error)
        members = [member_digest(image) for image in source.images]
        facts: dict[str, Any] = {"sha256": members[0] if len(members) == 1 else None, "members": members}
        instruction, subject = (storable(said) if said else None for said in (source.instruction, source.subject))
        if self._job.kind == "pair":
            facts |= {"instruction": instruction, "subject": subject}
        key = sample_key(self._job.kind, members, instruction, subject)
        named = zip(members, source.images, strict=True)
        items = tuple(Item(digest[:DIGITS], None, image.caption, source=image) for digest, image in named)
        return Fed(key, items, facts)

    def _read_beside(self, position: int) -> Fed:
        """Read a row whose images are stored already, for a column of the source: none is read or decoded again."""
        row = self._reader(IMAGE).rows[position]
        return Fed(row.key, (_item(row, 0, None),))

    def _read_stored(self, position: int) -> Fed | Outcome:
        reader = self._reader(IMAGE)
        row = reader.rows[position]
        if not self._needs_pixels:
            return Fed(row.key, tuple(_item(row, index, None) for index in range(len(row.parts))))
        try:
            images = (decode_image(reader.part(member)) for member in row.parts)
            return Fed(row.key, tuple(_item(row, index, pixels) for index, pixels in enumerate(images)))
        except SampleError as error:
            return failed(row.key, error)

    def _reader(self, column: str) -> ColumnReader:
        if column not in self._readers:
            manifest = self._dataset.manifest(column, self._shard)
            assert manifest is not None, f"{column} is committed before it is read"
            self._readers[column] = ColumnReader(self._dataset, manifest)
        return self._readers[column]


class Batch:
    """Some rows of a shard, each read and decoded when the first column asks for it."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._held: dict[int, Fed | Outcome] = {}
        self._said: dict[int, Mapping[str, Annotation | SampleError] | Outcome] = {}

    def rows(self, job: ColumnJob, positions: Sequence[int]) -> list[Fed | Outcome]:
        """Return the rows as one column's annotator wants them; an Outcome stands for a row that cannot be read."""
        return [self._row(job, position) for position in positions]

    def _row(self, job: ColumnJob, position: int) -> Fed | Outcome:
        if position not in self._held:
            self._held[position] = self._feed.read(position)
        row = self._held[position]
        if isinstance(row, Outcome):
            return row
        if self._feed.is_beside:
            return self._brought(job, position, row)
        if not job.annotator.requires:
            return row
        items = (
            dataclasses.replace(item, annotations=self._feed.annotations(job, position, index))
            for index, item in enumerate(row.items)
        )
        return dataclasses.replace(row, items=tuple(items))

    def _brought(self, job: ColumnJob, position: int, row: Fed) -> Fed | Outcome:
        """Return a row with what the source says of it in one column, if it says anything."""
        if position not in self._said:
            self._said[position] = self._feed.said(position)
        said = self._said[position]
        if isinstance(said, Outcome) or job.column not in said:
            return said if isinstance(said, Outcome) else row
        found = said[job.column]
        if isinstance(found, SampleError):
            return failed(row.key, found)
        return dataclasses.replace(row, items=(dataclasses.replace(row.items[0], annotations={job.column: found}),))


def _item(row: Row, index: int, pixels: Any) -> Item:
    """Return one image of a row of the image column."""
    values = values_of(row, index)
    digest = row.values["members"][index]
    return Item(digest[:DIGITS], pixels, values["caption"], size=(values["height"], values["width"]))
