"""What light leaves a surface: glTF's metallic-roughness model under a white world and suns.

GGX with Schlick's Fresnel for suns; for the even world its integral, by the polynomial that Karis published for
mobile devices ("Physically Based Shading on Mobile", 2014). No surface shadows another.
"""

from dataclasses import dataclass

import numpy as np

from onegen.scenes.lighting import Lighting

_DIELECTRIC = np.float32(0.04)


@dataclass(frozen=True, slots=True, eq=False)
class Surface:
    """Points of a surface: linear `albedo` (n,3) and `emission` (n,3), `metallic` and `roughness` (n,1) in [0, 1]."""

    albedo: np.ndarray
    emission: np.ndarray
    metallic: np.ndarray
    roughness: np.ndarray


def shade(surface: Surface, normals: np.ndarray, to_eye: np.ndarray, lighting: Lighting) -> np.ndarray:
    """Return linear radiance (n,3) float32 of points with unit `normals` (n,3), seen along unit `to_eye` (n,3)."""
    facing = np.clip(_dot(normals, to_eye), 1e-3, 1.0)
    base = _DIELECTRIC * (1 - surface.metallic) + surface.albedo * surface.metallic
    reflected = _reflected_world(base, surface.roughness, facing)
    diffuse = surface.albedo * (1 - surface.metallic) * (1 - reflected)
    colour = surface.emission + np.float32(lighting.world) * (diffuse + reflected)
    for sun in lighting.suns:
        towards = np.asarray(sun.towards, np.float32)
        towards = towards / np.sqrt((towards**2).sum())
        lit = np.clip(_dot(normals, towards), 0.0, 1.0)
        gloss = _gloss(base, surface.roughness, normals, to_eye, towards, facing, lit)
        colour += np.float32(sun.strength) * lit * (diffuse + gloss)
    return colour


def _reflected_world(base: np.ndarray, roughness: np.ndarray, facing: np.ndarray) -> np.ndarray:
    """Return the share of an even world that is mirrored, (n,3)."""
    x, y = 1 - roughness, -0.0275 * roughness + 0.0425
    z, w = -0.572 * roughness + 1.04, 0.022 * roughness - 0.04
    bent = np.minimum(x * x, np.exp2(-9.28 * facing)) * x + y
    return np.clip(base * (-1.04 * bent + z) + (1.04 * bent + w), 0.0, 1.0).astype(np.float32)


def _gloss(
    base: np.ndarray,
    roughness: np.ndarray,
    normals: np.ndarray,
    to_eye: np.ndarray,
    towards: np.ndarray,
    facing: np.ndarray,
    lit: np.ndarray,
) -> np.ndarray:
    """Return pi times the specular reflectance for one sun, (n,3)."""
    half = to_eye + towards
    half /= np.sqrt(_dot(half, half)) + np.float32(1e-9)
    width = np.maximum(roughness, 0.05) ** 2
    spread = np.clip(_dot(normals, half), 0.0, 1.0) ** 2 * (width**2 - 1) + 1
    k = width / 2
    visible = 0.25 / ((lit * (1 - k) + k) * (facing * (1 - k) + k))
    fresnel = base + (1 - base) * (1 - np.clip(_dot(to_eye, half), 0.0, 1.0)) ** 5
    return width**2 / (spread * spread) * visible * fresnel


def _dot(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the dot product of rows, (n,1), summed in one order on every machine."""
    product = one * other
    return product[:, 0:1] + product[:, 1:2] + product[:, 2:3]
