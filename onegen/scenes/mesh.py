"""A mesh as plain arrays: what every file becomes, and what every renderer takes."""

from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from onegen.errors import ConfigError, SampleError

Fit = Literal["sphere", "cube"]
UpAxis = Literal["y", "z"]
HUGE_FACES = 1_000_000
"""Faces from which an object is flagged `huge`."""


@dataclass(frozen=True, slots=True, eq=False)
class Material:
    """A metallic-roughness material of glTF. Factors are linear, maps uint8 (h, w, 4), the first row at the top.

    `colour_map` and `emission_map` are sRGB; `metal_rough_map` has roughness in green, metalness in blue.
    """

    colour: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0)
    metallic: float = 1.0
    roughness: float = 1.0
    emission: tuple[float, float, float] = (0.0, 0.0, 0.0)
    colour_map: np.ndarray | None = None
    metal_rough_map: np.ndarray | None = None
    emission_map: np.ndarray | None = None
    alpha: Literal["opaque", "mask", "blend"] = "opaque"
    cutoff: float = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Mesh:
    """Triangles in one world, z up. Rows of `faces` (F,3) index `positions` (V,3) float32.

    `normals` (V,3) are zero where a face is flat. `uv` (V,2) has its origin at a map's upper left. `colours` (V,4) are
    linear, ones where a file has none. `face_material` (F,) indexes `materials`. `flags` say what a person should know
    of the object (`untextured`, `animated`, `huge`); `ignored` are the file's features that embree does not draw.
    """

    positions: np.ndarray
    faces: np.ndarray
    normals: np.ndarray
    uv: np.ndarray
    colours: np.ndarray
    face_material: np.ndarray
    materials: tuple[Material, ...]
    flags: frozenset[str] = frozenset()
    ignored: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Placement:
    """How a file's coordinates become the world's: turned so that `up` is z, then (x - centre) * scale.

    `centre` (3,) is in turned coordinates. It is computed once from the vertices and handed to every renderer.
    """

    up: UpAxis
    centre: np.ndarray = field(default_factory=lambda: np.zeros(3))
    scale: float = 1.0

    @property
    def matrix(self) -> np.ndarray:
        """4x4 from the file's coordinates to the world's."""
        matrix = np.eye(4)
        matrix[:3, :3] = self.scale * turn(self.up)
        matrix[:3, 3] = -self.scale * self.centre
        return matrix


def turn(up: UpAxis) -> np.ndarray:
    """Return the rotation (3,3) that makes an axis of a file the world's z: y up goes (x, y, z) to (x, -z, y)."""
    return np.eye(3) if up == "z" else np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])


def check(mesh: Mesh) -> None:
    """Raise SampleError unless a mesh has faces, indices within its vertices, finite positions and an extent.

    Reasons: `empty_mesh`, `bad_index`, `not_finite`, `no_extent`.
    """
    if not len(mesh.faces):
        raise SampleError("empty_mesh", "a mesh must have faces, got none.")
    low, high = int(mesh.faces.min()), int(mesh.faces.max())
    if low < 0 or high >= len(mesh.positions):
        fault = f"got {high if high >= len(mesh.positions) else low} of {len(mesh.positions)} vertices"
        raise SampleError("bad_index", f"faces must index vertices that there are, {fault}.")
    used = mesh.positions[mesh.faces.reshape(-1)]
    if not np.isfinite(used).all():
        raise SampleError("not_finite", "vertices must be finite numbers, got others.")
    extent = np.ptp(used.astype(np.float64), axis=0)
    if not (extent.max() > 0 and np.isfinite(extent).all()):
        raise SampleError("no_extent", f"a mesh must have a finite extent, got {extent.max():g}.")


def normalise(mesh: Mesh, up: UpAxis = "z", fit: Fit = "sphere") -> tuple[Mesh, Placement]:
    """Return a mesh turned, centred and scaled, and how.

    The centre is that of the box around the vertices that faces use. `sphere` makes the farthest of them 0.5 from it,
    so that no view at a distance of 1.5 with the default lens crops; `cube` makes the longest side of the box 1, as the
    published sets do. Vertices that no face uses, which may be anywhere, come to lie at the centre. Apply it once, to a
    mesh as it was read.
    """
    if fit not in ("sphere", "cube"):
        raise ConfigError(f"fit must be sphere or cube, got {fit!r}.")
    rotation = turn(up)
    turned = _rotate(mesh.positions, rotation)
    is_used = np.zeros(len(turned), bool)
    is_used[mesh.faces] = True
    used = turned[is_used]
    centre = (used.min(axis=0) + used.max(axis=0)) / 2
    radius = float(np.sqrt(((used - centre) ** 2).sum(axis=1)).max())
    scale = 0.5 / radius if fit == "sphere" else 1.0 / float(np.ptp(used, axis=0).max())
    if not np.isfinite(scale):
        raise SampleError("no_extent", f"a mesh must have an extent that can be scaled, got {2 * radius:g}.")
    placed = np.zeros(turned.shape, np.float32)
    placed[is_used] = (used - centre) * scale
    normals = _rotate(mesh.normals, rotation).astype(np.float32)
    return replace(mesh, positions=placed, normals=normals), Placement(up, centre, scale)


def _rotate(vectors: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    """Return vectors (n,3) rotated, in float64, without BLAS: its sums differ with the number of threads."""
    columns = vectors.astype(np.float64).T
    with np.errstate(invalid="ignore"):  # vertices that no face uses may be anywhere
        turned = [sum(weight * column for weight, column in zip(row, columns, strict=True)) for row in rotation]
    return np.stack(turned, 1)
