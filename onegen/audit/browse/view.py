"""What the page of `onegen browse` asks about a dataset: a page of samples, bars of a field, a sample, those like it.

Every question runs on a cursor of its own, is read only, and is given up after a while.
"""

import base64
import contextlib
import io
import shlex
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
from PIL import Image

from onegen.audit.browse.choice import Choice, Place, bars, count, places
from onegen.audit.browse.fields import fields_of, find_field
from onegen.audit.readable import readable
from onegen.audit.show import tiles_of
from onegen.audit.tables import Tables, quoted
from onegen.errors import ConfigError, SampleError
from onegen.pixels.codec import decode_image
from onegen.sample import IMAGE, SELECT
from onegen.shards.column import ColumnReader
from onegen.shards.dataset import Dataset, file_of, folder
from onegen.shards.scope import scope_of
from onegen.shards.takedowns import read_takedowns, taken_positions, version_of

PAGE = 48
"""Samples on a page."""
PATIENCE = 60.0
"""Seconds after which a question is given up."""
THUMBNAIL, LARGE = 200, 640
"""Longest sides in pixels of pictures in the grid, and of those of one sample."""
_KEPT, _OPEN = 4096, 8
"""Thumbnails that are kept (some 40 MB), and shards of images that are kept open."""
_FEATURES = "features"


@dataclass(frozen=True)
class Wanted:
    """What the controls of the page say: which samples, sorted by what, and which page of them, from 0."""

    where: str = ""
    sort: str = ""
    is_descending: bool = False
    page: int = 0


class Browser:
    """Answers questions about one dataset, on any thread; close it at the end."""

    def __init__(self, dataset: Dataset, tables: Tables, patience: float = PATIENCE) -> None:
        self._dataset, self._tables, self._patience = dataset, tables, patience
        self._card = dataset.require_card()
        self._fields = fields_of(tables)
        told = {"status": pa.string(), "reason": pa.string(), "key": pa.string()}
        self._scope = {
            column: {**told, **fields} for column, fields in scope_of(dataset, list(tables.manifests)).items()
        }
        self._thumbnails: OrderedDict[tuple[int, int], bytes] = OrderedDict()
        self._readers: OrderedDict[int, tuple[ColumnReader, frozenset[int]]] = OrderedDict()
        self._lock = threading.Lock()

    def about(self) -> dict[str, Any]:
        """Return what the page must know of the dataset before it asks anything."""
        numbers = [name for name, own in self._fields.items() if own.kind != "text" and own.column != IMAGE]
        return {
            "name": self._card.name,
            "version": version_of(self._card.digest, self._tables.takedowns) or "none yet",
            "url": self._dataset.store.url,
            "shell": shlex.quote(self._dataset.store.url),
            "shards": len(self._tables.manifests[IMAGE]),
            "planned": self._card.plan.shards,
            "fields": list(self._fields),
            "first": next(iter(numbers), f"{IMAGE}.width"),
            "embedding": self._embedding,
            "page": PAGE,
        }

    def samples(self, wanted: Wanted) -> dict[str, Any]:
        """Return how many samples are wanted, and those of the page; raises ConfigError for what cannot be asked."""
        shown = find_field(self._fields, wanted.sort) if wanted.sort else None
        with self._asking() as tables:
            relation = Choice(wanted.where, shown).relation(tables, self._scope)
            found = places(tables, relation, wanted.is_descending, max(0, wanted.page) * PAGE, PAGE)
            return {"total": count(tables, relation), "rows": _details(tables, found)}

    def bars(self, where: str, name: str) -> dict[str, Any]:
        """Return the bars of a field over the samples of an expression; raises ConfigError."""
        shown = find_field(self._fields, name)
        with self._asking() as tables:
            return {"field": name, "bars": bars(tables, Choice(where, shown).relation(tables, self._scope), shown)}

    def find(self, key: str) -> dict[str, Any]:
        """Return a sample by the beginning of its key; raises ConfigError where none whose image is ok has it."""
        with self._asking() as tables:
            found = tables.rows(
                f"SELECT shard, position FROM {quoted(IMAGE)} WHERE status = 'ok' AND starts_with(key, ?) "
                f"ORDER BY shard, position LIMIT 1",
                [key.strip()],
            )
        if not found or not key.strip():
            raise ConfigError(
                f"key must be in the dataset with an image that is ok, got {key!r}. Keys are the tar member names."
            )
        return self.sample(*found[0])

    def sample(self, shard: int, position: int) -> dict[str, Any]:
        """Return all columns of a sample, a row of tiles for each of its images; raises ConfigError."""
        with self._asking() as tables:
            found = _details(tables, [(shard, position, None)])
        if not found:
            raise ConfigError(f"sample {position} of shard {shard:06d} must have an image that is ok, and has none.")
        columns = [column for column in self._tables.manifests if column not in (IMAGE, SELECT)]
        tiles = [
            [
                {
                    "label": tile.label,
                    "picture": None if tile.picture is None else _url(tile.picture),
                    "lines": [line.split("\t", 1) for line in tile.lines],
                }
                for tile in row
            ]
            for row in tiles_of(self._dataset, columns, shard, position)
        ]
        return {**found[0], "tiles": tiles}

    def neighbours(self, shard: int, position: int) -> dict[str, Any]:
        """Return the samples nearest by the cosine of their embeddings, the sample itself first.

        Raises ConfigError where no column has embeddings, or none of this sample.
        """
        if self._embedding is None:
            raise ConfigError(
                "neighbours need a column with the field features, and there is none. Add `features: {}` to a stage of "
                "the recipe, and run `onegen build`."
            )
        source = f"FROM {quoted(self._embedding)} WHERE status = 'ok' AND {_FEATURES} IS NOT NULL"
        with self._asking() as tables:
            own = tables.rows(f"SELECT {_FEATURES} {source} AND shard = ? AND position = ?", [shard, position])
            if not own:
                raise ConfigError(f"{self._embedding} must have an answer for this sample, and has none.")
            # Arrays of a fixed length: duckdb finds nulls in lists that have none where another row has no list.
            kind = f"DOUBLE[{len(own[0][0])}]"
            near = f"array_cosine_similarity(TRY_CAST({_FEATURES} AS {kind}), ?::{kind})"
            found = tables.rows(
                f"SELECT shard, position, {near} AS near {source} ORDER BY shard != {shard} OR position != {position}, "
                f"near DESC NULLS LAST, shard, position LIMIT {PAGE}",
                [own[0][0]],
            )
            return {"total": len(found), "rows": _details(tables, [(row[0], row[1], row[2]) for row in found])}

    def thumbnail(self, shard: int, position: int) -> bytes:
        """Return the first image of a sample, small, as JPEG; raises ConfigError where it cannot be read."""
        self._refuse_late_takedowns()
        place = (shard, position)
        with self._lock:
            if place in self._thumbnails:
                self._thumbnails.move_to_end(place)
                return self._thumbnails[place]
        sample = f"sample {position} of shard {shard:06d}"
        try:
            with readable(sample):
                reader, taken = self._reader(shard)
                is_there = position < len(reader.rows) and position not in taken
                parts = reader.rows[position].parts if is_there else ()
                if not parts:
                    raise ConfigError(f"{sample} must have an image, and has none.")
                data = _jpeg(decode_image(reader.part(parts[0])), THUMBNAIL)
        except SampleError as error:
            raise ConfigError(f"{sample} must be readable: {error}") from error
        with self._lock:
            self._thumbnails[place] = data
            if len(self._thumbnails) > _KEPT:
                self._thumbnails.popitem(last=False)
        return data

    def close(self) -> None:
        """Close the shards that are open."""
        for reader, _ in self._readers.values():
            reader.close()

    @cached_property
    def _embedding(self) -> str | None:
        return next((column for column, fields in self._scope.items() if _FEATURES in fields), None)

    def _reader(self, shard: int) -> tuple[ColumnReader, frozenset[int]]:
        """Return a shard of images, and which of its rows are taken down."""
        with self._lock:
            if shard in self._readers:
                self._readers.move_to_end(shard)
                return self._readers[shard]
            manifest = next((m for m in self._tables.manifests[IMAGE] if m.shard == shard), None)
            if manifest is None:
                raise ConfigError(f"shard {shard:06d} must have images, and has none.")
            taken = taken_positions(self._dataset, self._tables.takedowns, manifest)
            opened = self._readers[shard] = ColumnReader(self._dataset, manifest), taken
            if len(self._readers) > _OPEN:
                # Not closed here: another thread may still read of it.
                self._readers.popitem(last=False)
            return opened

    def _refuse_late_takedowns(self) -> None:
        """Raise ConfigError where the list of takedowns is another than that which the tables were made by."""
        if read_takedowns(self._dataset.store).digest != self._tables.takedowns.digest:
            raise ConfigError("takedowns must be those of the start, and others came. Start onegen browse again.")

    def _refuse_replaced_indexes(self, error: BaseException) -> None:
        """Raise ConfigError where duckdb may not read a file because a build has replaced it meanwhile."""
        if not isinstance(error.__cause__, duckdb.PermissionException):
            return
        names = (
            f"{folder(column)}/{file_of(manifest, '.parquet')}"
            for column, manifests in self._tables.manifests.items()
            for manifest in manifests
        )
        if not all(self._dataset.store.exists(name) for name in names):
            raise ConfigError(
                "indexes must be those of the start, and others came. Start onegen browse again."
            ) from error

    @contextlib.contextmanager
    def _asking(self) -> Iterator[Tables]:
        """Give the tables on a cursor of this question's own, which is interrupted when it takes too long."""
        self._refuse_late_takedowns()
        cursor = self._tables.connection.cursor()
        is_late = threading.Event()

        def interrupt() -> None:
            is_late.set()
            cursor.interrupt()

        alarm = threading.Timer(self._patience, interrupt)
        alarm.daemon = True
        alarm.start()
        try:
            yield Tables(cursor, self._tables.manifests, self._tables.takedowns)
        except (duckdb.Error, ConfigError) as error:
            if is_late.is_set():
                raise ConfigError(f"answer must come in {self._patience:g} s, and did not. Ask for less.") from error
            self._refuse_replaced_indexes(error)
            raise
        finally:
            alarm.cancel()
            cursor.close()


def _details(tables: Tables, found: Sequence[Place]) -> list[dict[str, Any]]:
    """Return what the grid shows of samples, in their order; those whose image is not ok are left out."""
    if not found:
        return []
    listed = ", ".join(f"({int(shard)}, {int(position)})" for shard, position, _ in found)
    rows = tables.rows(
        f"SELECT shard, position, key, item, width, height, caption FROM {quoted(IMAGE)} WHERE status = 'ok' "
        f"AND (shard, position) IN (VALUES {listed})"
    )
    by_place = {row[:2]: row for row in rows}
    names = ("shard", "position", "key", "item", "width", "height", "caption")
    return [
        {**dict(zip(names, by_place[shard, position], strict=True)), "value": _plain(value)}
        for shard, position, value in found
        if (shard, position) in by_place
    ]


def _plain(value: Any) -> Any:
    """Return a value as JSON has it: numbers that no JSON has are text."""
    if isinstance(value, float) and not np.isfinite(value):
        return str(value)
    return value if isinstance(value, (int, float, str, bool, type(None))) else str(value)


def _jpeg(pixels: np.ndarray, side: int) -> bytes:
    image = Image.fromarray(np.ascontiguousarray(pixels)).convert("RGB")
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def _url(pixels: np.ndarray) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(_jpeg(pixels, LARGE)).decode()}"
