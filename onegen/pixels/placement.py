"""Maps, boxes and points of an original picture, laid on the image that was stored of it: turned alike, scaled alike.

docs/build.md. Points count pixels from the upper left corner of the picture, (0, 0), to the lower right, its
(width, height).
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Literal

import cv2
import numpy as np

from onegen.pixels.upright import open_header, orientation_of
from onegen.sample import Placement

Resize = Literal["nearest", "area"]
"""How the pixels of a smaller map are made: one of those there, or the mean of what lies under each."""
_RESIZE: Mapping[Resize, int] = {"nearest": cv2.INTER_NEAREST_EXACT, "area": cv2.INTER_AREA}
_TURNED: Mapping[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda pixels: pixels,
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.T,
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: pixels[::-1, ::-1].T,
    8: lambda pixels: np.rot90(pixels),
}
"""By EXIF number: what makes an array (H,W) upright."""


def placement_of(original: bytes, stored: tuple[int, int]) -> Placement:
    """Return how a stored image of (height, width) came from its original, by the header of that.

    Raises SampleError as `onegen.pixels.upright.open_header` does.
    """
    size, orientation = orientation_of(open_header(original))
    return Placement(size, stored, orientation)


def as_upright(placement: Placement) -> Placement:
    """Return the placement of what lies on the upright original, as viewers show it."""
    height, width = placement.original
    size = (width, height) if placement.orientation >= 5 else (height, width)
    return dataclasses.replace(placement, original=size, orientation=1)


def lay_map(placement: Placement, pixels: np.ndarray, resize: Resize) -> np.ndarray:
    """Return a map (H,W) of the original's size as one of the stored image's size."""
    turned = np.ascontiguousarray(_TURNED[placement.orientation](pixels))
    if turned.shape == placement.stored:
        return turned
    height, width = placement.stored
    return cv2.resize(turned, (width, height), interpolation=_RESIZE[resize])


def lay_points(placement: Placement, points: np.ndarray) -> np.ndarray:
    """Return points (N,2) of x and y on the original as points on the stored image, float64."""
    height, width = placement.original
    x, y = np.asarray(points, np.float64).reshape(-1, 2).T
    right, below = width - x, height - y
    turned = {
        1: (x, y), 2: (right, y), 3: (right, below), 4: (x, below), 5: (y, x), 6: (below, x), 7: (below, right),
        8: (y, right),
    }[placement.orientation]  # fmt: skip
    upright = as_upright(placement).original
    scales = [stored / side for stored, side in zip(placement.stored[::-1], upright[::-1], strict=True)]
    return np.column_stack(turned) * scales


def lay_boxes(placement: Placement, boxes: np.ndarray) -> np.ndarray:
    """Return boxes (N,4) of x0, y0, x1, y1 on the original as boxes on the stored image, float64."""
    corners = lay_points(placement, np.asarray(boxes, np.float64).reshape(-1, 2)).reshape(-1, 2, 2)
    return np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)
