"""The light of renders: a white world and suns without shadows, fixed in the world so that views agree.

One description for every renderer. The eye of all pictures is sRGB without a tone curve, on white.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from onegen.errors import ConfigError, nearest


@dataclass(frozen=True, slots=True)
class Sun:
    """Light from far away: `towards` it, (x, y, z) in the world, and `strength`, 1 lights a facing white to white."""

    towards: tuple[float, float, float]
    strength: float


@dataclass(frozen=True, slots=True)
class Lighting:
    """An even white world of `world` (1 lights a white surface to white from all sides) and suns."""

    world: float
    suns: tuple[Sun, ...] = ()


LIGHTING: Mapping[str, Lighting] = {
    "studio": Lighting(0.45, (Sun((0.6, -0.5, 0.9), 0.55), Sun((-0.7, 0.4, 0.4), 0.15), Sun((0.0, 0.8, -0.5), 0.08))),
    "even": Lighting(1.0),
}
"""Presets: `studio` models the form (key, fill, and a weak one from below behind), `even` shows colours as they are."""


def make_lighting(name: str) -> Lighting:
    """Return a preset; raises ConfigError for an unknown one."""
    if name not in LIGHTING:
        raise ConfigError(f"lighting must be a known one, got {name!r}: {nearest(name, LIGHTING)}")
    return LIGHTING[name]


def to_linear(srgb: np.ndarray) -> np.ndarray:
    """Return linear values of sRGB ones, both in [0, 1]."""
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


LINEAR_OF_BYTE = to_linear(np.arange(256) / 255.0).astype(np.float32)
"""Linear value of each sRGB byte."""


def to_srgb(linear: np.ndarray) -> np.ndarray:
    """Return sRGB values in [0, 1] of linear ones, which are clipped to it."""
    linear = np.clip(linear, 0.0, 1.0)
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
