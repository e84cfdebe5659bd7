"""Lenses of real cameras, and their pictures made straight: pinhole, principal point in the middle, nothing blank.

Pixel coordinates are COLMAP's and ours: the first pixel's centre is at (0.5, 0.5). OpenCV's has it at (0, 0).
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import cv2
import numpy as np

from onegen.errors import SampleError

_STRAIGHT = 1e-9
_CENTRED = 0.5
"""Pixels a principal point may lie off the middle and still count as in it."""


@dataclass(frozen=True, slots=True)
class Lens:
    """Intrinsics in pixels of an image `width` by `height`.

    `distortion` is in OpenCV's order: of a `brown` lens k1, k2, p1, p2 and maybe k3, k4, k5, k6, of a `fisheye`
    k1 ... k4; empty for a pinhole.
    """

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    model: Literal["brown", "fisheye"] = "brown"
    distortion: tuple[float, ...] = ()

    @property
    def is_straight(self) -> bool:
        """Whether pictures can be taken as they are."""
        bent = any(abs(number) > _STRAIGHT for number in self.distortion) or self.model == "fisheye"
        off = max(abs(self.cx - self.width / 2), abs(self.cy - self.height / 2))
        return not bent and off <= _CENTRED

    @property
    def focal(self) -> tuple[float, float]:
        """Focal lengths (x, y) in units of the shorter side, of the picture once it is straight."""
        fx, fy = self.fx, self.fy
        if not self.is_straight:
            matrix = _straight_matrix(self)
            fx, fy = float(matrix[0, 0]), float(matrix[1, 1])
        side = min(self.width, self.height)
        return fx / side, fy / side

    def resized(self, width: int, height: int) -> "Lens":
        """Return the lens of the same picture at another size."""
        across, down = width / self.width, height / self.height
        return replace(
            self,
            width=width,
            height=height,
            fx=self.fx * across,
            cx=self.cx * across,
            fy=self.fy * down,
            cy=self.cy * down,
        )


def check_lens(lens: Lens) -> None:
    """Raise SampleError `no_intrinsics` unless numbers are finite, sizes and focal lengths positive."""
    numbers = (lens.fx, lens.fy, lens.cx, lens.cy, *lens.distortion)
    sane = all(math.isfinite(number) for number in numbers) and min(lens.fx, lens.fy) > 0
    if not (sane and lens.width > 0 and lens.height > 0 and 0 < lens.cx < lens.width and 0 < lens.cy < lens.height):
        raise SampleError("no_intrinsics", f"intrinsics must be finite and within the picture, got {lens}.")


def to_record(lens: Lens) -> dict[str, Any]:
    """Return a lens as plain data."""
    return {**asdict(lens), "distortion": list(lens.distortion)}


def from_record(record: Mapping[str, Any]) -> Lens:
    """Return the lens of what `to_record` gave."""
    return Lens(**{**record, "distortion": tuple(record["distortion"])})


def check_aspect(lens: Lens, width: int, height: int) -> None:
    """Raise SampleError `unsupported_lens` for a picture of another aspect than its lens: cropped, or turned."""
    if abs(width * lens.height - height * lens.width) > max(width, height, lens.width, lens.height):
        raise SampleError(
            "unsupported_lens",
            f"picture must have the aspect of its intrinsics, got {width}x{height} and {lens.width}x{lens.height}.",
        )


def straighten(pixels: np.ndarray, lens: Lens, is_map: bool = False) -> np.ndarray:
    """Return a picture (h,w,3) or (h,w), made straight, at its size; `lens` may be of another size of it.

    It is magnified as little as leaves no pixel blank. Pixels are blended, but for those of a map (depth, masks): each
    of these is one that was there. Raises SampleError as `check_aspect` does.
    """
    height, width = pixels.shape[:2]
    check_aspect(lens, width, height)
    if lens.is_straight:
        return pixels
    own = lens.resized(width, height)
    wanted = _opencv(_straight_matrix(own))
    size, bent, none = (width, height), np.array(own.distortion), np.eye(3)
    if own.model == "fisheye":
        maps = cv2.fisheye.initUndistortRectifyMap(_opencv(_matrix(own)), _four(own), none, wanted, size, cv2.CV_32FC1)
    else:
        maps = cv2.initUndistortRectifyMap(_opencv(_matrix(own)), bent, none, wanted, size, cv2.CV_32FC1)
    how = cv2.INTER_NEAREST if is_map else cv2.INTER_LINEAR
    return cv2.remap(pixels, maps[0], maps[1], how, borderMode=cv2.BORDER_REPLICATE)


def _matrix(lens: Lens) -> np.ndarray:
    return np.array([[lens.fx, 0, lens.cx], [0, lens.fy, lens.cy], [0, 0, 1.0]])


def _opencv(matrix: np.ndarray) -> np.ndarray:
    """Return intrinsics with the first pixel's centre at (0, 0) instead of (0.5, 0.5)."""
    moved = matrix.copy()
    moved[:2, 2] -= 0.5
    return moved


def _four(lens: Lens) -> np.ndarray:
    return np.array([*lens.distortion, 0.0, 0.0, 0.0, 0.0])[:4]


def _straight_matrix(lens: Lens) -> np.ndarray:
    """Return the intrinsics (3,3) of the straight picture: the smallest magnification without a blank pixel.

    The rim of the bent picture, seen through the lens, must lie outside the straight one on every side.
    """
    rim = _rim(lens)
    if lens.model == "fisheye":
        seen = cv2.fisheye.undistortPoints(rim[:, None], _opencv(_matrix(lens)), _four(lens))[:, 0]
    else:
        seen = cv2.undistortPoints(rim[:, None], _opencv(_matrix(lens)), np.array(lens.distortion or [0.0] * 4))[:, 0]
    if not np.isfinite(seen).all():
        raise SampleError("unsupported_lens", f"lens must map its rim to somewhere, got {lens}.")
    steps = len(rim) // 4
    top, bottom, left, right = (seen[number * steps : (number + 1) * steps] for number in range(4))
    x = min(-left[:, 0].max(), right[:, 0].min())
    y = min(-top[:, 1].max(), bottom[:, 1].min())
    if min(x, y) <= 0:
        raise SampleError("unsupported_lens", f"lens must look ahead on all sides, got {lens}.")
    factor = max(lens.width / 2 / x / lens.fx, lens.height / 2 / y / lens.fy)
    return np.array([[lens.fx * factor, 0, lens.width / 2], [0, lens.fy * factor, lens.height / 2], [0, 0, 1.0]])


def _rim(lens: Lens, steps: int = 65) -> np.ndarray:
    """Return points (4 * steps, 2) along the centres of the outermost pixels, in OpenCV's coordinates."""
    x, y = np.linspace(0, lens.width - 1, steps), np.linspace(0, lens.height - 1, steps)
    zero, one = np.zeros(steps), np.ones(steps)
    sides = [(x, zero), (x, one * (lens.height - 1)), (zero, y), (one * (lens.width - 1), y)]
    return np.concatenate([np.stack(side, axis=1) for side in sides])
