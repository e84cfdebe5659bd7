"""Cameras to Plücker rays and back: a camera as a view the model can read or generate.

A ray image is (6, h, w): unit direction d, then moment m = o x d, one ray per latent pixel, in the first camera's
PyTorch3D frame (x left, y up, z forward). As a latent its six channels are repeated to fill the latent's channels and
scaled to about unit variance. Source: OneDiffusion (docs/onediffusion.md); the way back is RayDiffusion's least squares
(arXiv 2402.14817).
"""

from collections.abc import Sequence

import numpy as np

from onegen.errors import ConfigError, SampleError
from onegen.geometry.cameras import DEFAULT_FOCAL, Camera, change_axes, from_pytorch3d, nearest_point, relative_to_first

RAY_SCALE = 1.658
"""Rays times this have about unit variance over the training cameras."""


def pixel_directions(height: int, width: int, focal: tuple[float, float]) -> np.ndarray:
    """Return the unit direction of each pixel in the camera's own PyTorch3D frame, (height, width, 3) float64.

    Normalised coordinates span [-1, 1] over the shorter side, pixel centres inside, + on the left and at the top.
    """
    side = min(height, width)
    x = (width - 1 - 2 * np.arange(width)) / side
    y = (height - 1 - 2 * np.arange(height)) / side
    grid = np.ones((height, width, 3))
    grid[..., 0] = x[None, :] / (2 * focal[0])
    grid[..., 1] = y[:, None] / (2 * focal[1])
    return grid / np.linalg.norm(grid, axis=-1, keepdims=True)


def camera_rays(cameras: Sequence[Camera], height: int, width: int) -> np.ndarray:
    """Return the rays of cameras in the first one's frame, (n, 6, height, width) float32: direction, then moment."""
    rays = np.empty((len(cameras), 6, height, width), dtype=np.float32)
    for index, camera in enumerate(relative_to_first(cameras)):
        rotation, center = _world_pose(camera)
        directions = pixel_directions(height, width, camera.focal) @ rotation.T
        moments = np.cross(np.broadcast_to(center, directions.shape), directions)
        rays[index] = np.concatenate([directions, moments], axis=-1).transpose(2, 0, 1)
    return rays


def _world_pose(camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """Return rotation (3,3) and centre (3,) of a camera, with both camera and world in PyTorch3D axes."""
    flip = np.diag([-1.0, -1.0, 1.0, 1.0])
    matrix = flip @ change_axes(camera.camera_to_world, "opencv", "pytorch3d")
    return matrix[:3, :3], matrix[:3, 3]


def rays_to_latent(rays: np.ndarray, num_channels: int = 16) -> np.ndarray:
    """Return rays (..., 6, h, w) as latents (..., num_channels, h, w): repeated, cut, scaled.

    16 channels hold the ray twice and its first four numbers again.
    """
    copies = -(-num_channels // 6)
    return np.concatenate([rays] * copies, axis=-3)[..., :num_channels, :, :] * np.float32(RAY_SCALE)


def latent_to_rays(latent: np.ndarray) -> np.ndarray:
    """Return latents (..., c, h, w) as rays (..., 6, h, w): the mean of the copies of each channel, unscaled.

    How the paper merges the copies is not stated; the mean uses all of them. Raises ConfigError below six channels.
    """
    num_channels = latent.shape[-3]
    if num_channels < 6:
        raise ConfigError(f"latents of rays must have at least 6 channels, got {num_channels}.")
    channels = [latent[..., first::6, :, :].mean(axis=-3) for first in range(6)]
    return np.stack(channels, axis=-3) / RAY_SCALE


def rays_to_cameras(rays: np.ndarray, focal: tuple[float, float] = (DEFAULT_FOCAL, DEFAULT_FOCAL)) -> list[Camera]:
    """Return the cameras (first one the identity) that best explain rays (n, 6, h, w) of known focal length.

    Centre: least-squares intersection of the rays. Rotation: the one that turns the rays' directions into an identity
    camera's, by SVD. Moments are divided by the length of their direction first, which is better on noisy rays.
    Raises SampleError `rays_not_finite`, `rays_too_short` or `rays_parallel` when there is no answer.
    """
    if rays.ndim != 4 or rays.shape[1] != 6:
        raise ConfigError(f"rays must have the shape (n, 6, h, w), got {rays.shape}.")
    canonical = pixel_directions(rays.shape[2], rays.shape[3], focal).reshape(-1, 3)
    cameras = []
    for index, image in enumerate(np.asarray(rays, dtype=np.float64)):
        flat = image.reshape(6, -1).T
        center, rotation = _fit(flat[:, :3], flat[:, 3:], canonical, index)
        # the world of the rays has PyTorch3D axes; which one no longer matters once the first camera is the origin
        camera = from_pytorch3d(rotation, -center @ rotation)
        cameras.append(Camera(camera.camera_to_world, focal))
    return relative_to_first(cameras)


def _fit(
    directions: np.ndarray, moments: np.ndarray, canonical: np.ndarray, index: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return centre (3,) and row-vector rotation (3,3) of one image of rays, given as (n,3) directions and moments."""
    if not (np.isfinite(directions).all() and np.isfinite(moments).all()):
        raise SampleError("rays_not_finite", f"rays must be finite, got others in view {index}.")
    length = np.linalg.norm(directions, axis=1, keepdims=True)
    if length.min() < 1e-6:
        raise SampleError("rays_too_short", f"directions of rays must not vanish, got one that does in view {index}.")
    directions, moments = directions / length, moments / length
    center, fixed = nearest_point(np.cross(directions, moments), directions)
    if fixed < 1e-8:
        raise SampleError("rays_parallel", f"rays must spread from a point, got parallel ones in view {index}.")
    u, _, vt = np.linalg.svd(directions.T @ canonical)
    return center, u @ np.diag([1.0, 1.0, np.linalg.det(u @ vt)]) @ vt
