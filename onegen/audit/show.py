"""Look at samples: every column of a few keys on one contact sheet. `onegen show DATASET [KEY...] --out sheet.png`."""

import contextlib
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from onegen.audit.cameras import draw_cameras
from onegen.audit.readable import readable
from onegen.audit.sheet import Tile, contact_sheet
from onegen.errors import ConfigError, SampleError, nearest
from onegen.geometry.cameras import from_record
from onegen.pixels.codec import decode_image
from onegen.pixels.upright import to_rgb
from onegen.sample import IMAGE, SELECT, Annotation, Kind
from onegen.shards.column import ColumnReader
from onegen.shards.dataset import Dataset, manifest_name
from onegen.shards.index import Row
from onegen.shards.takedowns import read_takedowns, taken_positions, version_of
from onegen.shards.views import SETS, dropped, split_name, values_of
from onegen.tasks.conditions import pictures

FIRST = 12
SIDE_BY_SIDE = 8
"""Images of a set that stand in one row."""
CAPTION_WORDS = 40
_DRAWN_AS = {"segmentation": "masks", "entities": "boxes"}
ROLES: Mapping[Kind, tuple[str, ...]] = {"image": ("",), "pair": ("target", "source")}
"""What the images of a sample are to it, where it always has as many."""
_DRAWN_NOTE = ("drawn, not stored",)
_Read = tuple[Row, dict[str, bytes]]  # a row of a column and its parts


SHORT = 12
"""Digits of a digest on a picture."""


def show(dataset: Dataset, keys: Sequence[str] = (), columns: Sequence[str] = ()) -> Image.Image:
    """Return a contact sheet of these keys (any unambiguous beginnings), or of the first 12 whose image is ok.

    Beside images it has these columns, or all. Raises ConfigError for a key or column the dataset does not have.
    """
    card = dataset.require_card()
    known = [column for column in dataset.columns() if column not in (IMAGE, SELECT)]
    for column in columns:
        if column not in known:
            raise ConfigError(f"column must be one of the dataset, got {column!r}; {nearest(column, known)}")
    columns = columns or known
    samples = [tiles_of(dataset, columns, shard, position) for shard, position in _find(dataset, keys)]
    if not samples:
        raise ConfigError(f"{dataset.store.url} must hold an image that is ok, and has none. See `onegen status`.")
    rows = [row for sample in samples for row in sample]
    version = version_of(card.digest, read_takedowns(dataset.store))
    told = f", version {'+'.join(digest[:SHORT] for digest in version.split('+'))}" if version else ""
    return contact_sheet(rows, f"{card.name}: {len(samples)} of {card.plan.items:,} samples{told}")


def _find(dataset: Dataset, keys: Sequence[str]) -> list[tuple[int, int]]:
    """Return (shard, position) of the wanted rows, in the order asked for."""
    places: dict[str, tuple[int, int]] = {}
    for shard, row in _images(dataset):
        for key in keys or [row.key or ""]:
            if row.key and row.key.startswith(key):
                places.setdefault(key if keys else row.key, (shard, row.position))
        if len(places) >= (len(keys) or FIRST):
            break
    missing = [key for key in keys if key not in places]
    if missing:
        raise ConfigError(
            f"key must be in the dataset with an image that is ok and not taken down, got {missing[0]!r}. "
            f"Keys are the tar member names."
        )
    return [places[key] for key in keys] if keys else list(places.values())


def _images(dataset: Dataset) -> Iterator[tuple[int, Row]]:
    takedowns = read_takedowns(dataset.store)
    for manifest in dataset.manifests(IMAGE):
        with readable(f"the index of {manifest_name(IMAGE, manifest.shard)}"):
            rows, taken = dataset.rows(manifest), taken_positions(dataset, takedowns, manifest)
        for row in rows:
            if row.status == "ok" and row.position not in taken:
                yield manifest.shard, row


def tiles_of(dataset: Dataset, columns: Sequence[str], shard: int, position: int) -> list[list[Tile]]:
    """Return the rows of tiles of a sample; raises ConfigError where what is stored of it does not decode."""
    sample = f"sample {position} of shard {shard:06d}"
    try:
        with readable(sample):
            return _tiles(dataset, columns, shard, position)
    except SampleError as error:
        raise ConfigError(f"{sample} must be readable: {error}") from error


def _tiles(dataset: Dataset, columns: Sequence[str], shard: int, position: int) -> list[list[Tile]]:
    """Return a row of tiles for each image of a sample."""
    image = _read(dataset, IMAGE, shard, position)
    assert image is not None
    reads = {column: _read(dataset, column, shard, position) for column in columns}
    kind = dataset.require_card().kind
    if kind in SETS:
        select = _read(dataset, SELECT, shard, position) if SELECT in dataset.columns() else None
        return _set_rows(image, reads, _left_out(select[0], len(image[0].parts)) if select else {})
    return [_row(image, reads, index, role) for index, role in enumerate(ROLES[kind])]


def _left_out(select: Row, count: int) -> dict[int, str]:
    """Return why images of a set do not go on, by number: they are left out, or the whole set is."""
    whole = {} if select.status == "ok" else dict.fromkeys(range(count), str(select.reason))
    return whole | {entry["image"]: entry["reason"] for entry in dropped(select)}


def _set_rows(image: _Read, reads: Mapping[str, _Read | None], lost: Mapping[int, str]) -> list[list[Tile]]:
    """Return the images of a set side by side, so many a row, and below each what can be drawn of it.

    `lost` says why `select` left images out. What is said of all images alike stands below the first alone.
    """
    per_image = _once([_row(image, reads, index, "") for index in range(len(image[0].parts))])
    rows: list[list[Tile]] = []
    cameras = [from_record(camera) for i in range(len(per_image)) if (camera := values_of(image[0], i).get("camera"))]
    for start in range(0, len(per_image), SIDE_BY_SIDE):
        group = list(enumerate(per_image))[start : start + SIDE_BY_SIDE]
        rows.append(
            [_placed(tiles[0], index - start, (f"{index}", *_said(image[0], index, lost))) for index, tiles in group]
        )
        drawn = [tile for _, tiles in group for tile in tiles[1:] if tile.picture is not None]
        labels = dict.fromkeys(tile.label for tile in drawn if tile.lines != _DRAWN_NOTE)
        for label in labels:
            of_label = [(i, tile) for i, tiles in group for tile in tiles if tile.label == label]
            rows.append([_placed(tile, index - start, (label,)) for index, tile in of_label])
        for label in ("caption", "values"):
            of_label = [(i, tile) for i, tiles in group for tile in tiles if tile.label == label and tile.lines]
            if any(tile.lines != ("none",) for _, tile in of_label):
                rows.append([_placed(tile, index - start, tile.lines) for index, tile in of_label])
    if cameras:
        rows[0].append(Tile(draw_cameras(cameras), "cameras", (f"{len(cameras)} cameras, 0 is the first",)))
    return rows


def _once(per_image: Sequence[list[Tile]]) -> list[list[Tile]]:
    """Return the tiles of each image, without the lines of text that the first has and all have."""
    texts = [{tile.label: tile.lines for tile in tiles if tile.picture is None} for tiles in per_image]
    shared = {
        label: set(lines).intersection(*(other.get(label, ()) for other in texts)) for label, lines in texts[0].items()
    }
    return [
        per_image[0],
        *(
            [
                Tile(None, tile.label, tuple(line for line in tile.lines if line not in shared.get(tile.label, ())))
                if tile.picture is None
                else tile
                for tile in tiles
            ]
            for tiles in per_image[1:]
        ),
    ]


def _placed(tile: Tile, place: int, lines: tuple[str, ...]) -> Tile:
    return Tile(tile.picture, f"image {place + 1}" if place else "image", lines)


def _said(row: Row, index: int, lost: Mapping[int, str]) -> tuple[str, ...]:
    """Return what stands below an image of a set: its file, the subject or sample, and why it is left out."""
    about = values_of(row, index)
    left_out = f"left out: {lost[index]}" if index in lost else None
    return tuple(filter(None, (str(about.get("uri") or row.values["item"]), row.key or "", left_out)))


def _row(image: _Read, reads: Mapping[str, _Read | None], index: int, role: str) -> list[Tile]:
    """Return one image, what can be drawn of its annotations, its caption, and every other value on one card.

    `role` is what the image is to its sample, empty where it is all of it.
    """
    row, parts = image
    (picture,) = _parts(parts, index).values()
    pixels = decode_image(picture)
    annotations = {
        column: Annotation(
            values_of(read[0], index), {name: _array(data) for name, data in _parts(read[1], index).items()}
        )
        for column, read in reads.items()
        if read and read[0].status == "ok"
    }
    drawn = pictures(pixels, annotations)
    if "segmentation" in annotations and "entities" not in annotations:
        # Without entities there are no colours to draw masks in.
        (indices,) = annotations["segmentation"].parts.values()
        drawn["masks"] = np.where(np.asarray(indices) > 0, 255, 0).astype(np.uint8)
    for column, annotation in annotations.items():
        if not drawn.keys() & {column, _DRAWN_AS.get(column, column)}:
            drawn |= {name.removesuffix(".png"): _look(part) for name, part in annotation.parts.items()}
    tiles = [Tile(pixels, IMAGE, (*filter(None, [role]), str(row.values["item"]), row.key or ""))]
    tiles += [Tile(picture, name, _DRAWN_NOTE if name == "canny" else ()) for name, picture in drawn.items()]
    tiles.append(Tile(None, "caption", _captions(row, annotations, index)))
    return [*tiles, Tile(None, "values", _card(reads, index))]


def _parts(parts: Mapping[str, bytes], index: int) -> dict[str, bytes]:
    """Return the parts of one image under the names they have where there is but one."""
    named = ((*split_name(name), data) for name, data in parts.items())
    return {name: data for owner, name, data in named if owner == index}


def _captions(row: Row, annotations: Mapping[str, Annotation], index: int) -> tuple[str, ...]:
    """Return what a pair is about, the caption that came with the image and the one that was made."""
    about = values_of(row, index)
    captions = {"instruction: ": about.get("instruction"), "subject: ": about.get("subject"), "": about.get("caption")}
    if "caption" in annotations:
        captions["made: "] = annotations["caption"].values.get("caption")
    return tuple(f"{origin}{_short(str(text))}" for origin, text in captions.items() if text) or ("none",)


def _card(reads: Mapping[str, _Read | None], index: int) -> tuple[str, ...]:
    """Return single values by name, and for columns without an answer why."""
    lines: list[str] = []
    for column, read in reads.items():
        if read is None:
            lines.append(f"{column}\tnot made yet")
        elif read[0].status != "ok":
            lines.append(f"{column}\t{read[0].status}: {read[0].reason}")
        elif column != "caption":
            values = values_of(read[0], index).items()
            lines += [
                f"{column if name == column else f'{column}.{name}'}\t{_brief(value)}"
                for name, value in values
                if _brief(value)
            ]
    return tuple(lines) or ("none",)


def _brief(value: Any) -> str:
    """Return a value in a few words; nothing for what is not known and for lists of things, which are drawn."""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list) and value and isinstance(value[0], float):
        return f"{len(value)} numbers"
    return _short(str(value)) if isinstance(value, (int, str, bool)) else ""


def _array(data: bytes) -> np.ndarray:
    """Return a stored map as its array; palette pictures give their indices."""
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image)


def _look(part: np.ndarray | bytes) -> np.ndarray:
    """Return a map nothing knows how to draw as it looks, RGB uint8 (H,W,3)."""
    return np.asarray(to_rgb(np.asarray(part)))


def _short(text: str) -> str:
    words = text.split()
    return " ".join(words[:CAPTION_WORDS]) + (" ..." if len(words) > CAPTION_WORDS else "")


def _read(dataset: Dataset, column: str, shard: int, position: int) -> _Read | None:
    """Return one row of a column and its parts, or None where the shard is not made yet."""
    manifest = dataset.manifest(column, shard)
    if manifest is None:
        return None
    with (
        readable(f"shard {shard:06d} of column {column}"),
        contextlib.closing(ColumnReader(dataset, manifest)) as reader,
    ):
        row = reader.rows[position]
        parts = {name: data for name, data in reader.parts(row).items() if column == IMAGE or name.endswith(".png")}
        return row, parts
