"""The default renderer: rays by Embree, colours by numpy. No GL, no window, no GPU; the same bytes every time.

Needs the extra `scenes`. Rays go through pixels one by one, whatever the number of threads, and no sum is left to BLAS.
"""

import importlib.metadata
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from onegen.errors import ConfigError
from onegen.geometry.cameras import Camera
from onegen.scenes.lighting import Lighting, make_lighting, to_srgb
from onegen.scenes.mesh import Mesh
from onegen.scenes.scene import RenderOptions, Scene, View, describe
from onegen.scenes.shading import Surface, shade
from onegen.scenes.texture import Pyramid, linear_of

_LAYERS = 8
"""Transparent surfaces that a ray passes through at most."""
_STEP = 1e-4
"""How far behind a surface a ray goes on, in units of the object, which is about one across."""


class EmbreeRenderer:
    """Draws views of one object after the other; holds nothing between them."""

    def __init__(self) -> None:
        try:
            self.version = importlib.metadata.version("embreex")
        except importlib.metadata.PackageNotFoundError as error:
            raise ConfigError(
                "renderer embree needs embreex, which is not installed. Install it with: pip install 'onegen[scenes]'"
            ) from error

    def render(self, scene: Scene, cameras: Sequence[Camera], options: RenderOptions) -> Iterator[View]:
        """Yield a view a camera; the object is prepared once."""
        lighting = make_lighting(options.lighting)
        subject = _Subject(scene.mesh)
        record = describe(scene, "embree", self.version, options)
        for camera in cameras:
            window = _Window(camera, options, subject.mesh)
            depth = np.zeros((options.height, options.width), np.float32)
            depth[window.rows, window.columns] = _depth(subject, window)
            colour = np.full((options.height, options.width, 3), 255, np.uint8)
            colour[window.rows, window.columns] = _colour(subject, window, options.samples, lighting)
            yield View(camera, colour, depth, np.where(depth > 0, 255, 0).astype(np.uint8), record)

    def close(self) -> None:
        """Nothing is held."""


class _Subject:
    """A mesh with what every ray asks of it: Embree's tree, pyramids of its maps, texel densities of its faces."""

    def __init__(self, mesh: Mesh) -> None:
        from embreex.mesh_construction import TriangleMesh
        from embreex.rtcore_scene import EmbreeScene

        self.mesh = mesh
        self.tree = EmbreeScene(robust=True)
        TriangleMesh(self.tree, np.ascontiguousarray(mesh.positions), np.ascontiguousarray(mesh.faces))
        self.is_clear = any(material.alpha != "opaque" for material in mesh.materials)
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


class _Window:
    """The part of an image an object lies in, and the rays through it."""

    def __init__(self, camera: Camera, options: RenderOptions, mesh: Mesh) -> None:
        side = min(options.width, options.height)
        self.focal = camera.focal[0] * side, camera.focal[1] * side
        self.right, self.down, self.forward = camera.camera_to_world[:3, :3].T
        self.centre = camera.center
        self.size = options.width, options.height
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

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns, either maybe none."""
        return max(self.rows.stop - self.rows.start, 0), max(self.columns.stop - self.columns.start, 0)

    def rays(self, dx: float = 0.5, dy: float = 0.5) -> np.ndarray:
        """Return directions (n,3) float32, row by row, through a point of every pixel; 1 along the optical axis."""
        height, width = self.shape
        x = (np.arange(width) + self.columns.start + dx - self.size[0] / 2) / self.focal[0]
        y = (np.arange(height) + self.rows.start + dy - self.size[1] / 2) / self.focal[1]
        grid = [x[None, :] * r + y[:, None] * d + f for r, d, f in zip(self.right, self.down, self.forward, strict=True)]
        return np.stack(grid, axis=-1).reshape(-1, 3).astype(np.float32)


def _along(vectors: np.ndarray, axis: np.ndarray) -> np.ndarray:
    return vectors[:, 0] * axis[0] + vectors[:, 1] * axis[1] + vectors[:, 2] * axis[2]


class _Hits:
    """Where some rays meet a surface: which rays, at what distance, on which face, and what is there."""

    def __init__(self, subject: _Subject, rays: np.ndarray, answer: dict[str, Any], travelled: np.ndarray) -> None:
        found = np.flatnonzero(answer["primID"] >= 0)
        self.subject, self.rays = subject, rays[found]
        self.face = answer["primID"][found]
        self.distance = travelled[found] + answer["tfar"][found]
        self.geometric = answer["Ng"][found]
        u, v = answer["u"][found], answer["v"][found]
        self.weights = np.stack([1 - u - v, u, v], axis=1)
        self.corners = subject.mesh.faces[self.face]
        self.owner = subject.mesh.face_material[self.face]

    def blend(self, values: np.ndarray) -> np.ndarray:
        """Return values of vertices (V,k) interpolated at the hits (n,k)."""
        one, two, three = (values[self.corners[:, k]] * self.weights[:, k : k + 1] for k in range(3))
        return one + two + three

    def paint(self, step: float, with_light: bool) -> tuple[np.ndarray, Surface | None]:
        """Return opacity (n,) of the hits and, if asked, their surface. `step` is what a ray covers at distance one."""
        count = len(self.face)
        colour = self.blend(self.subject.mesh.colours)
        uv = self.blend(self.subject.mesh.uv)
        footprint = self.subject.density[self.face] * self.distance * np.float32(step)
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
        flat = _unit(self.geometric)
        flat *= np.where((flat * to_eye).sum(axis=1, keepdims=True) < 0, -1, 1).astype(np.float32)
        smooth = self.blend(self.subject.mesh.normals)
        is_flat = (smooth * smooth).sum(axis=1, keepdims=True) < 0.01
        smooth = _unit(smooth)
        smooth *= np.where((smooth * flat).sum(axis=1, keepdims=True) < 0, -1, 1).astype(np.float32)
        return np.where(is_flat, flat, smooth)


def _layers(subject: _Subject, window: _Window, rays: np.ndarray) -> Iterator[tuple[np.ndarray, _Hits, np.ndarray]]:
    """Yield (rays, hits, go_on) a layer, nearest first: which rays met something, what, and a mask to be filled in.

    Whoever iterates sets `go_on` where a ray is to pass through.
    """
    alive = np.arange(len(rays))
    origin = window.centre.astype(np.float32)
    travelled = np.zeros(len(rays), np.float32)
    for _ in range(_LAYERS if subject.is_clear else 1):
        if not len(alive):
            return
        directions = rays[alive]
        starts = np.ascontiguousarray(np.broadcast_to(origin, directions.shape)) + directions * travelled[alive, None]
        answer = subject.hit(starts, directions)
        hits = _Hits(subject, directions, answer, travelled[alive])
        alive = alive[answer["primID"] >= 0]
        go_on = np.zeros(len(alive), bool)
        yield alive, hits, go_on
        travelled[alive] = hits.distance + np.float32(_STEP)
        alive = alive[go_on]


def _depth(subject: _Subject, window: _Window) -> np.ndarray:
    """Return depth at pixels' centres: the first surface that lets less than half of the light through."""
    rays = window.rays()
    depth = np.zeros(len(rays), np.float32)
    for alive, hits, go_on in _layers(subject, window, rays):
        is_there = np.ones(len(alive), bool)
        if subject.is_clear:
            is_there = hits.paint(1 / window.focal[0], with_light=False)[0] >= 0.5
            go_on[:] = ~is_there
        depth[alive[is_there]] = hits.distance[is_there]
    return depth.reshape(window.shape)


def _colour(subject: _Subject, window: _Window, samples: int, lighting: Lighting) -> np.ndarray:
    """Return sRGB uint8 (h,w,3) over white, the mean of a square of samples a pixel.

    Light is averaged as light; then it is laid over white as sRGB by its coverage, as readers of RGBA renders do.
    """
    a_side = max(1, round(math.sqrt(samples)))
    offsets = (np.arange(a_side) + 0.5) / a_side
    total = np.zeros((math.prod(window.shape), 4), np.float32)
    for dy in offsets:
        for dx in offsets:
            _add_samples(total, subject, window, window.rays(dx, dy), 1 / (window.focal[0] * a_side), lighting)
    total /= a_side * a_side
    covered = total[:, 3:]
    light = total[:, :3] / np.maximum(covered, 1e-6)
    colour = to_srgb(light) * covered + (1 - covered)
    return np.rint(colour * 255).astype(np.uint8).reshape(*window.shape, 3)


def _add_samples(
    total: np.ndarray, subject: _Subject, window: _Window, rays: np.ndarray, step: float, lighting: Lighting
) -> None:
    """Add the light (r, g, b) and coverage that come along rays to `total` (n,4)."""
    through = np.ones((len(rays), 1), np.float32) if subject.is_clear else None
    for alive, hits, go_on in _layers(subject, window, rays):
        opacity, surface = hits.paint(step, with_light=True)
        assert surface is not None, "light was asked for"
        to_eye = -_unit(hits.rays)
        light = np.clip(shade(surface, hits.normals(to_eye), to_eye, lighting), 0.0, 1.0)
        if through is None:
            total[alive, :3] += light
            total[alive, 3] += 1
            continue
        weight = through[alive] * opacity[:, None]
        total[alive, :3] += light * weight
        total[alive, 3:] += weight
        through[alive] -= weight
        go_on[:] = through[alive, 0] > 0.01


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.sqrt((vectors * vectors).sum(axis=1, keepdims=True)), np.float32(1e-20))
