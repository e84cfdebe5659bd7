"""Where rays meet an object, and what is there: faces, colours, normals, layer behind layer."""

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np

from onegen.scenes.mesh import Mesh
from onegen.scenes.shading import Surface
from onegen.scenes.texture import Pyramid, linear_of
from onegen.scenes.window import Window

_LAYERS = 8
"""Transparent surfaces that a ray passes through at most."""
_STEP = 1e-4
"""How far behind a surface a ray goes on, in units of the object, which is about one across."""


class Subject:
    """A mesh with what every ray asks of it: Embree's tree, pyramids of its maps, texel densities of its faces."""

    def __init__(self, mesh: Mesh) -> None:
        from embreex.mesh_construction import TriangleMesh
        from embreex.rtcore_scene import EmbreeScene

        self.mesh = mesh
        self.tree = EmbreeScene(robust=True)
        TriangleMesh(self.tree, np.ascontiguousarray(mesh.positions), np.ascontiguousarray(mesh.faces))
        self.clear = np.array([material.alpha != "opaque" for material in mesh.materials])
        self.pyramids: dict[int, Pyramid] = {}
        for material in mesh.materials:
            for texels in (material.colour_map, material.metal_rough_map, material.emission_map):
                if texels is not None:
                    self.pyramids.setdefault(id(texels), Pyramid(texels))
        self.density = _density(mesh)

    def hit(self, origins: np.ndarray, directions: np.ndarray) -> dict[str, Any]:
        """Return Embree's answer for rays, (n,3) float32 each: primID (-1 for none), u, v, tfar, Ng."""
        return self.tree.run(origins, directions, query="INTERSECT", output=True)


def _density(mesh: Mesh) -> np.ndarray:
    """Return how much of a map's side one unit of length covers on each face, (F,) float32."""
    a, b, c = (mesh.positions[mesh.faces[:, corner]] for corner in range(3))
    area = np.sqrt((np.cross(b - a, c - a) ** 2).sum(axis=1))
    (u1, v1), (u2, v2) = ((mesh.uv[mesh.faces[:, k]] - mesh.uv[mesh.faces[:, 0]]).T for k in (1, 2))
    return np.sqrt(np.abs(u1 * v2 - u2 * v1) / np.maximum(area, 1e-20)).astype(np.float32)


class Hits:
    """Where some rays meet a surface: which rays, at what distance, on which face, and what is there."""

    def __init__(self, subject: Subject, rays: np.ndarray, answer: dict[str, Any], travelled: np.ndarray) -> None:
        found = np.flatnonzero(answer["primID"] >= 0)
        self.subject, self.pixels, self.rays = subject, found, rays[found]
        self.face = answer["primID"][found]
        self.distance = travelled[found] + answer["tfar"][found]
        self.geometric = answer["Ng"][found]
        u, v = answer["u"][found], answer["v"][found]
        self.weights = np.stack([1 - u - v, u, v], axis=1)
        self.owner = subject.mesh.face_material[self.face]

    def chosen(self, which: np.ndarray) -> "Hits":
        """Return some of the hits, by a mask (n,)."""
        some = copy.copy(self)
        for name in ("pixels", "rays", "face", "distance", "geometric", "weights", "owner"):
            setattr(some, name, getattr(self, name)[which])
        return some

    @property
    def corners(self) -> np.ndarray:
        """Vertices (n,3) of the faces that were met."""
        return self.subject.mesh.faces[self.face]

    def blend(self, values: np.ndarray) -> np.ndarray:
        """Return values of vertices (V,k) interpolated at the hits (n,k)."""
        corners = self.corners
        one, two, three = (values[corners[:, k]] * self.weights[:, k : k + 1] for k in range(3))
        return one + two + three

    def paint(self, step: float, with_light: bool) -> tuple[np.ndarray, Surface | None]:
        """Return opacity (n,) of the hits and, if asked, their surface. `step` is what a ray covers at distance one."""
        count = len(self.face)
        colour = self.blend(self.subject.mesh.colours)
        uv = self.blend(self.subject.mesh.uv)
        # a texel seen at a slant covers less of the picture; the square root stands between its two directions
        tilt = np.sqrt(np.maximum(np.abs(sum_rows(unit(self.geometric) * unit(self.rays))), 0.05))
        footprint = self.subject.density[self.face] * self.distance * np.float32(step) / tilt
        emission = np.zeros((count, 3), np.float32)
        metallic, roughness = np.zeros((count, 1), np.float32), np.ones((count, 1), np.float32)
        opacity = np.ones(count, np.float32)
        for number in np.unique(self.owner):
            material, at = self.subject.mesh.materials[number], np.flatnonzero(self.owner == number)
            colour[at] *= np.asarray(material.colour, np.float32)
            if material.colour_map is not None:
                texels = self._texels(material.colour_map, uv[at], footprint[at])
                colour[at] *= np.concatenate([linear_of(texels[:, :3]), texels[:, 3:] / 255], axis=1)
            if material.alpha != "opaque":
                alpha = colour[at, 3]
                opacity[at] = alpha if material.alpha == "blend" else alpha >= material.cutoff
            if not with_light:
                continue
            metallic[at], roughness[at] = material.metallic, material.roughness
            if material.metal_rough_map is not None:
                texels = self._texels(material.metal_rough_map, uv[at], footprint[at]) / 255
                metallic[at] *= texels[:, 2:3]
                roughness[at] *= texels[:, 1:2]
            emission[at] = np.asarray(material.emission, np.float32)
            if material.emission_map is not None:
                emission[at] *= linear_of(self._texels(material.emission_map, uv[at], footprint[at])[:, :3])
        return opacity, Surface(colour[:, :3], emission, metallic, roughness) if with_light else None

    def _texels(self, texels: np.ndarray, uv: np.ndarray, footprint: np.ndarray) -> np.ndarray:
        return self.subject.pyramids[id(texels)].look_up(uv, footprint)

    def normals(self, to_eye: np.ndarray) -> np.ndarray:
        """Return unit normals (n,3) on the side of the eye: nothing is culled, and winding is not trusted."""
        flat = unit(self.geometric)
        flat *= np.where(sum_rows(flat * to_eye)[:, None] < 0, np.float32(-1), np.float32(1))
        smooth = self.blend(self.subject.mesh.normals)
        is_flat = sum_rows(smooth * smooth)[:, None] < 0.01
        smooth = unit(smooth)
        smooth *= np.where(sum_rows(smooth * flat)[:, None] < 0, np.float32(-1), np.float32(1))
        return np.where(is_flat, flat, smooth)


def layers(subject: Subject, window: Window, rays: np.ndarray) -> Iterator[tuple[np.ndarray, Hits, np.ndarray]]:
    """Yield (rays, hits, go_on) a layer, nearest first: which rays met something, what, and a mask to be filled in.

    Whoever iterates sets `go_on` where a ray is to pass through.
    """
    alive = np.arange(len(rays))
    travelled = np.zeros(len(rays), np.float32)
    for _ in range(_LAYERS if subject.clear.any() else 1):
        if not len(alive):
            return
        directions = rays[alive]
        starts = window.origins(len(alive)) + directions * travelled[alive, None]
        answer = subject.hit(starts, directions)
        hits = Hits(subject, directions, answer, travelled[alive])
        alive = alive[answer["primID"] >= 0]
        go_on = np.zeros(len(alive), bool)
        yield alive, hits, go_on
        travelled[alive] = hits.distance + np.float32(_STEP)
        alive = alive[go_on]


def sum_rows(vectors: np.ndarray) -> np.ndarray:
    """Return the sum of each row of (n,3)."""
    return vectors[:, 0] + vectors[:, 1] + vectors[:, 2]


def unit(vectors: np.ndarray) -> np.ndarray:
    """Return rows of (n,3) at length one; those of no length stay so."""
    return vectors / np.maximum(np.sqrt(sum_rows(vectors * vectors)), np.float32(1e-20))[:, None]
