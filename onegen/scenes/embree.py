"""The default renderer: rays by Embree, colours by numpy. No GL, no window, no GPU; the same bytes every time.

Needs the extra `scenes`. Rays go through pixels one by one, whatever the number of threads, and no sum is left to BLAS.
"""

import importlib.metadata
import math
from collections.abc import Iterator, Sequence

import numpy as np

from onegen.errors import ConfigError
from onegen.geometry.cameras import Camera
from onegen.scenes.hits import Hits, Subject, layers, sum_rows, unit
from onegen.scenes.lighting import Lighting, make_lighting, to_srgb
from onegen.scenes.scene import RenderOptions, Scene, View, describe
from onegen.scenes.shading import shade
from onegen.scenes.window import Window

_STEEP = 8.0
"""Pixels that depth may change by from a pixel to the next within a surface."""
_CREASE = 0.9
"""Cosine between normals of neighbours below which they meet in a crease."""


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
        subject = Subject(scene.mesh)
        record = describe(scene, "embree", self.version, options)
        for camera in cameras:
            window = Window(camera, options.width, options.height, subject.mesh)
            depth = np.zeros((options.height, options.width), np.float32)
            colour = np.full((options.height, options.width, 3), 255, np.uint8)
            inside = window.rows, window.columns
            hits, depth[inside] = _meet(subject, window)
            if options.has_colour:
                colour[inside] = _draw(hits, window, options.samples, lighting)
            yield View(camera, colour, depth, np.where(depth > 0, 255, 0).astype(np.uint8), record)

    def close(self) -> None:
        """Nothing is held."""


def _meet(subject: Subject, window: Window) -> tuple[Hits, np.ndarray]:
    """Return what a ray through the centre of each pixel of a window meets first, and depth float32 (h,w)."""
    rays = window.rays()
    depth = np.zeros(len(rays), np.float32)
    hits = Hits(subject, rays, subject.hit(window.origins(len(rays)), rays), depth)
    depth[hits.pixels] = hits.distance
    is_clear = subject.clear[hits.owner]
    if is_clear.any():
        _see_through(depth, subject, window, hits.pixels[is_clear])
    return hits, depth.reshape(window.shape)


def _draw(hits: Hits, window: Window, samples: int, lighting: Lighting) -> np.ndarray:
    """Return sRGB uint8 (h,w,3) over white of a window, given what its pixels' centres meet.

    A pixel within a surface takes its light at its centre, from maps filtered to its size; one at an edge, or behind
    something transparent, takes the mean of a square of samples. Light is averaged as light, then laid over white as
    sRGB by its coverage, as readers of RGBA renders do.
    """
    total = np.zeros((window.shape[0] * window.shape[1], 4), np.float32)
    busy = _edges(hits, window)
    busy[hits.pixels[hits.subject.clear[hits.owner]]] = True
    calm = hits.chosen(~busy[hits.pixels])
    total[calm.pixels, :3] = _light(calm, 1 / window.focal[0], lighting)[0]
    total[calm.pixels, 3] = 1
    total[busy] = _sampled(hits.subject, window, np.flatnonzero(busy), samples, lighting)
    covered = total[:, 3:]
    colour = to_srgb(total[:, :3] / np.maximum(covered, 1e-6)) * covered + (1 - covered)
    return np.rint(colour * 255).astype(np.uint8).reshape(*window.shape, 3)


def _edges(hits: Hits, window: Window) -> np.ndarray:
    """Return which pixels (n,) have a neighbour of another surface: none, another material, a step or a crease."""
    height, width = window.shape
    owner, depth = np.full((height, width), -1, np.int32), np.full((height, width), np.inf, np.float32)
    normal = np.zeros((height, width, 3), np.float32)
    owner.flat[hits.pixels], depth.flat[hits.pixels] = hits.owner, hits.distance
    normal.reshape(-1, 3)[hits.pixels] = unit(hits.geometric)
    edges = np.zeros((height, width), bool)
    for before, after in ((np.s_[:, :-1], np.s_[:, 1:]), (np.s_[:-1], np.s_[1:])):
        nearer = np.minimum(depth[before], depth[after])
        with np.errstate(invalid="ignore"):
            step = np.abs(depth[before] - depth[after]) > _STEEP * nearer / np.float32(window.focal[0])
        crease = np.abs(sum_rows((normal[before] * normal[after]).reshape(-1, 3))).reshape(step.shape) < _CREASE
        apart = (owner[before] != owner[after]) | ((owner[before] >= 0) & (step | crease))
        edges[before] |= apart
        edges[after] |= apart
    return edges.reshape(-1)


def _see_through(depth: np.ndarray, subject: Subject, window: Window, pixels: np.ndarray) -> None:
    """Set depths of some pixels to the first surface that lets less than half of the light through."""
    rays = window.rays(pixels=pixels)
    depth[pixels] = 0
    for alive, hits, go_on in layers(subject, window, rays):
        is_there = hits.paint(1 / window.focal[0], with_light=False)[0] >= 0.5
        go_on[:] = ~is_there
        depth[pixels[alive[is_there]]] = hits.distance[is_there]


def _sampled(subject: Subject, window: Window, pixels: np.ndarray, samples: int, lighting: Lighting) -> np.ndarray:
    """Return light and coverage (n,4) of some pixels, the mean of a square of samples in each."""
    a_side = max(1, round(math.sqrt(samples)))
    total = np.zeros((len(pixels), 4), np.float32)
    for dy in (np.arange(a_side) + 0.5) / a_side:
        for dx in (np.arange(a_side) + 0.5) / a_side:
            through = np.ones((len(pixels), 1), np.float32)
            for alive, hits, go_on in layers(subject, window, window.rays(dx, dy, pixels)):
                light, opacity = _light(hits, 1 / (window.focal[0] * a_side), lighting)
                weight = through[alive] * opacity[:, None]
                total[alive, :3] += light * weight
                total[alive, 3:] += weight
                through[alive] -= weight
                go_on[:] = through[alive, 0] > 0.01
    return total / (a_side * a_side)


def _light(hits: Hits, step: float, lighting: Lighting) -> tuple[np.ndarray, np.ndarray]:
    """Return the light (n,3) that leaves hits for the eye, in [0, 1], and their opacity (n,)."""
    opacity, surface = hits.paint(step, with_light=True)
    assert surface is not None, "light was asked for"
    to_eye = -unit(hits.rays)
    return np.clip(shade(surface, hits.normals(to_eye), to_eye, lighting), 0.0, 1.0), opacity
