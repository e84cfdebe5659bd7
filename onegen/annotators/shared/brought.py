"""What a source brings, read as a modality stores it: maps of the original's size, records with boxes, words.

A modality that can be brought says how in a class of its module, which the module calls `BROUGHT`. docs/build.md.
"""

import io
import json
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any, ClassVar, Literal, Protocol

import numpy as np

from onegen.errors import SampleError
from onegen.pixels.boxes import CORNERS
from onegen.pixels.placement import lay_boxes, lay_points
from onegen.pixels.upright import decoded_as_stored, open_header
from onegen.sample import Annotation, Brought, Item, Placement, Provides, Rejected

NPY = b"\x93NUMPY"
"""How a file of `numpy.save` begins."""
_BITS_AT = 24  # in a PNG: bits a channel
_LARGEST = 1e15
_LOSSLESS = ("PNG", "TIFF")
_SLACK = 1.0
"""Pixels that a box or a point may stand outside of its picture: roundings of other people's tools."""

Form = Literal["xyxy", "xywh"]
Unit = Literal["pixels", "share"]


class BroughtReader(Protocol):
    """How a modality takes what a source brings: a frozen dataclass whose fields are further options of the entry.

    `version` is raised when results change. `is_file` says that what is brought is a picture, so that text in a table
    is its path; `on_pixels` that it lies on the pixels of the original and needs the item's `placement`.
    """

    version: ClassVar[int]
    provides: ClassVar[Provides]
    is_file: ClassVar[bool]
    on_pixels: ClassVar[bool]

    def take(self, item: Item) -> Annotation | Rejected:
        """Return what the column stores of `item.brought`; raises SampleError for what it cannot."""
        ...


def brought_of(item: Item) -> Brought:
    """Return what the source says of an item that it says something of."""
    assert item.brought is not None, "only what is there is read"
    return item.brought


def placement_in(brought: Brought) -> Placement:
    """Return where the original lies, for a modality that is `on_pixels`."""
    assert brought.placement is not None, "a modality on pixels is fed with the placement"
    return brought.placement


def map_of(brought: Brought, modes: Collection[str]) -> np.ndarray:
    """Return a brought map as its file holds it, (H,W) of the original's size.

    `modes` are Pillow's for the PNG and TIFF files that will do, and `npy` for arrays of numpy. Raises SampleError
    brought_size, brought_pixels, or as `onegen.pixels.upright` does for a file that is no picture.
    """
    data = brought.value
    if not isinstance(data, bytes):
        raise SampleError("brought_pixels", f"{brought.place} must be a picture, got {_shown(data)}.")
    if data.startswith(NPY) and "npy" in modes:
        return _sized(brought, _array(brought.place, data))
    image = open_header(data)
    if image.format not in _LOSSLESS or image.mode not in modes:
        raise SampleError(
            "brought_pixels",
            f"{brought.place} must be PNG or TIFF of mode {' or '.join(modes)}, got {image.format} of mode "
            f"{image.mode}. Write one number a pixel, without loss.",
        )
    _check_size(brought, (image.height, image.width))
    numbers = _sized(brought, decoded_as_stored(image))
    bits = data[_BITS_AT] if image.format == "PNG" and image.mode == "L" else 8
    # Grey of 2 or 4 bits comes out stretched to 255, which is right for a picture and wrong for numbers.
    return numbers // (255 // (2**bits - 1)) if "P" in modes and bits < 8 else numbers


def _array(place: str, data: bytes) -> np.ndarray:
    try:
        array = np.load(io.BytesIO(data), allow_pickle=False)
    except (ValueError, OSError, EOFError, SyntaxError) as error:
        raise SampleError("brought_pixels", f"{place} must be a whole array of numbers: {error}.") from error
    if array.ndim != 2 or array.dtype.kind not in "uif":
        raise SampleError("brought_pixels", f"{place} must hold numbers (H,W), got {array.dtype} {array.shape}.")
    return np.asarray(array)


def _sized(brought: Brought, array: np.ndarray) -> np.ndarray:
    _check_size(brought, array.shape[:2])
    return array


def _check_size(brought: Brought, size: Sequence[int]) -> None:
    height, width = placement_in(brought).original
    if tuple(size) != (height, width):
        raise SampleError(
            "brought_size",
            f"{brought.place} must have the size of its picture, {width}x{height}, got {size[1]}x{size[0]}. "
            f"Give the one made of this picture; with upright: true it lies on the picture as viewers turn it.",
        )


def plain_of(brought: Brought) -> Any:
    """Return plain data: what JSON text says, or what a table holds; raises SampleError brought_value."""
    value = brought.value
    if not isinstance(value, str | bytes):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError) as error:
        raise SampleError("brought_value", f"{brought.place} must be JSON: {error}.") from error


def text_of(brought: Brought) -> str:
    """Return text, the first of a list of texts that says something, "" for none; raises SampleError brought_value."""
    value = brought.value
    for text in value if isinstance(value, list | tuple) else [value]:
        if isinstance(text, bytes):
            try:
                text = text.decode("utf-8-sig")
            except UnicodeDecodeError as error:
                raise SampleError("brought_value", f"{brought.place} must be UTF-8 text: {error}.") from error
        if not isinstance(text, str | None):
            raise SampleError("brought_value", f"{brought.place} must be text, got {_shown(text)}.")
        if text is not None and text.strip():
            return text
    return ""


def records_of(brought: Brought, field: str) -> list[Mapping[str, Any]]:
    """Return a list of records: one as it is, one under the name `field`, or lists side by side as tables have them.

    Raises SampleError brought_value.
    """
    value = plain_of(brought)
    if isinstance(value, Mapping) and isinstance(value.get(field), list | Mapping):
        value = value[field]
    if isinstance(value, Mapping) and value and all(isinstance(column, list) for column in value.values()):
        lengths = {len(column) for column in value.values()}
        if len(lengths) == 1:
            value = [dict(zip(value, row, strict=True)) for row in zip(*value.values(), strict=True)]
    if not isinstance(value, list) or not all(isinstance(record, Mapping) for record in value):
        raise SampleError("brought_value", f"{brought.place} must be a list of records, got {_shown(value)}.")
    return value


def boxes_of(
    brought: Brought, records: Sequence[Mapping[str, Any]], box: str | None, form: Form | None, unit: Unit
) -> np.ndarray:
    """Return the records' boxes on the stored image, (N,4) of x0, y0, x1, y1; raises SampleError brought_box.

    A record has the four as fields, or as a list in the field `box` (else in one called box or bbox) of a `form`, in
    pixels or in shares of the original's width and height.
    """
    placement = placement_in(brought)
    boxes = np.array([_corners(brought.place, record, box, form) for record in records], np.float64).reshape(-1, 4)
    height, width = placement.original
    limits = np.array([width, height] * 2, np.float64)
    boxes = boxes * limits if unit == "share" else boxes
    inside = (boxes >= -_SLACK) & (boxes <= limits + _SLACK)
    boxes = np.clip(boxes, 0.0, limits)
    sound = inside.all(axis=1) & (boxes[:, 0] < boxes[:, 2]) & (boxes[:, 1] < boxes[:, 3])
    if not sound.all():
        record = records[int(np.argmin(sound))]
        raise SampleError(
            "brought_box",
            f"{brought.place} must have boxes inside the picture of {width}x{height}, left before right and top before "
            f"bottom, got {_shown(record)}.",
        )
    return lay_boxes(placement, boxes)


def points_of(brought: Brought, record: Mapping[str, Any], count: int, visible: float, unit: Unit) -> np.ndarray:
    """Return a record's `keypoints` on the stored image, (count,3) of x, y and visibility in [0, 1].

    Raises SampleError brought_points where they are not as many finite numbers, and for one that is seen outside.
    """
    placement, points = placement_in(brought), record.get("keypoints")
    points = points if isinstance(points, list | tuple) else ()
    flat = [value for point in points for value in (point if isinstance(point, list | tuple) else [point])]
    if len(flat) != 3 * count or not all(_is_number(value) for value in flat):
        raise SampleError(
            "brought_points",
            f"{brought.place} must have {count} keypoints of three finite numbers, got {_shown(record)}.",
        )
    body = np.array(flat, np.float64).reshape(count, 3)
    height, width = placement.original
    limits = np.array([width, height], np.float64)
    places, seen = body[:, :2] * (limits if unit == "share" else 1.0), body[:, 2] / visible
    inside = ((places >= -_SLACK) & (places <= limits + _SLACK)).all(axis=1)
    if not (inside | (seen <= 0)).all() or seen.min() < 0 or seen.max() > 1:
        raise SampleError(
            "brought_points",
            f"{brought.place} must have its keypoints inside the picture of {width}x{height}, and third numbers in "
            f"[0, {visible:g}], got {_shown(record)}. Files of COCO want visible: 2.",
        )
    return np.column_stack([lay_points(placement, np.clip(places, 0.0, limits)), seen])


def number_of(place: str, value: Any, low: float = -math.inf, high: float = math.inf) -> float:
    """Return a finite number within limits; raises SampleError brought_value."""
    if not _is_number(value):
        raise SampleError("brought_value", f"{place} must be a finite number, got {_shown(value)}.")
    if not low <= value <= high:
        raise SampleError("brought_value", f"{place} must be in [{low:g}, {high:g}], got {value}.")
    return float(value)


def scores_of(brought: Brought, records: Sequence[Mapping[str, Any]], field: str) -> np.ndarray:
    """Return the records' scores (N,) in [0, 1]: 1 where a record has none, for it was not guessed."""
    place = f"{field} in {brought.place}"
    scores = [1.0 if record.get(field) is None else number_of(place, record[field], 0.0, 1.0) for record in records]
    return np.array(scores, np.float64)


def labels_of(brought: Brought, records: Sequence[Mapping[str, Any]], field: str, names: Sequence[str]) -> list[str]:
    """Return the records' labels: text, or numbers that count `names` from 0; raises SampleError brought_value."""
    return [_label(brought.place, record.get(field), field, names) for record in records]


def _label(place: str, label: Any, field: str, names: Sequence[str]) -> str:
    if isinstance(label, int) and not isinstance(label, bool) and 0 <= label < len(names):
        return names[label]
    if not isinstance(label, str) or not label.strip():
        raise SampleError(
            "brought_value",
            f"{place} must have a name in {field!r}, got {_shown(label)}. Name the field with label: category; what "
            f"numbers stand for with names: [cat, dog].",
        )
    return label


def _corners(place: str, record: Mapping[str, Any], box: str | None, form: Form | None) -> list[float]:
    values: Any
    if box is None and all(corner in record for corner in CORNERS):
        values, form = [record[corner] for corner in CORNERS], "xyxy"
    else:
        name = box or next((name for name in ("box", "bbox") if name in record), "box")
        values = record.get(name)
        if form is None:
            raise SampleError(
                "brought_box",
                f"{place} must have boxes as {', '.join(CORNERS)}, or a form beside their field, got {_shown(record)}. "
                f"Say form: xyxy or form: xywh.",
            )
    sound = isinstance(values, list | tuple) and len(values) == 4
    if not sound or not all(_is_number(value) for value in values):
        raise SampleError("brought_box", f"{place} must have boxes of four finite numbers, got {_shown(record)}.")
    x, y, right, below = map(float, values)
    return [x, y, x + right, y + below] if form == "xywh" else [x, y, right, below]


def _is_number(value: Any) -> bool:
    # Compared, not asked whether it is finite: JSON has whole numbers that no float can hold.
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _LARGEST


def _shown(value: Any) -> str:
    return f"{value!r}"[:200]
