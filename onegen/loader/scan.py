"""Look through the indexes of one dataset: which rows are ok, what they lack, how large their images are.

Two views of the same samples: the committed columns, which are the dataset, and the packed tars, which may have been
published alone.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from onegen.errors import ConfigError
from onegen.loader.needs import COUNTS, INSTRUCTION, MAPS, MASKS, NEEDS, ORDER, SUBJECT
from onegen.loader.shard_table import ShardTable, check_tar
from onegen.loader.stored import key_number
from onegen.sample import IMAGE, PACKED, SELECT, Kind
from onegen.shards.dataset import Dataset
from onegen.shards.manifest import Manifest
from onegen.shards.split import group_of
from onegen.shards.takedowns import read_takedowns, taken_positions
from onegen.shards.views import DROPPED, OTHERS

CAPTION, ORIGINAL = "caption", "original"
"""The column of captions that a build makes, and the word for the caption that came with an image."""
_IMAGE_FIELDS = ("width", "height", "caption", SUBJECT, INSTRUCTION, "camera", OTHERS)
PARTS = {column: part for column, part, _ in (*MAPS.values(), MASKS)}
"""By column: the part without which it says nothing."""


@dataclass
class ScannedShard:
    """The rows of a shard that are ok, an entry each.

    `tasks` has a bit a task; `num_images` of each row are kept, whose numbers and (height, width) stand one after
    another in `images` and `sizes`; `groups` are the numbers
    that split training from validation.
    """

    shard: int
    positions: np.ndarray
    key_texts: list[str]
    keys: np.ndarray
    groups: np.ndarray
    tasks: np.ndarray
    num_images: np.ndarray
    images: np.ndarray
    sizes: np.ndarray

    def __len__(self) -> int:
        return len(self.positions)

    def keep(self, chosen: np.ndarray) -> "ScannedShard":
        """Return the rows that are chosen, a boolean each."""
        return ScannedShard(
            self.shard,
            self.positions[chosen],
            [key for key, is_kept in zip(self.key_texts, chosen, strict=True) if is_kept],
            self.keys[chosen],
            self.groups[chosen],
            self.tasks[chosen],
            self.num_images[chosen],
            self.images[np.repeat(chosen, self.num_images)],
            self.sizes[np.repeat(chosen, self.num_images)],
        )


class View(Protocol):
    """How the samples of a dataset lie on disk."""

    name: str

    def scan(self, captions: Sequence[str]) -> Iterator[ScannedShard]:
        """Yield the shards in order; raises ConfigError for a damaged one."""
        ...

    def describe(self) -> str:
        """Return what is there, for people."""
        ...


def open_view(dataset: Dataset) -> View:
    """Return the columns of a dataset, or its packed view where it has no columns; raises ConfigError for neither."""
    if dataset.shards(IMAGE) and dataset.shards(SELECT):
        return Columns(dataset)
    if dataset.shards(PACKED):
        return Packed(dataset)
    raise ConfigError(
        f"dataset must have images to train on, got no finished shard in {dataset.store.url}. Run `onegen build`."
    )


def wanted_columns(captions: Sequence[str]) -> tuple[str, ...]:
    """Return the columns that any task may need."""
    needed = (column for needs in NEEDS.values() for column in needs.columns)
    return tuple(dict.fromkeys((*needed, *(name for name in captions or (CAPTION,) if name != ORIGINAL))))


class Columns:
    """The committed columns of a dataset."""

    name = "columns"

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        self._columns = dataset.columns()
        self._takedowns = read_takedowns(dataset.store)

    def describe(self) -> str:
        """Return the columns there are."""
        return "columns " + ", ".join(self._columns)

    def scan(self, captions: Sequence[str]) -> Iterator[ScannedShard]:
        """Yield the shards whose images and verdicts are committed."""
        for shard in sorted(set(self._dataset.shards(IMAGE)) & set(self._dataset.shards(SELECT))):
            yield self._scan(shard, captions)

    def _scan(self, shard: int, captions: Sequence[str]) -> ScannedShard:
        manifest = self._dataset.require_manifest(IMAGE, shard)
        check_tar(self._dataset, manifest)
        image = ShardTable(self._dataset, manifest, _IMAGE_FIELDS)
        select = ShardTable(self._dataset, self._dataset.require_manifest(SELECT, shard), (DROPPED,))
        ok = _array(pc.and_(image.is_ok(), select.is_ok()))
        ok[sorted(taken_positions(self._dataset, self._takedowns, manifest))] = False
        has = {column: self._has(column, shard, len(image)) for column in wanted_columns(captions)}
        dropped = select.table.column(DROPPED).to_pylist() if DROPPED in select.fields else None
        return scanned(shard, manifest.kind, _Images(image.table, "", dropped), ok, has, captions)

    def _has(self, column: str, shard: int, num_rows: int) -> np.ndarray:
        """Return which rows of a shard a column is ok for, and has something to draw."""
        manifest = self._dataset.manifest(column, shard) if column in self._columns else None
        if manifest is None:
            return np.zeros(num_rows, bool)
        check_tar(self._dataset, manifest)
        count = COUNTS.get(column)
        table = ShardTable(self._dataset, manifest, (count,) if count else ())
        ok = table.is_ok()
        return _array(pc.and_(ok, _is_above_0(table.table.column(count))) if count in table.fields else ok)


class Packed:
    """The packed view of a dataset."""

    name = "packed"

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        self._takedowns = read_takedowns(dataset.store)

    def describe(self) -> str:
        """Return that it is packed."""
        return f"packed, {len(self._dataset.shards(PACKED))} shards"

    def scan(self, captions: Sequence[str]) -> Iterator[ScannedShard]:
        """Yield the shards that are packed."""
        for manifest in self._dataset.manifests(PACKED):
            check_tar(self._dataset, manifest)
            yield self._scan(manifest, captions)

    def _scan(self, manifest: Manifest, captions: Sequence[str]) -> ScannedShard:
        columns = wanted_columns(captions)
        table = ShardTable(self._dataset, manifest, (IMAGE, *columns))
        names = table.part_names()
        has = {}
        for column in columns:
            part = PARTS.get(column)
            if part is not None:
                has[column] = np.array([part in each for each in names], bool)
            elif column in table.fields:
                has[column] = _array(_is_said(table.table.column(column), COUNTS.get(column)))
            else:
                has[column] = np.zeros(len(table), bool)
        images, ok = _Images(table.table, IMAGE), _array(table.is_ok())
        ok[sorted(taken_positions(self._dataset, self._takedowns, manifest))] = False
        return scanned(manifest.shard, manifest.kind, images, ok, has, captions)


class _Images:
    """The fields of the image column, wherever they stand in a table."""

    def __init__(
        self, table: pa.Table, struct: str, dropped: Sequence[Sequence[Mapping[str, Any]] | None] | None = None
    ) -> None:
        self._dropped = dropped
        self.keys = table.column("key").to_pylist()
        source = pa.Table.from_struct_array(table.column(struct)) if struct else table
        self._fields = {name: source.column(name).to_pylist() for name in _IMAGE_FIELDS if name in source.column_names}

    def row(self, position: int) -> dict[str, Any]:
        """Return the fields of a row."""
        return {name: values[position] for name, values in self._fields.items()}

    def kept(self, position: int) -> list[int]:
        """Return which images of a row `select` has kept: a set may lose some and go on."""
        lost = {entry["image"] for entry in (self._dropped[position] or ())} if self._dropped else ()
        count = 1 + len((self._fields[OTHERS][position] or ()) if OTHERS in self._fields else ())
        return [image for image in range(count) if image not in lost]


def scanned(
    shard: int,
    kind: Kind,
    images: _Images,
    ok: np.ndarray,
    has: Mapping[str, np.ndarray],
    captions: Sequence[str],
) -> ScannedShard:
    """Return the rows of a shard that are ok, given which columns each has."""
    positions = np.flatnonzero(ok)
    rows = [images.row(position) for position in positions.tolist()]
    kept = [images.kept(position) for position in positions.tolist()]
    all_sizes = [[(r["height"], r["width"]) for r in (row, *(row.get(OTHERS) or ()))] for row in rows]
    sizes = [[own[image] for image in stay] for own, stay in zip(all_sizes, kept, strict=True)]
    texts = [images.keys[position] for position in positions]
    has = {column: held[positions] for column, held in has.items()}
    num_images = np.array([len(each) for each in sizes], np.int64)
    return ScannedShard(
        shard,
        positions,
        texts,
        np.array([key_number(key) for key in texts], np.uint64),
        np.array([group_of(key, row) for key, row in zip(texts, rows, strict=True)], np.uint64),
        served(kind, rows, num_images, has, captions),
        num_images,
        np.array([image for stay in kept for image in stay], np.uint16),
        np.array([size for each in sizes for size in each], np.int32).reshape(-1, 2),
    )


def served(
    kind: Kind,
    rows: Sequence[Mapping[str, Any]],
    num_images: np.ndarray,
    has: Mapping[str, np.ndarray],
    captions: Sequence[str],
) -> np.ndarray:
    """Return the tasks that each row can serve, a bit a task."""
    came_along = np.array([bool(row.get("caption")) for row in rows], bool)
    said = [came_along if name == ORIGINAL else has[name] for name in captions or (CAPTION, ORIGINAL)]
    is_captioned = np.any(said, axis=0) if rows else np.zeros(0, bool)
    tasks = np.zeros(len(rows), np.uint32)
    for number, name in enumerate(ORDER):
        needs = NEEDS[name]
        if needs.kind != kind:
            continue
        serves = num_images >= needs.images
        for column in needs.columns:
            serves &= has[column]
        if needs.field:
            serves &= np.array([bool(row.get(needs.field)) for row in rows], bool)
        if needs.is_captioned:
            serves &= is_captioned
        tasks[serves] |= np.uint32(1 << number)
    return tasks


def _is_above_0(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.fill_null(pc.greater(column, 0), False)


def _is_said(column: pa.ChunkedArray, count: str | None) -> pa.ChunkedArray:
    """Return which structs of the packed index are there, and count something where they count."""
    there = pc.is_valid(column)
    names = [field.name for field in column.type]
    return pc.and_(there, _is_above_0(pc.struct_field(column, [count]))) if count in names else there


def _array(column: pa.ChunkedArray) -> np.ndarray:
    return np.array(column.to_numpy(zero_copy_only=False), bool)
