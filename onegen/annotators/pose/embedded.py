"""Human poses by BlazePose: COCO's 17 points for each detected person."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from onegen.annotators import register
from onegen.annotators.pose import LEGS, PROVIDES, PosedPeople, annotation_of, in_image, person
from onegen.annotators.shared.blazepose import MODELS, Body, see_body
from onegen.annotators.shared.pixels import pixels_of
from onegen.pixels.boxes import box_of
from onegen.sample import Annotation, Item, ModelHandle, Provides, Rejected, Resources

# nose, eyes, ears, shoulders, elbows, wrists, hips, knees, ankles (left before right) among BlazePose's 33 points
COCO_FROM_BLAZEPOSE = (0, 2, 5, 7, 8, 11, 12, 13, 14, 15, 16, 23, 24, 25, 26, 27, 28)


@register("annotators", "pose", backend="embedded")
@dataclass(frozen=True)
class Pose(PosedPeople):
    """People of column `detection`, best first, with 17 keypoints (x, y in pixels, visibility in [0, 1]) each. Exact.

    Points may lie outside of the image, where the network supposes them; nobody sees them there: visibility 0.
    `half_body` says that hips, knees or ankles are not in the image; half bodies, and persons whose score is below
    0.5, are marked `low_confidence`: their arms and faces are often off. At most `max_people` whose detection scores
    `min_score` or more are looked at, 40 ms each.
    """

    backend: Literal["embedded"] = "embedded"

    name: ClassVar[str] = "pose"
    version: ClassVar[int] = 3
    provides: ClassVar[Provides] = PROVIDES
    resources: ClassVar[Resources] = Resources(memory=256 << 20)

    def models(self) -> tuple[ModelHandle, ...]:
        """Return BlazePose's two networks."""
        return MODELS

    def annotate(self, items: Sequence[Item]) -> list[Annotation | Rejected]:
        """Return the people of each item."""
        return [self._people(item) for item in items]

    def _people(self, item: Item) -> Annotation:
        pixels = pixels_of(item)
        people = self.people_of(item)
        return annotation_of([_posed(pixels, detection) for detection in people])


def _posed(pixels: np.ndarray, detection: Mapping[str, Any]) -> dict[str, Any]:
    body = see_body(pixels, box_of(detection))
    keypoints = coco_keypoints(body)
    presence = body.presence[list(COCO_FROM_BLAZEPOSE)]
    inside = in_image(keypoints, pixels.shape)
    # The doubt about a body that is cut is the network's own, of points wherever they are.
    half_body = _is_half(keypoints[LEGS], presence[LEGS], inside[LEGS], detection, pixels.shape)
    keypoints[~inside, 2] = 0.0
    return person(detection, body.score, keypoints, half_body)


def _is_half(
    legs: np.ndarray, presence: np.ndarray, inside: np.ndarray, detection: Mapping[str, Any], shape: tuple[int, ...]
) -> bool:
    """Say whether hips, knees or ankles (6,3) are not in the image.

    They lie outside of it, or the network says they are not there. It may also squeeze a body that the lower border
    cuts into what can be seen: then it doubts the ankles.
    """
    is_cut = detection["y1"] > 0.98 * shape[0] and legs[4:, 2].min() < 0.5
    return bool(is_cut or not (inside & (presence > 0.5)).all())


def coco_keypoints(body: Body) -> np.ndarray:
    """Return float64 (17,3): x, y in pixels of the image, and visibility times presence, in COCO's order."""
    order = list(COCO_FROM_BLAZEPOSE)
    return np.column_stack([body.points[order], body.visibility[order] * body.presence[order]])
