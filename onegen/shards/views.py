"""How a column says something of each image of a sample: one row, whatever the number of its images.

The plain fields and parts are those of the first image (the target of a pair). What is said of the further ones stands
in the field `others`, a list with one struct an image, and their parts are called `img1.depth.png`; those of a scene
are called `view00.depth.png` from the first on. Columns of kind `image` have no such field. A column that speaks of a
whole sample leaves it null.

A set (an identity, a scene) may lose images and go on: a column says in `dropped_images` which it has no answer for,
and why; its values of these are null. In the image column they are numbered as the plan has them, and are not stored;
in all others as the image column has them.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from onegen.errors import ConfigError
from onegen.sample import IMAGE, SELECT, Kind, Provides
from onegen.shards.index import IMAGE_FIELDS, Row
from onegen.shards.key import sample_key

OTHERS = "others"
PICTURE_FIELDS = ("width", "height", "phash", "caption", "licence", "attribution")
"""Fields of the image column that each image has its own of."""
CAMERA = pa.struct([("camera_to_world", pa.list_(pa.float64())), ("focal", pa.list_(pa.float64()))])
"""A camera: its 4x4 matrix row by row, OpenCV axes, and its focal lengths (x, y) in shorter sides of the image."""
KIND_FIELDS: Mapping[Kind, Mapping[str, pa.DataType]] = {
    "pair": {"instruction": pa.string(), "subject": pa.string()},
    "identity": {"subject": pa.string()},
    "scene": {"camera": CAMERA},
}
"""Fields of the image column that samples of a kind have: what leads from source to target, whom or what the images
show, and where each was seen from."""
PICTURES = ("jpg", "png", "webp")
"""What a stored image's part is called, by its format."""
SETS: tuple[Kind, ...] = ("identity", "scene")
"""Kinds whose samples may lose an image and go on."""
SET_PICTURE_FIELDS = ("uri", "camera")
"""Further fields that each image of a set has its own of."""
FEW_IMAGES = "few_images"
"""Why a set is left out that has lost too many images."""
DROPPED = "dropped_images"
DROPPED_TYPE = pa.list_(pa.struct([("image", pa.int32()), ("status", pa.string()), ("reason", pa.string())]))

_PREFIX = re.compile(r"(?:img|view)(\d+)\.")


def image_fields(kind: Kind) -> dict[str, pa.DataType]:
    """Return what the image column says of a sample and of one of its images."""
    return {**IMAGE_FIELDS, **KIND_FIELDS.get(kind, {})}


def stored_fields(column: str, fields: Mapping[str, pa.DataType], kind: Kind) -> dict[str, pa.DataType]:
    """Return the fields a column's index has in a dataset of a kind, given those it says of one image."""
    dropped = {DROPPED: DROPPED_TYPE} if kind in SETS else {}
    if kind == "image" or not fields:
        return {**fields, **dropped}
    if column == SELECT:
        return {**fields, **dropped}
    if column == IMAGE:
        known = image_fields(kind)
        names = (*PICTURE_FIELDS, *(name for name in SET_PICTURE_FIELDS if kind in SETS and name in known))
        picture = [(name, known[name]) for name in names]
        return {**known, OTHERS: pa.list_(pa.struct(picture)), **dropped}
    return {**fields, OTHERS: pa.list_(pa.struct(list(fields.items()))), **dropped}


def check_names(column: str, provides: Provides) -> None:
    """Raise ConfigError where a column gives a field or a part a name that several images need."""
    taken = [name for name in (OTHERS, DROPPED) if name in provides.fields]
    taken += [part.name for part in provides.parts if _PREFIX.match(part.name)]
    if taken:
        raise ConfigError(
            f"{column} must not call a field {OTHERS!r} or {DROPPED!r} nor a part 'img1.x', got {taken[0]!r}. "
            f"Rename it."
        )


def part_name(index: int, name: str, kind: Kind = "pair") -> str:
    """Return what a part of the image at `index` of a sample of a kind is called."""
    if kind == "scene":
        return f"view{index:02d}.{name}"
    return f"img{index}.{name}" if index else name


def split_name(name: str) -> tuple[int, str]:
    """Return which image a part belongs to, and its name for one image."""
    prefix = _PREFIX.match(name)
    return (int(prefix[1]), name[prefix.end() :]) if prefix else (0, name)


def joined_values(images: Sequence[Mapping[str, Any] | None]) -> dict[str, Any]:
    """Return the values of a row, given those of each image in order; None stands for an image without an answer."""
    first, *others = images
    own = dict(first or {})
    return {**own, OTHERS: [None if o is None else dict(o) for o in others]} if others and any(images) else own


def joined_parts(images: Sequence[Mapping[str, bytes]], kind: Kind = "pair") -> dict[str, bytes]:
    """Return the parts of a row of a kind, given those of each image in order."""
    return {part_name(index, name, kind): data for index, parts in enumerate(images) for name, data in parts.items()}


def values_of(row: Row, index: int) -> Mapping[str, Any]:
    """Return what a row says of one image; what it says of the whole sample holds for each.

    All is null of an image that the column has no answer for.
    """
    own = {name: value for name, value in row.values.items() if name not in (OTHERS, DROPPED)}
    others = row.values.get(OTHERS)
    if not index or not others:
        return own
    other = others[index - 1]
    return dict.fromkeys(own) if other is None else {**own, **other}


def narrowed(row: Row, kept: Sequence[int]) -> dict[str, Any]:
    """Return the values of a row of a set as if its sample had these images alone, numbered anew.

    What it says of the whole sample stays as it is, but for the digests of its images.
    """
    images = [{**values_of(row, index)} for index in kept]
    others = row.values.get(OTHERS)
    if not others:
        images = images[:1]
    values = joined_values(images)
    places = {index: place for place, index in enumerate(kept)}
    if row.values.get("members") is not None:
        # The image column names what it never stored, by its number in the plan.
        return {**values, "members": [row.values["members"][index] for index in kept], DROPPED: row.values.get(DROPPED)}
    lost = [{**entry, "image": places[entry["image"]]} for entry in dropped(row) if entry["image"] in places]
    return {**values, DROPPED: lost or None}


def dropped(row: Row) -> Sequence[Mapping[str, Any]]:
    """Return which images of its sample a row has no answer for: the number, status and reason of each."""
    return row.values.get(DROPPED) or ()


def failed_reasons(row: Row) -> list[str]:
    """Return why a row failed, or else why images failed that its set goes on without."""
    if row.status == "failed":
        return [row.reason or "unknown"]
    return [str(entry["reason"]) for entry in dropped(row) if entry["status"] == "failed"]


def key_of(row: Row, kind: Kind) -> str:
    """Return the key that follows from what a row of the image column says of a sample of a kind."""
    values = row.values
    own = [values.get("camera"), *((other or {}).get("camera") for other in values.get(OTHERS) or ())]
    cameras = [camera for camera in own if camera is not None]
    return sample_key(kind, values["members"] or [""], values.get("instruction"), values.get("subject"), cameras)


def kept_images(image: Row, others: Iterable[Row] = ()) -> list[int]:
    """Return which stored images of a sample all these rows of further columns have an answer for, in order.

    `select` has one for those that it keeps.
    """
    lost = {entry["image"] for row in others for entry in dropped(row)}
    return [index for index in range(len(image.parts)) if index not in lost]
