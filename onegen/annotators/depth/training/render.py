"""A small renderer with exact depth: textured planes, primitives, photo cut-outs and meshes under one lamp.

Rays are cast through planes, boxes, ellipsoids, cylinders and cut-out cards; meshes are splatted as points. The camera
stands at the origin and looks along +z, x to the right and y up; all coordinates are its own.
"""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from onegen.annotators.depth.training.materials import Cloud

_RENDERED = 256


@dataclass(frozen=True, slots=True)
class Solid:
    """A primitive of half size 1 ("box", "ellipsoid", "cylinder" or "card"), scaled, turned and moved into place.

    `turn` (3,3) takes its own axes to the camera's; `skin` is RGB, for a card RGBA, float32 (H,W,3 or 4).
    """

    shape: str
    centre: np.ndarray
    size: np.ndarray
    turn: np.ndarray
    skin: np.ndarray
    repeat: float = 1.0


class Canvas:
    """Colour and depth along every ray, nearest surface first."""

    def __init__(self, tangents: tuple[float, float], sky: np.ndarray, light: np.ndarray, ambient: float) -> None:
        x, y = np.meshgrid(*(np.linspace(-1 + 1 / _RENDERED, 1 - 1 / _RENDERED, _RENDERED),) * 2)
        self.rays = np.stack([x * tangents[0], -y * tangents[1], np.ones_like(x)], axis=2).astype(np.float32)
        self.tangents = tangents
        self.depth = np.full((_RENDERED, _RENDERED), np.inf, np.float32)  # along z
        self.colour = cv2.resize(sky, (_RENDERED, _RENDERED), interpolation=cv2.INTER_LINEAR)
        self._light, self._ambient = light, ambient

    def shade(self, normals: np.ndarray) -> np.ndarray:
        """Return the brightness of surfaces by their unit normals (...,3)."""
        return self._ambient + (1.0 - self._ambient) * np.maximum(normals @ self._light, 0.0)

    def plane(self, point: np.ndarray, axes: np.ndarray, skin: np.ndarray, scale: float) -> None:
        """Draw an endless plane through `point`; `axes` (3,3) has its two directions and its normal as rows."""
        slope = self.rays @ axes[2]
        with np.errstate(divide="ignore", invalid="ignore"):
            z = (point @ axes[2]) / slope
        hit = (z > 0.02) & (z < np.minimum(self.depth, 200.0))
        at = self.rays[hit] * z[hit][:, None] - point
        # The footprint of a pixel on the plane chooses how far the texture is smoothed.
        footprint = z[hit] * self.tangents[1] * 2 / _RENDERED / np.maximum(np.abs(slope[hit]), 0.02)
        self._set(hit, z[hit], _lookup(skin, (at @ axes[:2].T) / scale, footprint / scale) * self.shade(axes[2]))

    def solid(self, solid: Solid) -> None:
        """Draw a primitive."""
        rows, columns = self._window(solid)
        if rows.stop <= rows.start or columns.stop <= columns.start:
            return
        rays = (self.rays[rows, columns].reshape(-1, 3) @ solid.turn) / solid.size
        origin = (-solid.centre @ solid.turn) / solid.size
        z, normal, uv, alpha = _SHAPES[solid.shape](origin.astype(np.float32), rays.astype(np.float32), solid)
        shape = self.depth[rows, columns].shape
        hit = ((z > 0.02) & (z < self.depth[rows, columns].ravel()) & alpha).reshape(shape)
        chosen = hit.ravel()
        turned = (normal[chosen] / solid.size) @ solid.turn.T
        turned /= np.maximum(np.linalg.norm(turned, axis=1, keepdims=True), 1e-9)
        if solid.shape == "card":
            brightness = np.ones(chosen.sum())
        else:
            brightness = self.shade(turned)
        smooth = z[chosen] * self.tangents[1] / _RENDERED / solid.size.max() * solid.repeat
        colour = _lookup(solid.skin[:, :, :3], uv[chosen] * solid.repeat, smooth) * brightness[:, None]
        full = np.zeros_like(self.depth, bool)
        full[rows, columns] = hit
        self._set(full, z[chosen], colour)

    def cloud(self, cloud: Cloud, centre: np.ndarray, size: float, turn: np.ndarray) -> None:
        """Draw a mesh of half size `size`."""
        at = cloud.points @ turn.T * size + centre
        seen = at[:, 2] > 0.05
        if not seen.any():
            return
        normals = cloud.normals[seen] @ turn.T
        facing = np.sign(-(normals * at[seen]).sum(axis=1, keepdims=True))
        colour = cloud.colours[seen] * self.shade(normals * facing)[:, None]
        z = at[seen, 2]
        x = ((at[seen, 0] / z / self.tangents[0] + 1) * _RENDERED / 2).astype(int)
        y = ((1 - at[seen, 1] / z / self.tangents[1]) * _RENDERED / 2).astype(int)
        order = np.argsort(-z)  # nearer ones are written over farther ones
        order = order[((x >= 0) & (x < _RENDERED) & (y >= 0) & (y < _RENDERED))[order]]
        near, tint = np.full_like(self.depth, np.inf), np.zeros_like(self.colour)
        near[y[order], x[order]], tint[y[order], x[order]] = z[order], colour[order]
        apart = size * (12 / len(z)) ** 0.5 * _RENDERED / 2 / self.tangents[1] / max(float(np.median(z)), 0.05)
        cover = int(np.clip(np.ceil(2.5 * apart), 2, 7))  # pixels a side that a point covers, so that no holes are left
        for dy, dx in np.ndindex(cover, cover):
            moved = near[: _RENDERED - dy, : _RENDERED - dx]
            hit = np.zeros_like(self.depth, bool)
            hit[dy:, dx:] = moved < self.depth[dy:, dx:]
            from_ = hit[dy:, dx:]
            self._set(hit, moved[from_], tint[: _RENDERED - dy, : _RENDERED - dx][from_])

    def _window(self, solid: Solid) -> tuple[slice, slice]:
        """Return the rows and columns that a solid can be seen in."""
        corners = np.array([(x, y, z) for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
        at = (corners * solid.size) @ solid.turn.T + solid.centre
        if at[:, 2].min() < 0.05:
            return slice(0, _RENDERED), slice(0, _RENDERED)
        x = (at[:, 0] / at[:, 2] / self.tangents[0] + 1) * _RENDERED / 2
        y = (1 - at[:, 1] / at[:, 2] / self.tangents[1]) * _RENDERED / 2
        low = np.clip(np.floor([y.min(), x.min()]), 0, _RENDERED).astype(int)
        high = np.clip(np.ceil([y.max(), x.max()]), 0, _RENDERED).astype(int)
        return slice(low[0], high[0]), slice(low[1], high[1])

    def _set(self, where: np.ndarray, z: np.ndarray, colour: np.ndarray) -> None:
        self.depth[where] = z
        self.colour[where] = np.clip(colour, 0.0, 1.0)


def _lookup(skin: np.ndarray, uv: np.ndarray, footprint: np.ndarray) -> np.ndarray:
    """Return the colours (N,3) of a repeating texture at `uv`, smoothed to `footprint` (as a share of the texture)."""
    level = np.clip(np.rint(np.log2(np.maximum(footprint * skin.shape[0], 1.0))), 0, 8).astype(int)
    colours = np.zeros((len(uv), 3), np.float32)
    for step in np.unique(level):
        side = max(1, skin.shape[0] >> step), max(1, skin.shape[1] >> step)
        small = cv2.resize(skin, side[::-1], interpolation=cv2.INTER_AREA)
        chosen = level == step
        # Every other copy is mirrored, which hides the seams.
        folded = 1.0 - np.abs((uv[chosen] + 1.0) / 2.0 % 2.0 - 1.0)
        columns = np.minimum((folded[:, 0] * side[1]).astype(int), side[1] - 1)
        rows = np.minimum(((1 - folded[:, 1]) * side[0]).astype(int), side[0] - 1)
        colours[chosen] = small[rows, columns]
    return colours


Hit = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def _box(origin: np.ndarray, rays: np.ndarray, solid: Solid) -> Hit:
    with np.errstate(divide="ignore", invalid="ignore"):
        low, high = (-1 - origin) / rays, (1 - origin) / rays
    near, far = np.minimum(low, high), np.maximum(low, high)
    z, axis = near.max(axis=1), near.argmax(axis=1)
    at = origin + rays * np.where(np.isfinite(z), z, 0)[:, None]
    normal = np.zeros_like(rays)
    index = np.arange(len(rays))
    normal[index, axis] = -np.sign(rays[index, axis])
    uv = np.stack([np.where(axis == 0, at[:, 2], at[:, 0]), np.where(axis == 1, at[:, 2], at[:, 1])], axis=1)
    return z, normal, uv, z < far.min(axis=1)


def _ellipsoid(origin: np.ndarray, rays: np.ndarray, solid: Solid) -> Hit:
    a, b, c = (rays**2).sum(axis=1), rays @ origin, (origin**2).sum() - 1
    inside = b * b - a * c
    z = (-b - np.sqrt(np.maximum(inside, 0))) / a
    at = origin + rays * z[:, None]
    uv = np.stack([np.arctan2(at[:, 0], -at[:, 2]) / np.pi * 2, at[:, 1]], axis=1)
    return z, at, uv, inside > 0


def _cylinder(origin: np.ndarray, rays: np.ndarray, solid: Solid) -> Hit:
    """An upright one, around its own y axis, with flat ends."""
    across, start = rays[:, [0, 2]], origin[[0, 2]]
    a, b, c = np.maximum((across**2).sum(axis=1), 1e-9), across @ start, (start**2).sum() - 1
    inside = b * b - a * c
    side = (-b - np.sqrt(np.maximum(inside, 0))) / a
    with np.errstate(divide="ignore", invalid="ignore"):
        end = (np.where(rays[:, 1] > 0, -1, 1) - origin[1]) / rays[:, 1]
    on_side = (inside > 0) & (np.abs(origin[1] + rays[:, 1] * side) <= 1)
    end = np.where(np.isfinite(end), end, -1)
    on_end = ~on_side & (((start + across * end[:, None]) ** 2).sum(axis=1) <= 1)
    z = np.where(on_side, side, end)
    at = origin + rays * z[:, None]
    flat = np.zeros_like(at)
    flat[:, 1] = -np.sign(rays[:, 1])
    normal = np.where(on_side[:, None], at * np.array([1, 0, 1]), flat)
    round_ = np.stack([np.arctan2(at[:, 0], -at[:, 2]) / np.pi * 2, at[:, 1]], axis=1)
    return z, normal, np.where(on_side[:, None], round_, at[:, [0, 2]]), on_side | on_end


def _card(origin: np.ndarray, rays: np.ndarray, solid: Solid) -> Hit:
    """A flat picture of half size 1 across x and y, seen where its alpha is above a half."""
    with np.errstate(divide="ignore", invalid="ignore"):
        z = -origin[2] / rays[:, 2]
    at = origin + rays * np.where(np.isfinite(z), z, 0)[:, None]
    height, width = solid.skin.shape[:2]
    columns = np.clip((at[:, 0] + 1) / 2 * width, 0, width - 1).astype(int)
    rows = np.clip((1 - at[:, 1]) / 2 * height, 0, height - 1).astype(int)
    alpha = (np.abs(at[:, :2]) < 1).all(axis=1) & (solid.skin[rows, columns, 3] > 0.5)
    return z, np.broadcast_to(np.array([0, 0, -1], np.float32), rays.shape), at[:, :2], alpha


_SHAPES: dict[str, Callable[[np.ndarray, np.ndarray, Solid], Hit]] = {
    "box": _box,
    "ellipsoid": _ellipsoid,
    "cylinder": _cylinder,
    "card": _card,
}
