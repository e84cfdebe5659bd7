"""How near two conditions of one kind are: edges, maps, boxes, masks, poses."""

from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np

from onegen.pixels.boxes import box_of, iou
from onegen.pixels.closeness import mse, psnr
from onegen.tasks.conditions import MIN_VISIBILITY, canny
from onegen.tasks.degradations import blur

_NEAR = np.ones((3, 3), np.uint8)
_OVERLAP = 0.5
_FACTOR = 8
_SIGMAS = np.array([26, 25, 25, 35, 35, 79, 79, 72, 72, 62, 62, 107, 107, 87, 87, 89, 89]) / 1000
"""How far people who mark COCO's 17 points differ, as a share of a person's size (COCO's keypoint evaluation)."""
KEPT: Mapping[str, str] = {
    "canny": "canny_f1",
    "masked": "psnr_outside_holes",
    "low_resolution": "psnr_reduced",
    "blurred": "psnr_blurred_again",
}
"""Metrics of `kept`, all higher for better, by the condition."""


def edge_f1(edges: np.ndarray, wanted: np.ndarray) -> float | None:
    """Return F1 of edges (H,W) bool, where one within a pixel of the other counts; None where neither has any."""
    if not edges.any() and not wanted.any():
        return None
    precision = _share(edges, cv2.dilate(wanted.astype(np.uint8), _NEAR) > 0)
    recall = _share(wanted, cv2.dilate(edges.astype(np.uint8), _NEAR) > 0)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _share(pixels: np.ndarray, among: np.ndarray) -> float:
    return float(among[pixels].mean()) if pixels.any() else 0.0


def mean_difference(map_: np.ndarray, wanted: np.ndarray) -> float:
    """Return the mean absolute difference of two maps."""
    return float(np.abs(map_.astype(np.float64) - wanted).mean())


def spearman(map_: np.ndarray, wanted: np.ndarray) -> float | None:
    """Return the rank correlation of two maps (H,W); ties have their mean rank; None where one is constant."""
    ranks, wanted_ranks = _ranks(map_.ravel()), _ranks(wanted.ravel())
    if np.ptp(ranks) == 0 or np.ptp(wanted_ranks) == 0:
        return None
    return float(np.corrcoef(ranks, wanted_ranks)[0, 1])


def _ranks(values: np.ndarray) -> np.ndarray:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    ranks: np.ndarray = (ends - (counts - 1) / 2.0)[inverse]
    return ranks


def box_recall(objects: Sequence[Mapping[str, Any]], wanted: Sequence[Mapping[str, Any]]) -> float | None:
    """Return the share of wanted boxes that an object of their label overlaps by half or more; None of none."""
    if not wanted:
        return None
    right = 0
    for thing in wanted:
        boxes = np.array([box_of(o) for o in objects if o["label"] == thing["label"]]).reshape(-1, 4)
        right += bool((iou(np.array([box_of(thing)]), boxes) >= _OVERLAP).any())
    return right / len(wanted)


def mean_iou(names: np.ndarray, wanted: np.ndarray) -> float | None:
    """Return the mean over the wanted names of intersection over union of their pixels; None where none is wanted.

    Both are (H,W) of str, empty where nothing is named. A name that is not wanted takes pixels from those that are, and
    has no score of its own.
    """
    scores = []
    for name in np.unique(wanted[wanted != ""]):
        got, asked = names == name, wanted == name
        scores.append(float((got & asked).sum() / (got | asked).sum()))
    return float(np.mean(scores)) if scores else None


def pose_similarity(people: Sequence[Mapping[str, Any]], wanted: Sequence[Mapping[str, Any]]) -> float | None:
    """Return the mean over wanted people of the best object keypoint similarity (COCO) of any person; None of none.

    Of a wanted person count the points seen (visibility of `MIN_VISIBILITY` or more), and the area is that of the box:
    what is stored has no outline. Nobody found scores 0, and whoever has no point seen is not asked for.
    """
    asked = [(person, seen) for person in wanted if (seen := points_of(person)[:, 2] >= MIN_VISIBILITY).any()]
    if not asked:
        return None
    best = [max((keypoint_similarity(found, person, seen) for found in people), default=0.0) for person, seen in asked]
    return float(np.mean(best))


def keypoint_similarity(found: Mapping[str, Any], wanted: Mapping[str, Any], seen: np.ndarray) -> float:
    """Return the object keypoint similarity (COCO's evaluation) of two people over the points `seen`, bool (17,).

    Distances are over the area of the wanted person's box, and twice the sigma of each point. Some must be seen.
    """
    x0, y0, x1, y1 = box_of(wanted)
    squares = ((points_of(found)[:, :2] - points_of(wanted)[:, :2]) ** 2).sum(axis=1)
    widths = (2 * _SIGMAS) ** 2 * 2 * max((x1 - x0) * (y1 - y0), 1.0)
    return float(np.exp(-squares / widths)[seen].mean())


def points_of(person: Mapping[str, Any]) -> np.ndarray:
    """Return the keypoints of a record of column `pose`, float64 (17,3): x, y and visibility."""
    return np.reshape(np.asarray(person["keypoints"], np.float64), (17, 3))


def reduced(pixels: np.ndarray) -> np.ndarray:
    """Return a picture (H,W,3) an eighth of its size a side, each pixel the mean of those below."""
    height, width = (max(1, side // _FACTOR) for side in pixels.shape[:2])
    return cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)


def kept(role: str, pixels: np.ndarray, given: np.ndarray, truth: np.ndarray, seed: int) -> float | None:
    """Return how much a picture has of the condition it was drawn from, one of `KEPT`; None where that shows nothing.

    `pixels`, the condition `given` and the true picture are RGB uint8 (H,W,3); a blur has its `seed`.
    """
    match role:
        case "canny":
            return edge_f1(canny(pixels)[..., 0] > 0, given[..., 0] > 0)
        case "masked":
            outside = (given == truth).all(axis=2)
            return psnr(mse(pixels[outside], truth[outside]), 255.0) if outside.any() else None
        case "low_resolution":
            return psnr(mse(reduced(pixels), reduced(given)), 255.0)
        case "blurred":
            return psnr(mse(blur(pixels, seed), given), 255.0)
    raise ValueError(f"role must be one of {', '.join(KEPT)}, got {role!r}.")


def colour_share(pixels: np.ndarray, wanted: np.ndarray) -> float | None:
    """Return the share of coloured pixels whose nearest colour of the wanted map (H,W,3), black among them, is theirs.

    Chance is one in the number of colours. None where all of the wanted map is black.
    """
    palette = np.unique(np.concatenate([np.zeros((1, 3), np.uint8), wanted.reshape(-1, 3)]), axis=0).astype(np.int64)
    asked = wanted.any(axis=2)
    if not asked.any():
        return None
    got, true = (_nearest(array[asked].astype(np.int64), palette) for array in (pixels, wanted))
    return float((got == true).mean())


def _nearest(colours: np.ndarray, palette: np.ndarray) -> np.ndarray:
    """Return the index of the nearest of palette (P,3) to each colour (N,3), one palette entry at a time."""
    distances = np.stack([((colours - entry) ** 2).sum(axis=1) for entry in palette])
    return distances.argmin(axis=0)
