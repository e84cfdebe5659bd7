"""Degrade a photo, for the tasks that undo it: blur, holes, low resolution. Pure functions of (pixels, seed)."""

import cv2
import numpy as np


def blur(pixels: np.ndarray, seed: int) -> np.ndarray:
    """Return RGB uint8 (H,W,3) blurred by a Gaussian or, as often, by a straight motion; strength and way by `seed`.

    The Gaussian's deviation is 0.3 to 1.5 % of the longer side, the motion's length 1 to 6 % of it.
    """
    rng = np.random.default_rng(seed)
    longer = max(pixels.shape[:2])
    if rng.random() < 0.5:
        sigma = max(0.5, longer * rng.uniform(0.003, 0.015))
        return cv2.GaussianBlur(pixels, (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101)
    length = max(3.0, longer * rng.uniform(0.01, 0.06))
    angle = rng.uniform(0.0, np.pi)
    reach = int(np.ceil(length / 2))
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1), np.float32)
    # A line of even weight, laid down in quarter pixels so that its ends fade.
    for step in np.linspace(-length / 2, length / 2, 4 * int(np.ceil(length)) + 1):
        x, y = reach + step * np.cos(angle), reach + step * np.sin(angle)
        kernel[int(np.rint(y)), int(np.rint(x))] += 1
    return cv2.filter2D(pixels, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REFLECT_101)


def holes(pixels: np.ndarray, seed: int) -> np.ndarray:
    """Return a copy of RGB uint8 (H,W,3) with one to four holes painted black: rectangles and irregular polygons.

    Each spans 15 to 50 % of both sides; where and which by `seed`.
    """
    rng = np.random.default_rng(seed)
    height, width = pixels.shape[:2]
    holed = pixels.copy()
    for _ in range(rng.integers(1, 5)):
        span = rng.uniform(0.15, 0.5, 2) * (width, height)
        corner = rng.uniform(0.0, 1.0, 2) * (np.array([width, height]) - span)
        if rng.random() < 0.5:
            polygon = corner + span * np.array([(0, 0), (1, 0), (1, 1), (0, 1)])
        else:
            angles = np.sort(rng.uniform(0.0, 2 * np.pi, rng.integers(5, 12)))
            radii = rng.uniform(0.35, 1.0, len(angles))[:, np.newaxis] / 2
            polygon = corner + span / 2 + span * radii * np.column_stack([np.cos(angles), np.sin(angles)])
        cv2.fillPoly(holed, [np.rint(polygon).astype(np.int32)], (0, 0, 0))
    return holed


def low_resolution(pixels: np.ndarray, seed: int) -> np.ndarray:
    """Return RGB uint8 (H,W,3) reduced 2 to 8 times a side and enlarged to its size again; how much by `seed`."""
    height, width = pixels.shape[:2]
    factor = np.random.default_rng(seed).uniform(2.0, 8.0)
    size = (max(1, round(width / factor)), max(1, round(height / factor)))
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
