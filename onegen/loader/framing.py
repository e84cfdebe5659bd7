"""One crop for everything of a picture: pixels, maps, boxes and points go through the same frame.

The frame is the largest centred box with the aspect of the bucket, as the released pipeline cuts pictures.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import simplejpeg

from onegen.errors import SampleError
from onegen.pixels.boxes import CORNERS, box_fields
from onegen.pixels.codec import decode_image
from onegen.pixels.sizes import center_crop

LEAST_SHARE = 0.2
"""An entity of whose box less than this is in the frame is cropped out: what is left of it is not what it is called."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A crop of a stored image and the size it becomes.

    `stored` is the (height, width) of the image, `crop` (top, left, height, width) in its pixels, `size` the
    (height, width) of the result.
    """

    stored: tuple[int, int]
    crop: tuple[int, int, int, int]
    size: tuple[int, int]

    @classmethod
    def centred(cls, stored: tuple[int, int], size: tuple[int, int]) -> "Frame":
        """Return the largest centred frame of an image with the aspect of `size`."""
        return cls(stored, center_crop(*stored, *size), size)

    def picture(self, data: bytes) -> np.ndarray:
        """Return a stored image in the frame, RGB uint8 (H,W,3); raises SampleError `unreadable_image` or `wrong_size`.

        A JPEG is decoded at the smallest of its scales (eighths) that the result still fits into.
        """
        pixels = self._decoded(data)
        height, width = pixels.shape[:2]
        scale = (height / self.stored[0], width / self.stored[1])
        if max(scale) > 1.0 or abs(scale[0] - scale[1]) > 1.5 / min(height, width):
            got = f"{width}x{height} of {self.stored[1]}x{self.stored[0]}"
            raise SampleError("wrong_size", f"stored image must have the size its row says, got {got}.")
        return self._resized(self._cut(pixels, scale), cv2.INTER_AREA, cv2.INTER_LINEAR)

    def _decoded(self, data: bytes) -> np.ndarray:
        if data[:2] != b"\xff\xd8":
            return decode_image(data)
        least = [-(-size * side // cut) for size, side, cut in zip(self.size, self.stored, self.crop[2:], strict=True)]
        try:
            return simplejpeg.decode_jpeg(
                data, "RGB", fastdct=False, fastupsample=False, min_height=least[0], min_width=least[1], min_factor=1
            )
        except ValueError:
            # what libjpeg only warns of is no error to ingest
            return decode_image(data)

    def _cut(self, pixels: np.ndarray, scale: tuple[float, float]) -> np.ndarray:
        top, left, height, width = self.crop
        rows, columns = pixels.shape[:2]
        start = round(top * scale[0]), round(left * scale[1])
        end = min(rows, round((top + height) * scale[0])), min(columns, round((left + width) * scale[1]))
        return pixels[start[0] : max(start[0] + 1, end[0]), start[1] : max(start[1] + 1, end[1])]

    def _resized(self, pixels: np.ndarray, smaller: int, larger: int) -> np.ndarray:
        if pixels.shape[:2] == self.size:
            return np.ascontiguousarray(pixels)
        shrinks = pixels.shape[0] > self.size[0] or pixels.shape[1] > self.size[1]
        return cv2.resize(pixels, self.size[::-1], interpolation=smaller if shrinks else larger)

    def map(self, pixels: np.ndarray) -> np.ndarray:
        """Return a map (H,W) of the stored image's size in the frame: each pixel the mean of what lies under it."""
        return self._resized(self._map(pixels), cv2.INTER_AREA, cv2.INTER_LINEAR)

    def indices(self, pixels: np.ndarray) -> np.ndarray:
        """Return a map (H,W) of entity indices in the frame: each pixel one of those there."""
        return self._resized(self._map(pixels), cv2.INTER_NEAREST_EXACT, cv2.INTER_NEAREST_EXACT)

    def _map(self, pixels: np.ndarray) -> np.ndarray:
        if pixels.shape[:2] != self.stored:
            got = f"{pixels.shape[1]}x{pixels.shape[0]} of {self.stored[1]}x{self.stored[0]}"
            raise SampleError("wrong_size", f"map must have the size of its image, got {got}.")
        return self._cut(pixels, (1.0, 1.0))

    def points(self, points: np.ndarray) -> np.ndarray:
        """Return points (N,2) of x and y, pixels of the stored image, in pixels of the frame."""
        top, left, height, width = self.crop
        scale = np.array([self.size[1] / width, self.size[0] / height])
        return (np.asarray(points, np.float64) - (left, top)) * scale

    def box(self, record: Mapping[str, Any]) -> dict[str, float] | None:
        """Return the box of a record in the frame, cut to it; None where too little of it is inside."""
        corners = np.array([record[name] for name in CORNERS], np.float64).reshape(2, 2)
        moved = self.points(corners)
        limits = np.array(self.size[::-1], np.float64)
        inside = np.clip(moved, 0.0, limits)
        whole, left = np.prod(moved[1] - moved[0]), np.prod(inside[1] - inside[0])
        if whole <= 0 or left < LEAST_SHARE * whole or (inside[1] - inside[0]).min() < 1:
            return None
        return box_fields(float(side) for side in inside.ravel())

    def people(self, people: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Return the people of column `pose` with their points in the frame, those cropped out left out."""
        kept = []
        for person in people:
            points = np.reshape(np.asarray(person["keypoints"], np.float64), (17, 3)).copy()
            points[:, :2] = self.points(points[:, :2])
            seen = points[points[:, 2] > 0, :2]
            if ((seen >= 0) & (seen < self.size[::-1])).all(axis=1).any():
                kept.append({**person, "keypoints": points.ravel().tolist()})
        return kept
