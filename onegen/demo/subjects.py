"""Pairs that show one subject, laid out as in Subjects200K: a picture of 1056x528, two tiles of 512 in margins of 8.

What the two have in common stands in `views`: `two photos` are two photos taken at different times, `stereo` is one
scene from two places a few centimetres apart, and `two crops` are parts of one single photo, which is as little as a
subject pair can be. `quality_assessment` is null: nobody judged these. The colour of the margins is our choice.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image

from onegen.demo.table import IMAGE, DemoPhoto, png, read_photo

TILE, MARGIN = 512, 8
Box = tuple[int, int, int, int]

SCHEMA = pa.schema(
    [
        ("image", IMAGE),
        ("collection", pa.string()),
        (
            "quality_assessment",
            pa.struct([(name, pa.int64()) for name in ("compositeStructure", "objectConsistency", "imageQuality")]),
        ),
        (
            "description",
            pa.struct(
                [
                    *((name, pa.string()) for name in ("item", "description_0", "description_1", "category")),
                    ("description_valid", pa.bool_()),
                ]
            ),
        ),
        ("views", pa.string()),
        ("licence", pa.string()),
        ("attribution", pa.string()),
        ("origin", pa.string()),
    ]
)


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a pair: a demo photo, a square (x0, y0, x1, y1) of its pixels, and what that shows."""

    photo: str
    square: Box
    caption: str


@dataclass(frozen=True, slots=True)
class SubjectPair:
    """Two sides that show one item, and how they come to."""

    item: str
    category: str
    views: str
    left: Side
    right: Side


def subjects_table(folder: Path) -> pa.Table:
    """Return every subject pair of the demo photos in a folder; raises ConfigError where one is missing."""
    return pa.Table.from_pylist([_row(pair, folder) for pair in PAIRS], SCHEMA)


def _row(pair: SubjectPair, folder: Path) -> dict[str, object]:
    photos = [read_photo(folder, side.photo) for side in (pair.left, pair.right)]
    tiles = [_tile(photo, side.square) for photo, side in zip(photos, (pair.left, pair.right), strict=True)]
    names = [Path(side.photo).stem for side in (pair.left, pair.right)]
    return {
        "image": {"bytes": png(np.concatenate(tiles, axis=1)), "path": f"{'-'.join(names)}.png"},
        "collection": "onegen_photos",
        "quality_assessment": None,
        "description": {
            "item": pair.item,
            "description_0": pair.left.caption,
            "description_1": pair.right.caption,
            "category": pair.category,
            "description_valid": True,
        },
        "views": pair.views,
        "licence": _both([photo.licence for photo in photos]),
        "attribution": _both([photo.attribution for photo in photos]),
        "origin": _both([photo.origin for photo in photos]),
    }


def _tile(photo: DemoPhoto, square: Box) -> np.ndarray:
    """Return a square of a photo as a tile with its margins, uint8 (528,528,3)."""
    cut = Image.fromarray(photo.pixels).crop(square).resize((TILE, TILE), Image.Resampling.LANCZOS)
    margins = ((MARGIN, MARGIN), (MARGIN, MARGIN), (0, 0))
    return np.pad(np.asarray(cut), margins, constant_values=255)


def _both(texts: list[str]) -> str:
    """Return the texts of both sides as one, once where they are the same."""
    return "; ".join(dict.fromkeys(texts))


_PORTRAIT = Side("obama.jpg", (60, 0, 910, 850), "Barack Obama smiles with crossed arms before flags, in a blue tie.")
_SPEECH = Side("obama2.jpg", (0, 150, 626, 776), "Barack Obama speaks into a microphone before a US flag.")
_BLUE_ROOM = Side(
    "obama3.jpg", (230, 130, 1280, 1180), "Barack Obama stands with crossed arms in a blue room, in a purple tie."
)

PAIRS = (
    SubjectPair("Barack Obama", "Person", "two photos", _PORTRAIT, _SPEECH),
    SubjectPair("Barack Obama", "Person", "two photos", _SPEECH, _BLUE_ROOM),
    SubjectPair("Barack Obama", "Person", "two photos", _BLUE_ROOM, _PORTRAIT),
    SubjectPair(
        "Red motorcycle",
        "Vehicle",
        "stereo",
        Side(
            "motorcycle_left.png",
            (180, 0, 680, 500),
            "A red motorcycle in a garage before shelves, seen by the left camera.",
        ),
        Side(
            "motorcycle_right.png",
            (180, 0, 680, 500),
            "A red motorcycle in a garage before shelves, seen by the right camera.",
        ),
    ),
    SubjectPair(
        "Red espresso cup",
        "Tableware",
        "two crops",
        Side("coffee.png", (80, 0, 480, 400), "A red espresso cup on its saucer with a spoon, on a wooden table."),
        Side("coffee.png", (165, 10, 435, 280), "A red espresso cup from close by."),
    ),
    SubjectPair(
        "Chinese temple tower",
        "Building",
        "two crops",
        Side("china.jpg", (40, 0, 467, 427), "A Chinese temple tower on a green hill above a lake."),
        Side("china.jpg", (90, 25, 310, 245), "The upper roofs of a Chinese temple tower against the sky."),
    ),
)
"""The subject pairs, with squares chosen by hand."""
