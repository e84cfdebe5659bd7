"""Rigs: where the cameras around an object stand, as presets with a seed.

All look at the origin, z is up. What the published sets do is written in docs/scenes.md, with what was only remembered.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from onegen.errors import ConfigError, nearest
from onegen.geometry.cameras import Camera, change_axes, check_focal

RENDER_FOCAL = 50 / 36
"""Focal length over the image side of renders: 1.38889, what G-Objaverse has."""
ZERO123_FOCAL = 35 / 32
"""Focal length over the image side of Zero123's renders: a field of view of 49.1 degrees."""
TRELLIS_FOCAL = 0.5 / math.tan(math.radians(20))
"""Focal length over the image side of TRELLIS's renders: a field of view of 40 degrees."""
CUBE_DISTANCE = 2.56
"""The nearest a camera of `RENDER_FOCAL` may come to a unit cube, seen over its corner, without cropping it."""

Layout = Literal["sphere", "ring", "hammersley", "path", "two_rings"]


@dataclass(frozen=True, slots=True)
class Rig:
    """A way to place cameras: `views` of them, ranges in degrees and in units of the normalised object.

    `layout` is `sphere` (uniform over the part of the sphere within `elevation`, seeded), `ring` (even azimuths from
    the start of the range, one elevation each, drawn from its range where that is one), `hammersley` (an even spread
    over the sphere, turned by the seed), `path` (azimuth, elevation and distance each in even steps from one end of
    their range to the other), or `two_rings` (G-Objaverse's). `focal` is in sides of the image.
    """

    layout: Layout
    views: int
    azimuth: tuple[float, float] = (0.0, 360.0)
    elevation: tuple[float, float] = (-90.0, 90.0)
    distance: tuple[float, float] = (1.7, 1.7)
    focal: float = RENDER_FOCAL

    def __post_init__(self) -> None:
        if self.views < 1:
            raise ConfigError(f"views of a rig must be at least 1, got {self.views}.")
        for name, (low, high) in (
            ("azimuth", self.azimuth),
            ("elevation", self.elevation),
            ("distance", self.distance),
        ):
            if not (math.isfinite(low) and math.isfinite(high)) or (low > high and self.layout != "path"):
                raise ConfigError(f"{name} of a rig must be a range from low to high, got {low} to {high}.")
        if not all(-90 <= angle <= 90 for angle in self.elevation):
            raise ConfigError(f"elevation of a rig must lie in -90 to 90 degrees, got {self.elevation}.")
        if min(self.distance) <= 0:
            raise ConfigError(f"distance of a rig must be positive, got {self.distance}.")
        check_focal((self.focal, self.focal))

    def cameras(self, seed: int = 0) -> list[Camera]:
        """Return the cameras of one object, the same for the same seed."""
        azimuths, elevations, distances = _PLACES[self.layout](self, np.random.default_rng(seed))
        return [
            look_at_origin(float(azimuth), float(elevation), float(distance), self.focal)
            for azimuth, elevation, distance in zip(azimuths, elevations, distances, strict=True)
        ]


RIGS: Mapping[str, Rig] = {
    "zero123": Rig("sphere", 8, distance=(1.5, 2.2), focal=ZERO123_FOCAL),
    "objaverse_xl": Rig("sphere", 12, distance=(1.5, 2.2), focal=ZERO123_FOCAL),
    "trellis": Rig("hammersley", 150, distance=(2.0, 2.0), focal=TRELLIS_FOCAL),
    "gobjaverse": Rig("two_rings", 40, elevation=(5.0, 30.0), distance=(CUBE_DISTANCE, CUBE_DISTANCE)),
    "gso30": Rig("sphere", 25, distance=(1.5, 2.2), focal=ZERO123_FOCAL),
    "ring": Rig("ring", 12, elevation=(20.0, 20.0)),
    "hammersley": Rig("hammersley", 24),
    "path": Rig("path", 12, azimuth=(-45.0, 60.0), elevation=(-15.0, 45.0)),
}
"""Presets by name; `path` is the range of azimuths and elevations that figures of the paper walk through."""


def make_rig(name: str, changes: Mapping[str, Any] | None = None) -> Rig:
    """Return a preset, some of its numbers changed; raises ConfigError for an unknown name or number."""
    if name not in RIGS:
        raise ConfigError(f"rig must be a known one, got {name!r}: {nearest(name, RIGS)}")
    known = set(Rig.__slots__) - {"layout"}
    for word in changes or {}:
        if word not in known:
            raise ConfigError(f"a rig has no {word!r}: {nearest(word, known)}")
    ranges = {
        word: (value, value) if isinstance(value, int | float) else tuple(value)
        for word, value in (changes or {}).items()
        if word in ("azimuth", "elevation", "distance")
    }
    return replace(RIGS[name], **{**(changes or {}), **ranges})


def look_at_origin(azimuth: float, elevation: float, distance: float, focal: float = RENDER_FOCAL) -> Camera:
    """Return a camera on a sphere around the origin that looks at it, also from the poles.

    As `cameras.orbit`, but straight above or below, where "up" is along the axis of sight, +y is up instead.
    """
    a, e = math.radians(azimuth), math.radians(elevation)
    back = np.array([math.cos(e) * math.cos(a), math.cos(e) * math.sin(a), math.sin(e)])
    right = np.cross([0.0, 0.0, 1.0] if abs(back[2]) < 1 - 1e-9 else [0.0, 1.0, 0.0], back)
    right /= np.linalg.norm(right)
    matrix = np.eye(4)
    matrix[:3, :3] = np.stack([right, np.cross(back, right), back], axis=1)
    matrix[:3, 3] = distance * back
    return Camera(change_axes(matrix, "opengl", "opencv"), (focal, focal))


Places = tuple[np.ndarray, np.ndarray, np.ndarray]


def _sphere(rig: Rig, rng: np.random.Generator) -> Places:
    low, high = (math.sin(math.radians(angle)) for angle in rig.elevation)
    azimuth = rng.uniform(*rig.azimuth, rig.views)
    # The area of a band of a sphere is proportional to its height: heights are drawn evenly, not angles.
    elevation = np.degrees(np.arcsin(rng.uniform(low, high, rig.views)))
    return azimuth, elevation, rng.uniform(*rig.distance, rig.views)


def _ring(rig: Rig, rng: np.random.Generator) -> Places:
    low, high = rig.azimuth
    azimuth = low + (high - low) * np.arange(rig.views) / rig.views
    return azimuth, rng.uniform(*rig.elevation, rig.views), rng.uniform(*rig.distance, rig.views)


def _hammersley(rig: Rig, rng: np.random.Generator) -> Places:
    index = np.arange(rig.views)
    turn, shift = rng.uniform(size=2)
    low, high = (math.sin(math.radians(angle)) for angle in rig.elevation)
    height = low + (high - low) * ((index + shift) / rig.views)
    start, end = rig.azimuth
    azimuth = start + (end - start) * ((_radical_inverse(rig.views) + turn) % 1.0)
    return azimuth, np.degrees(np.arcsin(np.clip(height, -1, 1))), rng.uniform(*rig.distance, rig.views)


def _path(rig: Rig, rng: np.random.Generator) -> Places:
    azimuth, elevation, distance = (
        np.linspace(*ends, rig.views) for ends in (rig.azimuth, rig.elevation, rig.distance)
    )
    return azimuth, elevation, distance


def _two_rings(rig: Rig, rng: np.random.Generator) -> Places:
    """G-Objaverse's forty: a ring of 25 (the last over the first), top, bottom, a level ring of 13."""
    azimuth = np.concatenate([np.arange(25) * 15.0, [0.0, 0.0], np.arange(13) * 30.0])
    upper, level = rng.uniform(*rig.elevation), rng.uniform(-5.0, 5.0)
    elevation = np.concatenate([np.full(25, upper), [90.0, -90.0], np.full(13, level)])
    count = min(rig.views, len(azimuth))
    return azimuth[:count], elevation[:count], np.full(count, rng.uniform(*rig.distance))


def _radical_inverse(count: int) -> np.ndarray:
    """Return the van der Corput sequence in base 2: the bits of 0, 1, 2 ... mirrored at the binary point."""
    index, value, weight = np.arange(count), np.zeros(count), 0.5
    while index.any():
        value += weight * (index & 1)
        index, weight = index >> 1, weight / 2
    return value


_PLACES = {"sphere": _sphere, "ring": _ring, "hammersley": _hammersley, "path": _path, "two_rings": _two_rings}
