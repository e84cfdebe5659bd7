"""Whether a view or a capture is worth keeping: cropped or blank; walked around or not, from outside or from within."""

import math
from collections.abc import Sequence

import numpy as np

from onegen.geometry.cameras import Camera, nearest_point
from onegen.scenes.mesh import Mesh
from onegen.scenes.scene import View

BLANK = 0.005
"""Share of a view that an object must cover: below it there is nothing to learn."""


def view_faults(view: View) -> list[str]:
    """Return what is wrong with a render: `blank`, or `cropped` where the object meets the picture's border."""
    mask = view.mask > 0
    if mask.mean() < BLANK:
        return ["blank"]
    border = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
    return ["cropped"] if border.any() else []


def num_cropped(mesh: Mesh, cameras: Sequence[Camera], width: int, height: int) -> int:
    """Return in how many pictures a normalised object reaches beyond the border: told from its vertices, undrawn."""
    points = mesh.positions.astype(np.float64)
    return sum(_is_cropped(points, camera, width, height) for camera in cameras)


def _is_cropped(points: np.ndarray, camera: Camera, width: int, height: int) -> bool:
    # Without BLAS, whose sums differ with the number of threads.
    x, y, z = (((points - camera.center) * axis).sum(axis=1) for axis in camera.camera_to_world[:3, :3].T)
    if z.min() <= 0:
        return True
    side = min(width, height)
    across, along = (np.abs(at / z).max() * focal * side for at, focal in zip((x, y), camera.focal, strict=True))
    return bool(across > width / 2 or along > height / 2)


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
