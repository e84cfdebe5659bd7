"""The one form every renderer takes, a normalised mesh and its file, and what each gives back: views.

scene = read_scene(Path("chair.glb"))
for view in make_renderer("embree").render(scene, make_rig("ring").cameras(seed=0), RenderOptions()):
    view.colour, view.depth, view.mask, view.record
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from onegen.errors import ConfigError
from onegen.geometry.cameras import Camera
from onegen.scenes.lighting import make_lighting
from onegen.scenes.mesh import Fit, Mesh, Placement, UpAxis, normalise
from onegen.scenes.reading import MAX_FACES, read_mesh, up_axis


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """An object ready for its portraits: its mesh in world coordinates, how it came there, and its file."""

    mesh: Mesh
    placement: Placement
    path: Path


@dataclass(frozen=True, slots=True)
class RenderOptions:
    """Size in pixels, samples and light of views.

    `samples` of a pixel's colour: embree takes their square root a side, blender that many paths. Depth and mask are
    always those of the pixel's centre: a blend of two depths is the depth of nothing. Who wants these alone says
    `has_colour=False`, and gets white pictures, or whatever costs nothing.
    """

    width: int = 512
    height: int = 512
    samples: int = 4
    lighting: str = "studio"
    has_colour: bool = True

    def __post_init__(self) -> None:
        if not (1 <= self.width <= 8192 and 1 <= self.height <= 8192):
            raise ConfigError(f"views must be 1 to 8192 pixels a side, got {self.width}x{self.height}.")
        if not 1 <= self.samples <= 4096:
            raise ConfigError(f"samples must be 1 to 4096 a pixel, got {self.samples}.")
        make_lighting(self.lighting)


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """One picture of an object.

    `colour` is RGB uint8 (H,W,3) over white; `depth` float32 (H,W) along the optical axis in world units, 0 where there
    is nothing; `mask` uint8 (H,W), 255 where there is something. `record` says how it was made.
    """

    camera: Camera
    colour: np.ndarray
    depth: np.ndarray
    mask: np.ndarray
    record: Mapping[str, Any]


def read_scene(path: Path, up: UpAxis | None = None, fit: Fit = "sphere", max_faces: int = MAX_FACES) -> Scene:
    """Return the object in a file, normalised; `up` is the axis that is up in an OBJ or PLY, y if not said.

    Raises SampleError as `load_mesh` does.
    """
    mesh, placement = normalise(read_mesh(path, max_faces), up_axis(path.suffix, up), fit)
    return Scene(mesh, placement, path)


def describe(scene: Scene, backend: str, version: str, options: RenderOptions) -> dict[str, Any]:
    """Return what a view's record says of its making."""
    return {
        "backend": backend,
        "backend_version": version,
        "samples": options.samples,
        "lighting": options.lighting,
        "up": scene.placement.up,
        "centre": [float(number) for number in scene.placement.centre],
        "scale": float(scene.placement.scale),
        "num_faces": len(scene.mesh.faces),
        "flags": sorted(scene.mesh.flags),
        "ignored": list(scene.mesh.ignored),
    }
