"""Texture lookups: bilinear, repeating, from the level of a pyramid whose texels are as large as what a ray sees."""

from functools import cached_property

import cv2
import numpy as np

from onegen.scenes.lighting import to_linear

_FINE = to_linear(np.arange(255 * 16 + 1) / (255 * 16)).astype(np.float32)
"""Linear value of sRGB bytes in sixteenths, the precision of an interpolated one."""


class Pyramid:
    """A map, uint8 (h, w, 4), and ever smaller copies of it."""

    def __init__(self, texels: np.ndarray) -> None:
        self.texels = texels

    @cached_property
    def levels(self) -> list[np.ndarray]:
        """The map and its halves, quarters ... down to one texel."""
        levels = [np.ascontiguousarray(self.texels)]
        while max(levels[-1].shape[:2]) > 1:
            height, width = (max(side // 2, 1) for side in levels[-1].shape[:2])
            levels.append(cv2.resize(levels[-1], (width, height), interpolation=cv2.INTER_AREA))
        return levels

    def look_up(self, uv: np.ndarray, footprint: np.ndarray) -> np.ndarray:
        """Return texels (n,4) float32 in [0, 255] at `uv` (n,2), origin at the upper left.

        `footprint` (n,) is how much of the map's side a sample covers.
        """
        side = float(np.sqrt(self.texels.shape[0] * self.texels.shape[1]))
        wanted = np.log2(np.maximum(footprint * side, 1e-6))
        level = np.clip(np.rint(wanted), 0, len(self.levels) - 1).astype(np.int8)
        if len(level) and level.min() == level.max():
            return bilinear(self.levels[level[0]], uv)
        values = np.empty((len(uv), 4), np.float32)
        for number in np.unique(level):
            chosen = np.flatnonzero(level == number)
            values[chosen] = bilinear(self.levels[number], uv[chosen])
        return values


def bilinear(texels: np.ndarray, uv: np.ndarray) -> np.ndarray:
    """Return texels (h, w, 4) interpolated at `uv` (n,2), in [0, 255] float32; the map repeats."""
    height, width = texels.shape[:2]
    x = (uv[:, 0] % 1.0) * width - 0.5
    y = (uv[:, 1] % 1.0) * height - 0.5
    left, top = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64)
    right_share = (x - left).astype(np.float32)[:, None]
    lower_share = (y - top).astype(np.float32)[:, None]
    flat = texels.reshape(-1, 4)
    columns = left % width, (left + 1) % width
    rows = (top % height) * width, ((top + 1) % height) * width
    upper, lower = (flat[row + columns[0]] * (1 - right_share) + flat[row + columns[1]] * right_share for row in rows)
    return upper * (1 - lower_share) + lower * lower_share


def linear_of(bytes_of_srgb: np.ndarray) -> np.ndarray:
    """Return linear values of interpolated sRGB bytes in [0, 255]."""
    return _FINE[np.rint(bytes_of_srgb * 16).astype(np.int32)]
