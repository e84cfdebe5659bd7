"""Human poses by OpenPose (Cao et al., TPAMI 2019), by the body network of controlnet-aux: it finds people itself."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from onegen.annotators import register
from onegen.annotators.pose import LEGS, PROVIDES, PosedPeople, annotation_of, person
from onegen.annotators.shared.pixels import picture_of, pixels_of
from onegen.annotators.shared.torch_annotator import TorchAnnotator
from onegen.pixels.boxes import box_of
from onegen.sample import CHANGES_NO_RESULT, Annotation, Item, Provides, Rejected

_FILE = "body_pose_model.pth"
# nose, eyes, ears, shoulders, elbows, wrists, hips, knees, ankles (left before right) among OpenPose's 18 points
COCO_FROM_OPENPOSE = (0, 15, 14, 17, 16, 5, 2, 6, 3, 7, 4, 11, 8, 12, 9, 13, 10)
_LEAST_POINTS = 3


@register("annotators", "pose", backend="openpose")
@dataclass(frozen=True)
class OpenPose(PosedPeople, TorchAnnotator):
    """People of column `detection` in which OpenPose finds a body of three points or more, with its points.

    A body belongs to the detection in whose box most of its points lie; points that are not found have visibility 0.
    The method is under CMU's licence: not for commercial use. ViTPose is Apache-2.0, and better.
    """

    backend: Literal["openpose"] = "openpose"
    model: str = field(default="lllyasviel/Annotators", metadata={CHANGES_NO_RESULT: True})

    name: ClassVar[str] = "pose"
    producer: ClassVar[str] = "openpose"
    version: ClassVar[int] = 1
    tolerance: ClassVar[Mapping[str, float]] = {"people": 0.5}
    provides: ClassVar[Provides] = PROVIDES
    files: ClassVar[tuple[str, ...]] = (_FILE,)
    packages: ClassVar[Mapping[str, str]] = {"controlnet_aux": "controlnet-aux"}

    def build(self, folder: Path) -> Any:
        """Return controlnet-aux' finder of bodies."""
        import torch
        from controlnet_aux.open_pose import body, model, util

        finder = body.Body.__new__(body.Body)  # its own way of making one would run what is in the file
        finder.model = model.bodypose_model()
        with self.loading("controlnet-aux"):
            weights = torch.load(folder / _FILE, map_location="cpu", weights_only=True)
            finder.model.load_state_dict(util.transfer(finder.model, weights))
        finder.model = self.ready(finder.model.float())
        return finder

    def prepare(self, item: Item) -> Any:
        """Return the image as the network takes it, BGR uint8 (H,W,3); None where there is nobody."""
        if not self.people_of(item):
            return None
        return np.ascontiguousarray(np.asarray(picture_of(item))[:, :, ::-1])

    def infer(self, prepared: Sequence[Any]) -> list[Any]:
        """Return the bodies (N,18,3) of each picture: x and y as shares of its sides, and score, 0 where not found."""
        return [_NOBODY if pixels is None else self._bodies(pixels) for pixels in prepared]

    def _bodies(self, pixels: np.ndarray) -> np.ndarray:
        finder = self.network()
        candidates, subsets = finder(pixels)
        bodies = [_points(body.keypoints) for body in finder.format_body_result(candidates, subsets)]
        height, width = pixels.shape[:2]
        return np.array(bodies).reshape(-1, 18, 3) / np.array([width, height, 1.0])

    def finish(self, item: Item, answer: Any) -> Annotation | Rejected:
        """Return what is stored: each body in the box that it lies in."""
        height, width = pixels_of(item).shape[:2]
        bodies = answer[:, list(COCO_FROM_OPENPOSE)] * np.array([width, height, 1.0])
        people, taken = [], set()
        for detection in self.people_of(item):
            inside = [0 if index in taken else _inside(body, detection) for index, body in enumerate(bodies)]
            best = int(np.argmax(inside)) if inside else -1
            if best >= 0 and inside[best] >= _LEAST_POINTS:
                taken.add(best)
                seen = bodies[best][:, 2] > 0
                score = float(np.clip(bodies[best][seen, 2].mean(), 0.0, 1.0))
                points = np.column_stack([bodies[best][:, :2], np.clip(bodies[best][:, 2], 0.0, 1.0)])
                people.append(person(detection, score, points, not seen[LEGS].all()))
        return annotation_of(people)


_NOBODY = np.zeros((0, 18, 3))


def _points(keypoints: Sequence[Any]) -> list[list[float]]:
    return [[0.0, 0.0, 0.0] if point is None else [point.x, point.y, max(point.score, 1e-3)] for point in keypoints]


def _inside(body: np.ndarray, detection: Mapping[str, Any]) -> int:
    """Return how many of a body's points that were found lie in a box."""
    x0, y0, x1, y1 = box_of(detection)
    found = body[:, 2] > 0
    return int((found & (body[:, 0] >= x0) & (body[:, 0] <= x1) & (body[:, 1] >= y0) & (body[:, 1] <= y1)).sum())
