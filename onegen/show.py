"""Look at samples: every column of a few keys on one contact sheet. `onegen show DATASET [KEY...] --out sheet.png`."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from PIL import Image

from onegen.conditions import canny
from onegen.pixels import decode_image
from onegen.sample import ConfigError
from onegen.shards.column import ColumnReader
from onegen.shards.dataset import Dataset
from onegen.shards.index import Row
from onegen.sheet import Tile, contact_sheet

IMAGE, SELECT = "image", "select"
FIRST = 12
CAPTION_WORDS = 14


def show(dataset: Dataset, keys: Sequence[str] = ()) -> Image.Image:
    """Return a contact sheet of these keys (any unambiguous beginnings), or of the first 12 whose image is ok.

    Raises ConfigError for a key the dataset does not have.
    """
    card = dataset.require_card()
    columns = [column for column in dataset.columns() if column not in (IMAGE, SELECT)]
    rows = [_tiles(dataset, columns, shard, position) for shard, position in _find(dataset, keys)]
    if not rows:
        raise ConfigError(f"{dataset.store.url} must hold an image that is ok, and has none. See `onegen status`.")
    return contact_sheet(rows, f"{card.name}: {len(rows)} of {card.plan.items:,} samples")


def _find(dataset: Dataset, keys: Sequence[str]) -> list[tuple[int, int]]:
    """Return (shard, position) of the wanted rows, in the order asked for."""
    found: dict[str, tuple[int, int]] = {}
    for shard, row in _images(dataset):
        for key in keys or [row.key or ""]:
            if row.key and row.key.startswith(key):
                found.setdefault(key if keys else row.key, (shard, row.position))
        if len(found) >= (len(keys) or FIRST):
            break
    missing = [key for key in keys if key not in found]
    if missing:
        raise ConfigError(
            f"key must be in the dataset with an image that is ok, got {missing[0]!r}. Keys are the tar member names."
        )
    return [found[key] for key in keys] if keys else list(found.values())


def _images(dataset: Dataset) -> Iterator[tuple[int, Row]]:
    for manifest in dataset.manifests(IMAGE):
        for row in dataset.rows(manifest):
            if row.status == "ok":
                yield manifest.shard, row


def _tiles(dataset: Dataset, columns: Sequence[str], shard: int, position: int) -> list[Tile]:
    reader = _reader(dataset, IMAGE, shard)
    assert reader is not None
    row = reader.rows[position]
    pixels = decode_image(reader.part(row.parts[0]))
    reader.close()
    lines = (str(row.values["item"]), f"{row.key}", _short(row.values.get("caption")))
    tiles = [Tile(pixels, IMAGE, tuple(line for line in lines if line))]
    for column in columns:
        found = _reader(dataset, column, shard)
        tiles += _column_tiles(column, found, position) if found else [Tile(None, column, ("not made yet",))]
        if found:
            found.close()
    tiles.append(Tile(canny(pixels), "canny", ("drawn, not stored",)))
    # Pictures first: what is only text reads best beside them.
    return sorted(tiles, key=lambda tile: tile.picture is None)


def _column_tiles(column: str, reader: ColumnReader, position: int) -> list[Tile]:
    row = reader.rows[position]
    if row.status != "ok":
        return [Tile(None, column, (row.status, row.reason or ""))]
    values = _lines(row.values)
    maps = [(member.name, reader.part(member)) for member in row.parts if member.name.endswith(".png")]
    if not maps:
        return [Tile(None, column, values)]
    return [Tile(_picture(data), name.removesuffix(".png"), values) for name, data in maps]


def _picture(data: bytes) -> np.ndarray:
    """Return a stored map as something to look at: palettes in their colours, 16 bits as 8."""
    image = np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED))
    if image.dtype == np.uint16:
        return (image // 257).astype(np.uint8)
    return image if image.ndim == 2 else cv2.cvtColor(image[:, :, :3], cv2.COLOR_BGR2RGB)


def _lines(values: Mapping[str, Any]) -> tuple[str, ...]:
    lines = []
    for name, value in values.items():
        if isinstance(value, float):
            lines.append(f"{name}\t{value:.4g}")
        elif isinstance(value, (int, str, bool)):
            lines.append(f"{name}\t{_short(str(value))}")
        elif value is not None:
            lines.append(f"{name}\t{len(value)}")
    return tuple(lines)


def _short(text: str | None) -> str:
    words = (text or "").split()
    return " ".join(words[:CAPTION_WORDS]) + (" ..." if len(words) > CAPTION_WORDS else "")


def _reader(dataset: Dataset, column: str, shard: int) -> ColumnReader | None:
    manifest = dataset.manifest(column, shard)
    return ColumnReader(dataset, manifest) if manifest else None
