"""Records that a source brings: things with a label, a box, a score, perhaps keypoints, laid on the stored image."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from onegen.annotators.shared.brought import BaseReader, is_number, number_of, placement_in, plain_of, shown
from onegen.errors import SampleError
from onegen.pixels.boxes import CORNERS
from onegen.pixels.placement import lay_boxes, lay_points
from onegen.sample import Brought

_SLACK = 1.0
"""Pixels that a box or a point may stand outside of its picture: roundings of other people's tools."""

Form = Literal["xyxy", "xywh"]
Unit = Literal["pixels", "share"]


@dataclass(frozen=True)
class RecordReader(BaseReader):
    """Base of readers of records with boxes.

    `score` names a field. A box is four fields x0, y0, x1, y1, or a list in the field `box` (else in one called box or
    bbox) whose `form` is xyxy or xywh, in `unit` pixels or shares of the side.
    """

    score: str = "score"
    box: str | None = None
    form: Form | None = None
    unit: Unit = "pixels"

    on_pixels: ClassVar[bool] = True

    def placed(self, brought: Brought, field: str) -> tuple[list[Mapping[str, Any]], np.ndarray, np.ndarray]:
        """Return records, which may stand under the name `field`, their scores (N,) and boxes (N,4) on the image.

        Raises SampleError brought_box or brought_value.
        """
        records = records_of(brought, field)
        boxes = boxes_of(brought, records, self.box, self.form, self.unit)
        return records, scores_of(brought, records, self.score), boxes


@dataclass(frozen=True)
class ThingReader(RecordReader):
    """Base of readers of named things: `label` names a field, `names` says what labels that are numbers stand for."""

    label: str = "label"
    names: tuple[str, ...] = ()

    def named(self, brought: Brought, field: str) -> tuple[list[str], np.ndarray, np.ndarray]:
        """Return labels, scores (N,) and boxes (N,4) on the image; raises SampleError as `placed` does."""
        records, scores, boxes = self.placed(brought, field)
        return labels_of(brought, records, self.label, self.names), scores, boxes


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
        raise SampleError("brought_value", f"{brought.place} must be a list of records, got {shown(value)}.")
    return value


def boxes_of(
    brought: Brought, records: Sequence[Mapping[str, Any]], box: str | None, form: Form | None, unit: Unit
) -> np.ndarray:
    """Return the records' boxes on the stored image, (N,4) of x0, y0, x1, y1; raises SampleError brought_box.

    See `RecordReader`; shares are of the original's width and height.
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
            f"bottom, got {shown(record)}.",
        )
    return lay_boxes(placement, boxes)


def points_of(brought: Brought, record: Mapping[str, Any], count: int, visible: float, unit: Unit) -> np.ndarray:
    """Return a record's `keypoints` on the stored image, (count,3) of x, y and visibility in [0, 1].

    Raises SampleError brought_points where they are not as many finite numbers, and for one that is seen outside.
    """
    placement, points = placement_in(brought), record.get("keypoints")
    points = points if isinstance(points, list | tuple) else ()
    flat = [value for point in points for value in (point if isinstance(point, list | tuple) else [point])]
    if len(flat) != 3 * count or not all(is_number(value) for value in flat):
        raise SampleError(
            "brought_points",
            f"{brought.place} must have {count} keypoints of three finite numbers, got {shown(record)}.",
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
            f"[0, {visible:g}], got {shown(record)}. Files of COCO want visible: 2.",
        )
    return np.column_stack([lay_points(placement, np.clip(places, 0.0, limits)), seen])


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
            f"{place} must have a name in {field!r}, got {shown(label)}. Name the field with label: category; what "
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
                f"{place} must have boxes as {', '.join(CORNERS)}, or a form beside their field, got {shown(record)}. "
                f"Say form: xyxy or form: xywh.",
            )
    sound = isinstance(values, list | tuple) and len(values) == 4
    if not sound or not all(is_number(value) for value in values):
        raise SampleError("brought_box", f"{place} must have boxes of four finite numbers, got {shown(record)}.")
    x, y, right, below = map(float, values)
    return [x, y, x + right, y + below] if form == "xywh" else [x, y, right, below]
