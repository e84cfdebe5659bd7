"""Where the joints of each person are: the source of `pose2image`. What the column stores, whichever backend made it.

People are those of column `detection`; a backend finds the joints of one in its box.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from onegen.annotators.shared.brought import brought_of
from onegen.annotators.shared.brought_records import RecordReader, points_of
from onegen.errors import ConfigError
from onegen.pixels.boxes import BOX_FIELDS, box_fields, box_of
from onegen.sample import CAME_LATER, Annotation, BaseAnnotator, Item, Provides

COCO_POINTS = (
    *("nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder"),
    *("left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip"),
    *("left_knee", "right_knee", "left_ankle", "right_ankle"),
)
"""The 17 points in COCO's order; left and right are the person's own."""
POSED = pa.struct(
    [
        ("score", pa.float64()),
        ("keypoints", pa.list_(pa.float64())),
        ("half_body", pa.bool_()),
        ("low_confidence", pa.bool_()),
        *BOX_FIELDS,
    ]
)
"""One person: score that it is one, in its box; 17 x (x, y, visibility) in COCO's order; flags; the detection's box."""
PROVIDES = Provides(fields={"people": pa.list_(POSED), "num_people": pa.int32()})
"""`people`, best detection first, and how many there are."""


LEGS = slice(11, 17)
"""Hips, knees and ankles among them."""


@dataclass(frozen=True)
class PosedPeople(BaseAnnotator):
    """Base of backends: at most `max_people` of column `boxes` that score `min_score` or more are looked at."""

    min_score: float = 0.4
    max_people: int = 30
    boxes: str = field(default="detection", metadata={CAME_LATER: True})

    def check(self) -> None:
        """Raise ConfigError for a score outside [0, 1], and for nobody to look at."""
        if not 0.0 <= self.min_score <= 1.0:
            raise ConfigError(f"min_score of pose must be in [0, 1], got {self.min_score}.")
        if self.max_people < 1:
            raise ConfigError(f"max_people of pose must be at least 1, got {self.max_people}.")

    @property
    def requires(self) -> tuple[str, ...]:  # type: ignore[override]
        """The column of boxes."""
        return (self.boxes,)

    def people_of(self, item: Item) -> list[Mapping[str, Any]]:
        """Return the people that are looked at, best first."""
        objects = item.annotations[self.boxes].values.get("objects") or ()
        people = [thing for thing in objects if thing["label"] == "person" and thing["score"] >= self.min_score]
        return people[: self.max_people]


def in_image(keypoints: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Return which points (N,2 or more: x, y in pixels) lie in an image of `size` (H,W, ...), bool (N,)."""
    x, y = keypoints[:, :2].T
    return np.asarray((x >= 0) & (y >= 0) & (x < size[1]) & (y < size[0]))


def person(detection: Mapping[str, Any], score: float, keypoints: np.ndarray, half_body: bool) -> dict[str, Any]:
    """Return one person as a record.

    `keypoints` (17,3) are x, y in pixels and visibility in [0, 1]. Half bodies, and whoever scores below 0.5, are
    marked `low_confidence`.
    """
    return {
        "score": round(score, 4),
        "keypoints": [
            round(float(value), digits) for point in keypoints for value, digits in zip(point, (1, 1, 3), strict=True)
        ],
        "half_body": half_body,
        "low_confidence": half_body or score < 0.5,
        **box_fields(box_of(detection)),
    }


def annotation_of(people: Sequence[dict[str, Any]]) -> Annotation:
    """Return what the column stores of people."""
    return Annotation({"people": list(people), "num_people": len(people)})


@dataclass(frozen=True)
class BroughtPoints(RecordReader):
    """Keypoints that a source brings: a list of people, each with a box and `keypoints`, 17 of COCO's (x, y, visible).

    `visible` is what a point that is seen has for its third number: 1, or 2 in COCO's own files, where 1 is hidden.
    Whose hips, knees or ankles are not named is half a body.
    """

    visible: float = 1.0

    provides: ClassVar[Provides] = PROVIDES

    def __post_init__(self) -> None:
        if not self.visible > 0:
            raise ConfigError(f"visible of keypoints must be above 0, got {self.visible}. Write 1, or 2 for COCO's.")

    def take(self, item: Item) -> Annotation:
        """Return what the column stores, best first; raises SampleError brought_box, brought_points, brought_value."""
        brought = brought_of(item)
        records, scores, boxes = self.placed(brought, "people")
        bodies = [points_of(brought, record, len(COCO_POINTS), self.visible, self.unit) for record in records]
        people = [
            person(
                box_fields(round(float(side), 1) for side in box),
                float(score),
                points,
                not (points[LEGS, 2] > 0).all(),
            )
            for box, score, points in zip(boxes, scores, bodies, strict=True)
        ]
        return annotation_of([people[index] for index in np.argsort(-scores, kind="stable")])


BROUGHT = BroughtPoints
