"""Give annotators their items: for ingest and the columns of a source what the source reads, for the others the stored
image and other columns.

Only rows that are about to be computed are read, each image decoded once for all columns of the stage.
"""

import dataclasses
from collections.abc import Sequence

from onegen.job import ColumnJob, StageJob
from onegen.outcome import Outcome, failed
from onegen.pixels import decode_image, decode_part
from onegen.refresh import IMAGE
from onegen.sample import Annotation, Item, Provides, SampleError, SourceItem
from onegen.shards.column import ColumnReader
from onegen.shards.dataset import Dataset
from onegen.shards.index import Row, sha256
from onegen.shards.plan import read_plan


class Feed:
    """The items of one shard. Close it, or use it as a context manager, to close the columns it reads."""

    def __init__(self, dataset: Dataset, job: StageJob, shard: int) -> None:
        self._job, self._dataset, self._shard = job, dataset, shard
        self._plan = read_plan(dataset.store, shard) if job.source else []
        self._needs_pixels = any(column.annotator.needs_pixels for column in job.columns)
        self._readers: dict[str, ColumnReader] = {}

    def __enter__(self) -> "Feed":
        return self

    def __exit__(self, *error: object) -> None:
        for reader in self._readers.values():
            reader.close()

    def batch(self) -> "Batch":
        """Return a view of some rows that remembers the images it decoded."""
        return Batch(self)

    def read(self, position: int) -> Item | Outcome:
        """Read one row, or say why it cannot be read. For ingest the item's key is the whole SHA-256 of its bytes."""
        if self._job.source is None:
            return self._read_image(position)
        return self._read_bytes(position) if self._job.name == IMAGE else self._read_beside(position)

    def annotations(self, job: ColumnJob, position: int) -> dict[str, Annotation]:
        """Return what the required columns say of a row."""
        return {
            column: _annotation(self._reader(column), self._reader(column).rows[position], job.provides[column])
            for column in job.annotator.requires
        }

    def _read_bytes(self, position: int) -> Item | Outcome:
        assert self._job.source is not None
        try:
            source = self._job.source.read(self._plan[position])
        except SampleError as error:
            return failed(None, error)
        return Item(sha256(source.images[0]), None, source.caption, source=source)

    def _read_beside(self, position: int) -> Item | Outcome:
        """Read what the source says of a row whose image is stored already: no image is read or decoded again."""
        assert self._job.source is not None
        row = self._reader(IMAGE).rows[position]
        try:
            said = self._job.source.annotations(self._plan[position])
        except SampleError as error:
            return failed(row.key, error)
        source = SourceItem(annotations=said)
        return Item(row.key or "", None, row.values["caption"], source=source, size=_size(row))

    def _read_image(self, position: int) -> Item | Outcome:
        reader = self._reader(IMAGE)
        row = reader.rows[position]
        key, caption = row.key or "", row.values["caption"]
        if not self._needs_pixels:
            return Item(key, None, caption, size=_size(row))
        try:
            return Item(key, decode_image(reader.part(row.parts[0])), caption, size=_size(row))
        except SampleError as error:
            return failed(key, error)

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
        self._held: dict[int, Item | Outcome] = {}

    def items(self, job: ColumnJob, positions: Sequence[int]) -> list[Item | Outcome]:
        """Return the rows as one column's annotator wants them; an Outcome stands for a row that cannot be read."""
        return [self._item(job, position) for position in positions]

    def _item(self, job: ColumnJob, position: int) -> Item | Outcome:
        if position not in self._held:
            self._held[position] = self._feed.read(position)
        item = self._held[position]
        if isinstance(item, Outcome) or not job.annotator.requires:
            return item
        return dataclasses.replace(item, annotations=self._feed.annotations(job, position))


def _size(image: Row) -> tuple[int, int]:
    return image.values["height"], image.values["width"]


def _annotation(reader: ColumnReader, row: Row, provides: Provides) -> Annotation:
    encodings = {part.name: part.encoding for part in provides.parts}
    parts = {name: decode_part(data, encodings.get(name, "bytes")) for name, data in reader.parts(row).items()}
    return Annotation(row.values, parts)
