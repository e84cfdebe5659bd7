"""Give annotators their items, each image read and decoded once for all columns of a stage.

Ingest gets what the source reads, a column of the source what the source says, every other column the stored images and
the columns it requires. Only rows that are about to be computed are read.
"""

import dataclasses
import math
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, cast

import numpy as np

from onegen.annotators.shared.brought import BroughtReader
from onegen.build.brought_column import BroughtColumn
from onegen.build.jobs import ColumnJob
from onegen.build.lanes import Lanes
from onegen.build.outcome import Lost, Outcome, failed
from onegen.errors import SampleError
from onegen.pixels.codec import decode_image
from onegen.pixels.placement import placement_of
from onegen.sample import IMAGE, Annotation, Brought, Item, Kind, Placement, SourceImage
from onegen.shards.canonical import storable
from onegen.shards.column import ColumnReader
from onegen.shards.dataset import Dataset
from onegen.shards.index import Row
from onegen.shards.key import DIGITS, member_digest, sample_key
from onegen.shards.plan import PlannedItem, read_plan
from onegen.shards.views import SETS, dropped, kept_images, values_of
from onegen.sources import OPTED_OUT, Brings, Source, bring_of


@dataclass(frozen=True, slots=True)
class FeedRow:
    """One row as an annotator gets it: the sample's key and an item an image, or one for a column of the source.

    `values` are fields of the column that are known whatever the annotator answers; `digests` the SHA-256 that name
    the items, where they come with their source's bytes; `annotations` what the source says of the row in the columns
    it provides, or why that cannot be read. Of a set, `images` are the numbers of the items among the sample's
    `num_images`, None for all, and `lost` are those that are none of them; `named` gives key and values once it is
    known which items remain.
    """

    key: str | None
    items: tuple[Item, ...]
    values: Mapping[str, Any] = field(default_factory=dict)
    digests: Sequence[str] = ()
    annotations: Mapping[str, Annotation | SampleError] | SampleError = field(default_factory=dict)
    images: Sequence[int] | None = None
    num_images: int = 0
    lost: Sequence[Lost] = ()
    named: "Callable[[Sequence[int]], tuple[str, Mapping[str, Any]]] | None" = None


class Feed(ABC):
    """The rows of one shard. Close it, or use it as a context manager, to close the columns it reads."""

    names_rows: ClassVar[bool] = False
    """Whether a row has no key before it is read: its bytes decide it."""

    def __init__(self, dataset: Dataset, shard: int) -> None:
        self._dataset, self._shard = dataset, shard
        self._readers: dict[str, ColumnReader] = {}
        self._opening = threading.Lock()
        self._unpinned: frozenset[int] = frozenset()

    def __enter__(self) -> "Feed":
        return self

    def __exit__(self, *error: object) -> None:
        for reader in self._readers.values():
            reader.close()

    def unpin(self, positions: Iterable[int]) -> None:
        """Take the source of these rows as it is now, whatever the plan saw: they have nothing to protect."""
        self._unpinned = frozenset(positions)

    @abstractmethod
    def read(self, position: int) -> FeedRow | Outcome:
        """Read one row, or say why it cannot be read."""

    def values(self, position: int) -> Mapping[str, Any]:
        """Return the fields of a row that are known without reading it."""
        return {}

    def num_pixels(self, position: int) -> int:
        """Return how many pixels the images of a row have, without decoding them; 0 where that is not known."""
        return 0

    def narrow(self, row: FeedRow, job: ColumnJob, position: int) -> FeedRow | Outcome:
        """Return a row that was read as one column's annotator wants it."""
        return row

    def _planned(self, plan: Sequence[PlannedItem], position: int) -> PlannedItem:
        """Return a row of the plan as it is to be read."""
        return plan[position].unpinned() if position in self._unpinned else plan[position]

    def _reader(self, column: str) -> ColumnReader:
        with self._opening:  # rows are read on several threads
            if column not in self._readers:
                self._readers[column] = ColumnReader(self._dataset, self._dataset.require_manifest(column, self._shard))
            return self._readers[column]


class ImageFeed(Feed):
    """The files of the source, for ingest: reading them names the sample."""

    names_rows = True

    def __init__(self, dataset: Dataset, shard: int, source: Source, kind: Kind) -> None:
        super().__init__(dataset, shard)
        self._source, self._kind = source, kind
        self._plan = read_plan(dataset.store, shard)

    def values(self, position: int) -> Mapping[str, Any]:
        """Return the row's item id and the uri of its first image."""
        item = self._plan[position]
        return {"item": item.item, "uri": item.images[0].uri}

    def read(self, position: int) -> FeedRow | Outcome:
        """Read the images of one row and what the source says of them."""
        values = dict(self.values(position))
        try:
            source = self._source.read(self._planned(self._plan, position))
        except SampleError as error:
            if error.reason == OPTED_OUT:
                return Outcome("filtered", OPTED_OUT, str(error), values)
            return failed(None, error, values)
        images = [image for image in source.images if isinstance(image, SourceImage)]
        lost = [_lost(number, image) for number, image in enumerate(source.images) if isinstance(image, SampleError)]
        if not images:
            return Outcome("failed", lost[0].reason, lost[0].message, values)
        members = [member_digest(image) for image in images]
        instruction, subject = (storable(text) if text else None for text in (source.instruction, source.subject))
        if self._kind == "pair":
            values |= {"instruction": instruction, "subject": subject}
        elif self._kind == "identity":
            values |= {"subject": subject}
        numbers = [number for number, image in enumerate(source.images) if isinstance(image, SourceImage)]

        def named(kept: Sequence[int]) -> tuple[str, dict[str, Any]]:
            digests = [members[index] for index in kept]
            cameras = [camera for index in kept if (camera := images[index].camera) is not None]
            key = sample_key(self._kind, digests, instruction, subject, cameras)
            own = {"uri": images[kept[0]].uri} if self._kind in SETS else {}
            single = digests[0] if len(digests) == 1 and self._kind == "image" else None
            return key, values | own | {"sha256": single, "members": digests}

        key, values_of_all = named(range(len(images)))
        pairs = zip(members, images, strict=True)
        items = tuple(Item(digest[:DIGITS], None, image.caption, source=image) for digest, image in pairs)
        if self._kind not in SETS:
            return FeedRow(key, items, values_of_all, members)
        return FeedRow(
            key, items, values_of_all, members, images=numbers, num_images=len(source.images), lost=lost, named=named
        )


class SourceColumnFeed(Feed):
    """What the source says beside its images, for its own columns and those brought along: no image is decoded again.

    Where a stored image is not its original's bytes, the original's header says how maps and boxes come to lie on it.
    """

    def __init__(self, dataset: Dataset, shard: int, source: Source) -> None:
        super().__init__(dataset, shard)
        self._source, self._kind = source, source.kind
        self._plan = read_plan(dataset.store, shard)
        self._placements: dict[int, list[Placement]] = {}

    def read(self, position: int) -> FeedRow | Outcome:
        """Ask the source once for all columns it provides."""
        image = self._reader(IMAGE).rows[position]
        annotations: Mapping[str, Annotation | SampleError] | SampleError = {}
        try:
            if self._source.provides:
                annotations = self._source.annotations(self._planned(self._plan, position))
        except SampleError as error:
            annotations = error
        return FeedRow(image.key, (_item(image, 0, None),), annotations=annotations)

    def narrow(self, row: FeedRow, job: ColumnJob, position: int) -> FeedRow | Outcome:
        """Return the row with what the source says in this column, if it says anything."""
        if isinstance(job.annotator, BroughtColumn):
            return self._brought(row, job.annotator.reader, job.column, position)
        annotations = row.annotations
        annotation = annotations if isinstance(annotations, SampleError) else annotations.get(job.column)
        if annotation is None:
            return row
        if isinstance(annotation, SampleError):
            return failed(row.key, annotation)
        item = dataclasses.replace(row.items[0], annotations={job.column: annotation})
        return dataclasses.replace(row, items=(item,))

    def _brought(self, row: FeedRow, reader: BroughtReader, column: str, position: int) -> FeedRow | Outcome:
        """Return the row with what the source brings of each image for a column."""
        image, planned = self._reader(IMAGE).rows[position], self._planned(self._plan, position)
        entry = bring_of(self._source)[column]
        try:
            values = cast(Brings, self._source).brought(planned, entry, reader.is_file)
            if self._kind in SETS:
                # The source speaks of all the plan has; ingest may have left some out.
                values = tuple(values[number] for number in _stored_numbers(image, len(values)))
            is_placed = reader.on_pixels and any(value is not None for value in values)
            placements = self._placed(image, position) if is_placed else [None] * len(values)
        except SampleError as error:
            return failed(row.key, error)
        items = []
        places = entry.places * len(values) if self._kind in SETS else entry.places
        for index, (value, place, placement) in enumerate(zip(values, places, placements, strict=True)):
            brought = Brought(value, f"{place} of {planned.item}", placement) if value is not None else None
            items.append(dataclasses.replace(_item(image, index, None), brought=brought))
        if self._kind not in SETS:
            return dataclasses.replace(row, items=tuple(items))
        return dataclasses.replace(row, items=tuple(items), images=range(len(items)), num_images=len(items))

    def _placed(self, image: Row, position: int) -> Sequence[Placement]:
        """Return how each stored image of a row came from its original, read once; raises SampleError."""
        if position not in self._placements:
            originals = None
            placements = []
            for index, (part, digest) in enumerate(zip(image.parts, image.values["members"], strict=True)):
                size = _size(image, index)
                if part.sha256 == digest:
                    placements.append(Placement(size, size))
                    continue
                originals = originals or self._source.read(self._planned(self._plan, position)).images
                original = originals[_stored_numbers(image, len(originals))[index]]
                if isinstance(original, SampleError):
                    raise original
                if member_digest(original) != digest:
                    raise SampleError(
                        "source_changed",
                        f"{self._plan[position].item} must be the picture that was stored, and is another by now. Put "
                        f"it back, or take all as they are with --recompute image.",
                    )
                placements.append(placement_of(original.data, size))
            self._placements[position] = placements
        return self._placements[position]


class StoredFeed(Feed):
    """The stored images, decoded where an annotator of the stage needs pixels, and the columns each requires."""

    def __init__(self, dataset: Dataset, shard: int, needs_pixels: bool, kind: Kind = "image") -> None:
        super().__init__(dataset, shard)
        self._needs_pixels, self._kind = needs_pixels, kind

    def read(self, position: int) -> FeedRow | Outcome:
        """Read the stored images of one row."""
        reader = self._reader(IMAGE)
        row = reader.rows[position]
        try:
            pictures = [decode_image(reader.part(part)) if self._needs_pixels else None for part in row.parts]
        except SampleError as error:
            return failed(row.key, error)
        return FeedRow(row.key, tuple(_item(row, index, pixels) for index, pixels in enumerate(pictures)))

    def num_pixels(self, position: int) -> int:
        """Return how many pixels the stored images of a row have."""
        row = self._reader(IMAGE).rows[position]
        return sum(math.prod(_size(row, index)) for index in range(len(row.parts)))

    def narrow(self, row: FeedRow, job: ColumnJob, position: int) -> FeedRow | Outcome:
        """Return the row with what the columns its annotator requires say of each image; a set without those lost."""
        kept = list(range(len(row.items)))
        lost: list[Lost] = []
        if self._kind in SETS:
            gates = {gate: self._reader(gate).rows[position] for gate in job.gates if gate != IMAGE}
            kept = kept_images(self._reader(IMAGE).rows[position], gates.values())
            lost = [_waiting(gate, entry) for gate, gated in gates.items() for entry in dropped(gated)]
        items = (
            dataclasses.replace(row.items[index], annotations=self._annotations(job, position, index)) for index in kept
        )
        if self._kind not in SETS:
            return dataclasses.replace(row, items=tuple(items)) if job.provides else row
        return dataclasses.replace(row, items=tuple(items), images=kept, num_images=len(row.items), lost=_once(lost))

    def _annotations(self, job: ColumnJob, position: int, index: int) -> dict[str, Annotation]:
        """Return what the required columns say of one image of a row."""
        readers = {column: self._reader(column) for column in job.provides}
        return {
            column: reader.annotation(reader.rows[position], index, job.provides[column])
            for column, reader in readers.items()
        }


class Batch:
    """Some rows of a shard, each read and decoded once: ahead where `lanes` has threads, else when a column asks."""

    def __init__(self, feed: Feed, positions: Iterable[int], lanes: Lanes) -> None:
        self._feed = feed
        self._rows = {position: lanes.aside(feed.read, position) for position in positions}

    def row(self, job: ColumnJob, position: int) -> FeedRow | Outcome:
        """Return a row as one column's annotator wants it; an Outcome stands for a row that cannot be read."""
        row = self._rows[position].result()
        return row if isinstance(row, Outcome) else self._feed.narrow(row, job, position)


def _stored_numbers(image: Row, count: int) -> list[int]:
    """Return which of the `count` images that the plan has of a row are stored, in order."""
    absent = {entry["image"] for entry in dropped(image)}
    return [number for number in range(count) if number not in absent]


def _lost(number: int, error: SampleError) -> Lost:
    outcome = failed(None, error)
    return Lost(number, "failed", str(outcome.reason), outcome.message)


def _waiting(gate: str, entry: Mapping[str, Any]) -> Lost:
    """Return an image that a column does not ask for, because an earlier one has no answer for it."""
    return Lost(entry["image"], "skipped", f"{gate}:{entry['status']}")


def _once(lost: Sequence[Lost]) -> list[Lost]:
    """Return each image once, in order, with the first reason."""
    first: dict[int, Lost] = {}
    for one in lost:
        first.setdefault(one.image, one)
    return [first[image] for image in sorted(first)]


def _item(row: Row, index: int, pixels: np.ndarray | None) -> Item:
    """Return one image of a row of the image column."""
    values = values_of(row, index)
    digest = row.values["members"][index]
    return Item(digest[:DIGITS], pixels, values["caption"], size=_size(row, index))


def _size(row: Row, index: int) -> tuple[int, int]:
    """Return (height, width) of one image of a row of the image column."""
    values = values_of(row, index)
    return values["height"], values["width"]
