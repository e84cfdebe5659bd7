"""Whether a view or a capture is worth keeping: cropped or blank; blurred, dark or burnt; walked around or not."""

import math
from collections.abc import Sequence

import cv2
import numpy as np

from onegen.geometry.cameras import Camera, nearest_point
from onegen.scenes.scene import View

BLANK = 0.005
"""Share of a view that an object must cover: below it there is nothing to learn."""
BLURRED = 15.0
"""Variance of the Laplacian at 512 pixels below which a picture counts as blurred."""
DARK, BRIGHT = 0.08, 0.97
"""Mean brightness outside of which a picture counts as badly exposed."""
BURNT = 0.5
"""Share of pixels at the end of the scale from which a picture counts as badly exposed."""
_SIDE = 512


def view_faults(view: View) -> list[str]:
    """Return what is wrong with a render: `blank`, or `cropped` where the object meets the picture's border."""
    mask = view.mask > 0
    if mask.mean() < BLANK:
        return ["blank"]
    border = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
    return ["cropped"] if border.any() else []


def picture_faults(pixels: np.ndarray) -> list[str]:
    """Return what is wrong with a photo, RGB uint8 (H,W,3): `blurred`, `dark`, `bright` or `burnt`."""
    scale = _SIDE / max(pixels.shape[:2])
    size = max(round(pixels.shape[1] * scale), 1), max(round(pixels.shape[0] * scale), 1)
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA) if scale < 1 else grey
    faults = []
    if cv2.Laplacian(grey, cv2.CV_64F).var() < BLURRED:
        faults.append("blurred")
    mean = float(grey.mean()) / 255
    if mean < DARK:
        faults.append("dark")
    elif mean > BRIGHT:
        faults.append("bright")
    elif max((grey == 0).mean(), (grey == 255).mean()) > BURNT:
        faults.append("burnt")
    return faults


def coverage(cameras: Sequence[Camera]) -> float:
    """Return how far cameras go around what they look at, in degrees: the largest angle between two lines of sight.

    What they look at is the nearest point to their optical axes; for fewer than two cameras, or where all stand in one
    place, it is 0.
    """
    if len(cameras) < 2:
        return 0.0
    centers = np.stack([camera.center for camera in cameras])
    target, _ = nearest_point(centers, np.stack([camera.forward for camera in cameras]))
    sight = centers - target
    length = np.linalg.norm(sight, axis=1, keepdims=True)
    if np.ptp(centers, axis=0).max() < 1e-9 or length.min() < 1e-9:
        return 0.0
    sight = sight / length
    return math.degrees(math.acos(float(np.clip((sight @ sight.T).min(), -1.0, 1.0))))


def is_inward(cameras: Sequence[Camera]) -> bool:
    """Return whether most cameras look at a common point rather than away from it: an object, not a room."""
    centers = np.stack([camera.center for camera in cameras])
    forward = np.stack([camera.forward for camera in cameras])
    target, _ = nearest_point(centers, forward)
    return bool((((target - centers) * forward).sum(axis=1) > 0).mean() > 0.5)
