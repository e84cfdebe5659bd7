"""Pinhole cameras, and every convention they come in, converted in one place.

A `Camera` holds OpenCV axes (x right, y down, z forward) and a camera-to-world matrix. How the others relate to it:

| convention | camera axes | stored as |
|---|---|---|
| opencv | x right, y down, z forward | 4x4 camera-to-world |
| opengl, nerfstudio | x right, y up, z back | 4x4 camera-to-world |
| colmap | as opencv | world-to-camera quaternion (w, x, y, z) and translation |
| pytorch3d | x left, y up, z forward | row vectors: X_camera = X_world R + T |

Angles are in degrees, lengths in the units of the scene. Formulas: OneDiffusion's ray conditioning
(docs/onediffusion.md).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from onegen.errors import ConfigError, SampleError

DEFAULT_FOCAL = 1.3887
"""Focal length over the image side: 50 mm on a 36 mm sensor, a field of view of 39.6 degrees."""

DEFAULT_DISTANCE = 1.7
"""Distance of the first camera from what the cameras look at, after `scale_to_distance`: the scale of trained rays."""

Convention = Literal["opencv", "opengl", "nerfstudio", "colmap", "pytorch3d"]
AXES: Mapping[Convention, tuple[int, int, int]] = {
    "opencv": (1, 1, 1),
    "colmap": (1, 1, 1),
    "opengl": (1, -1, -1),
    "nerfstudio": (1, -1, -1),
    "pytorch3d": (-1, -1, 1),
}
"""Sign of each camera axis, seen from OpenCV's."""

_PARALLEL = 1e-5  # smallest mean squared sine between optical axes that still fixes a common point (about 0.2 degrees)


@dataclass(frozen=True, slots=True, eq=False)
class Camera:
    """A pinhole camera with its principal point in the middle of the image.

    `camera_to_world` is 4x4 float64 with OpenCV axes; `focal` is (x, y) in units of the image's shorter side.
    """

    camera_to_world: np.ndarray
    focal: tuple[float, float] = (DEFAULT_FOCAL, DEFAULT_FOCAL)

    def __post_init__(self) -> None:
        matrix = np.asarray(self.camera_to_world, dtype=np.float64)
        if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
            raise ConfigError(f"camera matrix must be finite and 4x4, got shape {matrix.shape}.")
        rotation = matrix[:3, :3]
        if np.abs(rotation @ rotation.T - np.eye(3)).max() > 1e-3 or np.linalg.det(rotation) < 0:
            raise ConfigError("camera matrix must hold a rotation, got a scaled, skewed or mirrored one.")
        check_focal(self.focal)
        object.__setattr__(self, "camera_to_world", matrix)

    @property
    def center(self) -> np.ndarray:
        """Position of the camera in the world, (3,)."""
        return self.camera_to_world[:3, 3]

    @property
    def forward(self) -> np.ndarray:
        """Unit direction the camera looks in, (3,)."""
        return self.camera_to_world[:3, 2]


def to_record(camera: Camera) -> dict[str, list[float]]:
    """Return a camera as plain data, as indexes and `key.json` hold it: its matrix row by row, its focal lengths."""
    # Adding nought makes minus nought nought: a key must not tell them apart.
    matrix = (camera.camera_to_world + 0.0).ravel().tolist()
    return {"camera_to_world": matrix, "focal": [float(length) for length in camera.focal]}


def from_record(record: Mapping[str, Sequence[float]]) -> Camera:
    """Return the camera of what `to_record` gave."""
    focal_x, focal_y = record["focal"]
    return Camera(np.reshape(np.asarray(record["camera_to_world"], np.float64), (4, 4)), (focal_x, focal_y))


def check_focal(focal: tuple[float, float]) -> None:
    """Raise ConfigError unless a focal length (x, y), in sides of the image, is finite and positive."""
    if not all(math.isfinite(length) and length > 0 for length in focal):
        raise ConfigError(
            f"focal length must be finite and positive, got {focal}. "
            f"{DEFAULT_FOCAL} sides of the image are a field of view of 39.6 degrees."
        )


def change_axes(camera_to_world: np.ndarray, source: Convention, target: Convention) -> np.ndarray:
    """Return a 4x4 camera-to-world matrix with its camera axes turned from one convention to another."""
    signs = np.ones(4)
    signs[:3] = np.array(AXES[source]) * np.array(AXES[target])
    return np.asarray(camera_to_world, dtype=np.float64) * signs


def orbit(
    azimuth: float, elevation: float = 0.0, distance: float = DEFAULT_DISTANCE, focal: float = DEFAULT_FOCAL
) -> Camera:
    """Return the camera on a sphere around the origin, looking at it, z up.

    More azimuth moves the camera to its own right, more elevation up. Raises ConfigError at the poles, where "right"
    is undefined, and for numbers that are not finite.
    """
    if not math.isfinite(azimuth):
        raise ConfigError(f"azimuth must be a finite number of degrees, got {azimuth}.")
    if not -90 < elevation < 90:
        raise ConfigError(f"elevation must be between -90 and 90 degrees, got {elevation}.")
    if not (math.isfinite(distance) and distance > 0):
        raise ConfigError(f"distance must be finite and positive, got {distance}. Trained scenes have 1.7.")
    a, e = np.deg2rad(azimuth), np.deg2rad(elevation)
    back = np.array([np.cos(e) * np.cos(a), np.cos(e) * np.sin(a), np.sin(e)])
    right = np.cross([0.0, 0.0, 1.0], back)
    right /= np.linalg.norm(right)
    matrix = np.eye(4)
    matrix[:3, :3] = np.stack([right, np.cross(back, right), back], axis=1)
    matrix[:3, 3] = distance * back
    return Camera(change_axes(matrix, "opengl", "opencv"), (focal, focal))


def from_colmap(quaternion: Sequence[float], translation: Sequence[float]) -> Camera:
    """Return the camera of a COLMAP image: world-to-camera rotation (w, x, y, z) and translation."""
    w, x, y, z = np.asarray(quaternion, dtype=np.float64) / np.linalg.norm(quaternion)
    rotation = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )
    matrix = np.eye(4)
    matrix[:3, :3] = rotation.T
    matrix[:3, 3] = -rotation.T @ np.asarray(translation, dtype=np.float64)
    return Camera(matrix)


def to_colmap(camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """Return the world-to-camera quaternion (w, x, y, z), w >= 0, and translation of a camera."""
    rotation = camera.camera_to_world[:3, :3].T
    # this symmetric matrix's eigenvector of the largest eigenvalue is the quaternion (Bar-Itzhack 2000)
    r = rotation
    k = np.array(
        [
            [r[0, 0] + r[1, 1] + r[2, 2], r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1]],
            [r[2, 1] - r[1, 2], r[0, 0] - r[1, 1] - r[2, 2], r[0, 1] + r[1, 0], r[0, 2] + r[2, 0]],
            [r[0, 2] - r[2, 0], r[0, 1] + r[1, 0], r[1, 1] - r[0, 0] - r[2, 2], r[1, 2] + r[2, 1]],
            [r[1, 0] - r[0, 1], r[0, 2] + r[2, 0], r[1, 2] + r[2, 1], r[2, 2] - r[0, 0] - r[1, 1]],
        ]
    )
    quaternion = np.linalg.eigh(k)[1][:, -1]
    return quaternion * (-1 if quaternion[0] < 0 else 1), -rotation @ camera.center


def from_pytorch3d(rotation: np.ndarray, translation: np.ndarray) -> Camera:
    """Return the camera of a PyTorch3D pair: R (3,3) and T (3,) with X_camera = X_world R + T."""
    matrix = np.eye(4)
    matrix[:3, :3] = rotation
    matrix[:3, 3] = -np.asarray(rotation, dtype=np.float64) @ np.asarray(translation, dtype=np.float64)
    return Camera(change_axes(matrix, "pytorch3d", "opencv"))


def to_pytorch3d(camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """Return R (3,3) and T (3,) with X_camera = X_world R + T, for row vectors."""
    matrix = change_axes(camera.camera_to_world, "opencv", "pytorch3d")
    return matrix[:3, :3], -matrix[:3, 3] @ matrix[:3, :3]


def relative_to_first(cameras: Sequence[Camera]) -> list[Camera]:
    """Return the cameras in the first one's frame: the first becomes the identity."""
    first = np.linalg.inv(cameras[0].camera_to_world)
    return [replace(camera, camera_to_world=first @ camera.camera_to_world) for camera in cameras]


def nearest_point(centers: np.ndarray, directions: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the point (3,) nearest to lines, and how well it is fixed.

    The lines go through `centers` (n,3) along unit `directions` (n,3). The second number is the smallest eigenvalue of
    the mean projection, in [0, 2/3]: 0 for parallel lines.
    """
    projections = np.eye(3) - directions[:, :, None] * directions[:, None, :]
    system = projections.mean(axis=0)
    right_hand = (projections @ centers[:, :, None]).mean(axis=0)[:, 0]
    return np.linalg.lstsq(system, right_hand, rcond=None)[0], float(np.linalg.eigvalsh(system)[0])


def scale_to_distance(cameras: Sequence[Camera], distance: float = DEFAULT_DISTANCE) -> list[Camera]:
    """Return the cameras with the scene scaled so that the first is `distance` away from what all look at.

    What they look at is the least-squares intersection of the optical axes; so training normalises
    (docs/onediffusion.md). Raises SampleError `parallel_cameras` when the axes are parallel, `camera_at_target` when
    the first camera sits on that point.
    """
    centers = np.stack([camera.center for camera in cameras])
    target, fixed = nearest_point(centers, np.stack([camera.forward for camera in cameras]))
    if fixed < _PARALLEL:
        raise SampleError("parallel_cameras", f"optical axes must meet, got {len(cameras)} cameras with parallel ones.")
    away = float(np.linalg.norm(centers[0] - target))
    if away < 1e-6 * max(1.0, float(np.abs(centers).max())):
        raise SampleError("camera_at_target", "first camera must be away from the point the cameras look at, got 0.")
    scaled = []
    for camera in cameras:
        matrix = camera.camera_to_world.copy()
        matrix[:3, 3] *= distance / away
        scaled.append(replace(camera, camera_to_world=matrix))
    return scaled
