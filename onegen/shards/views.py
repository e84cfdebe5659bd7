"""How a column says something of each image of a sample: one row, whatever the number of its images.

The plain fields and parts are those of the first image (the target of a pair). What is said of the further ones stands
in the field `others`, a list with one struct an image, and their parts are called `img1.depth.png`. Columns of kind
`image` have no such field. A column that speaks of a whole sample leaves it null.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from onegen.errors import ConfigError
from onegen.sample import IMAGE, Kind, Provides
from onegen.shards.index import IMAGE_FIELDS, Row

OTHERS = "others"
PICTURE_FIELDS = ("width", "height", "phash", "caption", "licence", "attribution")
"""Fields of the image column that each image has its own of."""
PAIR_FIELDS: Mapping[str, pa.DataType] = {"instruction": pa.string(), "subject": pa.string()}
"""Fields of the image column that a pair has: what leads from source to target, or what both show."""

_PREFIX = re.compile(r"img(\d+)\.")


def image_fields(kind: Kind) -> dict[str, pa.DataType]:
    """Return what the image column says of a sample and of one of its images."""
    return {**IMAGE_FIELDS, **PAIR_FIELDS} if kind == "pair" else dict(IMAGE_FIELDS)


def stored_fields(column: str, fields: Mapping[str, pa.DataType], kind: Kind) -> dict[str, pa.DataType]:
    """Return the fields a column's index has in a dataset of a kind, given those it says of one image."""
    if kind == "image" or not fields:
        return dict(fields)
    if column == IMAGE:
        picture = {name: fields[name] for name in PICTURE_FIELDS}
        return {**image_fields(kind), OTHERS: pa.list_(pa.struct(list(picture.items())))}
    return {**fields, OTHERS: pa.list_(pa.struct(list(fields.items())))}


def check_names(column: str, provides: Provides) -> None:
    """Raise ConfigError where a column gives a field or a part a name that several images need."""
    taken = [OTHERS] * (OTHERS in provides.fields) + [p.name for p in provides.parts if _PREFIX.match(p.name)]
    if taken:
        raise ConfigError(
            f"{column} must not call a field {OTHERS!r} nor a part 'img1.x', got {taken[0]!r}. Rename it."
        )


def part_name(index: int, name: str) -> str:
    """Return what a part of the image at `index` is called."""
    return f"img{index}.{name}" if index else name


def split_name(name: str) -> tuple[int, str]:
    """Return which image a part belongs to, and its name for one image."""
    prefix = _PREFIX.match(name)
    return (int(prefix[1]), name[prefix.end() :]) if prefix else (0, name)


def joined_values(images: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the values of a row, given those of each image in order."""
    first, *others = images
    return {**first, OTHERS: [dict(values) for values in others]} if others and any(images) else dict(first)


def joined_parts(images: Sequence[Mapping[str, bytes]]) -> dict[str, bytes]:
    """Return the parts of a row, given those of each image in order."""
    return {part_name(index, name): data for index, parts in enumerate(images) for name, data in parts.items()}


def values_of(row: Row, index: int) -> Mapping[str, Any]:
    """Return what a row says of one image; what it says of the whole sample holds for each."""
    own = {name: value for name, value in row.values.items() if name != OTHERS}
    others = row.values.get(OTHERS)
    return {**own, **others[index - 1]} if index and others else own
