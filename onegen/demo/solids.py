"""Solids and the rays that meet them: the exact geometry of the demo's scenes, in numpy alone.

Axes: x to the right, y up, z forward, the floor is y = 0. Rays have a component of 1 along the camera's axis, so that
the parameter at which one meets a surface is the planar depth there.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

_NEAR = 1e-4
"""Least depth at which a ray meets anything."""

Hits = tuple[np.ndarray, np.ndarray]
"""Depths (N,), infinite where a ray meets nothing, and the surface's outward normals (N,3) there."""


@dataclass(frozen=True, slots=True)
class View:
    """A camera above the floor at x = z = 0, looking forward and down: height in the scene's unit, pitch in radians.

    `focal` is the focal length in widths of the picture.
    """

    height: float
    pitch: float
    focal: float = 1.0

    def rays(self, height: int, width: int, samples: int = 1) -> tuple[np.ndarray, np.ndarray]:
        """Return origin (3,) and directions (H*samples, W*samples, 3) of the rays of a picture.

        Each pixel has samples x samples of them, the middle one through its centre where `samples` is odd.
        """
        columns = (np.arange(width * samples) + 0.5) / samples - width / 2
        rows = height / 2 - (np.arange(height * samples) + 0.5) / samples
        scale = 1.0 / (self.focal * width)
        x, y = np.meshgrid(columns * scale, rows * scale)
        sin, cos = np.sin(self.pitch), np.cos(self.pitch)
        return np.array([0.0, self.height, 0.0]), np.stack([x, y * cos - sin, y * sin + cos], axis=-1)


@dataclass(frozen=True, slots=True)
class Solid(ABC):
    """A solid that stands on the floor at (x, z): `radius` is half its width, `tall` its height."""

    x: float
    z: float
    radius: float
    tall: float

    @abstractmethod
    def hits(self, origin: np.ndarray, rays: np.ndarray) -> Hits:
        """Return where rays (N,3) from `origin` first meet it."""

    def project(self, view: View, width: int) -> tuple[float, float]:
        """Return column and depth of its middle in a picture of `width` pixels."""
        sin, cos = np.sin(view.pitch), np.cos(view.pitch)
        depth = self.z * cos - (self.tall / 2 - view.height) * sin
        return float(width / 2 + view.focal * width * self.x / depth), float(depth)


class Ball(Solid):
    """A ball; its height is its width."""

    def hits(self, origin: np.ndarray, rays: np.ndarray) -> Hits:
        """Return where rays first meet it."""
        centre = np.array([self.x, self.radius, self.z])
        to = origin - centre
        depth = _root((rays**2).sum(-1), rays @ to, float(to @ to) - self.radius**2)
        return depth, _at(origin, rays, depth, centre) / self.radius


class Box(Solid):
    """An upright box with a square base, turned by 30 degrees so that two sides show."""

    def hits(self, origin: np.ndarray, rays: np.ndarray) -> Hits:
        """Return where rays first meet it."""
        cos, sin = np.cos(np.pi / 6), np.sin(np.pi / 6)
        turn = np.array([[cos, 0.0, sin], [0.0, 1.0, 0.0], [-sin, 0.0, cos]])
        centre = np.array([self.x, self.tall / 2, self.z])
        # A square of this half side has its corners at about the radius of the other solids.
        half = np.array([0.8 * self.radius, self.tall / 2, 0.8 * self.radius])
        start, way = turn @ (origin - centre), rays @ turn.T
        with np.errstate(divide="ignore", invalid="ignore"):
            one, other = (-half - start) / way, (half - start) / way
        enter, leave = np.fmin(one, other), np.fmax(one, other)
        side = enter.argmax(-1)
        near, far = enter.max(-1), leave.min(-1)
        depth = np.where((near < far) & (near > _NEAR), near, np.inf)
        facing = -np.sign(np.take_along_axis(way, side[:, None], 1))
        return depth, (np.eye(3)[side] * facing) @ turn


class Cylinder(Solid):
    """An upright cylinder with a flat top."""

    def hits(self, origin: np.ndarray, rays: np.ndarray) -> Hits:
        """Return where rays first meet it."""
        centre = np.array([self.x, 0.0, self.z])
        to = origin - centre
        flat, start = rays[:, ::2], to[::2]
        wall = _root((flat**2).sum(-1), flat @ start, float(start @ start) - self.radius**2)
        wall = _within(wall, to[1] + _product(wall, rays[:, 1]), 0.0, self.tall)
        with np.errstate(divide="ignore", invalid="ignore"):
            top = (self.tall - to[1]) / rays[:, 1]
        landed = start + np.where(np.isfinite(top), top, 0.0)[:, None] * flat
        top = np.where((top > _NEAR) & ((landed**2).sum(-1) <= self.radius**2), top, np.inf)
        depth = np.minimum(wall, top)
        normals = _at(origin, rays, depth, centre) * [1.0, 0.0, 1.0] / self.radius
        return depth, np.where((top <= wall)[:, None], [0.0, 1.0, 0.0], normals)


class Cone(Solid):
    """An upright cone, its tip up; seen from above the floor its base never shows."""

    def hits(self, origin: np.ndarray, rays: np.ndarray) -> Hits:
        """Return where rays first meet it."""
        tip = np.array([self.x, self.tall, self.z])
        to, slope = origin - tip, self.radius / self.tall
        weights = np.array([1.0, -(slope**2), 1.0])
        depth = _root((rays**2) @ weights, rays @ (to * weights), float((to**2) @ weights))
        depth = _within(depth, to[1] + _product(depth, rays[:, 1]), -self.tall, 0.0)
        away = _at(origin, rays, depth, tip)
        across = np.hypot(away[:, 0], away[:, 2])
        normals = np.stack([away[:, 0], slope * across, away[:, 2]], axis=-1)
        return depth, normals / np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-12)


SOLIDS: dict[str, type[Solid]] = {"ball": Ball, "box": Box, "cylinder": Cylinder, "cone": Cone}
"""The kinds of solids by name."""


def _root(square: np.ndarray, half: np.ndarray, rest: float) -> np.ndarray:
    """Return the first root t > 0 of square t^2 + 2 half t + rest = 0, infinite where there is none."""
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = np.sqrt(half**2 - square * rest)
        first, second = (-half - spread) / square, (-half + spread) / square
    ahead = [np.where(root > _NEAR, root, np.inf) for root in (first, second)]
    return np.fmin(*ahead)


def _within(depth: np.ndarray, height: np.ndarray, low: float, high: float) -> np.ndarray:
    return np.where((height >= low) & (height <= high), depth, np.inf)


def _product(depth: np.ndarray, slope: np.ndarray) -> np.ndarray:
    """Return depth times slope, NaN where a ray meets nothing."""
    with np.errstate(invalid="ignore"):
        return np.where(np.isfinite(depth), depth, np.nan) * slope


def _at(origin: np.ndarray, rays: np.ndarray, depth: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """Return where rays are at a depth, seen from `centre`; the origin for rays that meet nothing."""
    seen: np.ndarray = origin + rays * np.where(np.isfinite(depth), depth, 0.0)[:, None] - centre
    return seen
