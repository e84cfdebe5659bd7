"""The part of an image that an object lies in, and the rays through its pixels."""

import math

import numpy as np

from onegen.geometry.cameras import Camera
from onegen.scenes.mesh import Mesh


class Window:
    """The part of an image an object lies in, and the rays through it."""

    def __init__(self, camera: Camera, width: int, height: int, mesh: Mesh) -> None:
        side = min(width, height)
        self.focal = camera.focal[0] * side, camera.focal[1] * side
        self.right, self.down, self.forward = camera.camera_to_world[:3, :3].T
        self.centre = camera.center
        self.size = width, height
        self.columns, self.rows = self._extent(mesh)

    def _extent(self, mesh: Mesh) -> tuple[slice, slice]:
        """Return columns and rows that hold every vertex, a pixel more on each side."""
        away = mesh.positions.astype(np.float64) - self.centre
        x, y, z = (_along(away, axis) for axis in (self.right, self.down, self.forward))
        if z.min() < 1e-3:  # the camera is within the object: it may be anywhere
            return slice(0, self.size[0]), slice(0, self.size[1])
        slices = []
        for share, focal, pixels in ((x / z, self.focal[0], self.size[0]), (y / z, self.focal[1], self.size[1])):
            place = share * focal + pixels / 2
            low, high = (math.floor(np.clip(end, -1e6, 1e6)) for end in (place.min(), place.max()))
            slices.append(slice(min(max(low - 1, 0), pixels), max(min(high + 2, pixels), 0)))
        return slices[0], slices[1]

    def origins(self, count: int) -> np.ndarray:
        """Return the camera's place (count,3) float32, once for each ray."""
        return np.ascontiguousarray(np.broadcast_to(self.centre.astype(np.float32), (count, 3)))

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns, either maybe none."""
        return max(self.rows.stop - self.rows.start, 0), max(self.columns.stop - self.columns.start, 0)

    def rays(self, dx: float = 0.5, dy: float = 0.5, pixels: np.ndarray | None = None) -> np.ndarray:
        """Return directions (n,3) float32 through a point of every pixel, row by row, or of those numbered `pixels`.

        They are 1 long along the optical axis, so that distances along them are depths.
        """
        height, width = self.shape
        x = (np.arange(width) + self.columns.start + dx - self.size[0] / 2) / self.focal[0]
        y = (np.arange(height) + self.rows.start + dy - self.size[1] / 2) / self.focal[1]
        across = (x[:, None] * self.right).astype(np.float32)
        along = (y[:, None] * self.down + self.forward).astype(np.float32)
        if pixels is None:
            return (across[None, :, :] + along[:, None, :]).reshape(-1, 3)
        rows, columns = np.divmod(pixels, width)
        return across[columns] + along[rows]


def _along(vectors: np.ndarray, axis: np.ndarray) -> np.ndarray:
    return vectors[:, 0] * axis[0] + vectors[:, 1] * axis[1] + vectors[:, 2] * axis[2]
