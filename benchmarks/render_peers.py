"""Other renderers with the picture of `benchmarks.render`: arms of those that are installed, none of which is needed.

    pip install filly mitsuba

filly rasterises with Filament (EGL; Mesa's llvmpipe where there is no GPU), four samples at edges, and gives no depth.
Mitsuba traces paths, here with its variant that needs nothing compiled. Both get the file or arrays before the clock.
"""

import importlib.util
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np

from benchmarks.measure import Timing, time_here
from onegen.geometry.cameras import Camera, change_axes
from onegen.scenes.scene import Scene

SAMPLES = 32
"""Paths a pixel of Mitsuba's."""
Arm = tuple[str, int, Callable[[], Timing]]
"""Its name, the views that a round draws (of the slow one a single view), and what draws them."""


def installed() -> list[str]:
    """Return the packages of peers that are there."""
    return [name for name in ("filly", "mitsuba") if importlib.util.find_spec(name)]


def peer_arms(scene: Scene, cameras: Sequence[Camera], side: int, stack: ExitStack) -> Iterator[Arm]:
    """Yield the arms of the renderers that are installed, given a scene; `stack` closes what they hold."""
    if "filly" in installed():
        yield "filly, 4 samples at edges, no depth", len(cameras), _filly(scene, cameras, side, stack)
    if "mitsuba" in installed():
        yield f"mitsuba, {SAMPLES} paths", 1, _mitsuba(scene, cameras[:1], side)


def _filly(scene: Scene, cameras: Sequence[Camera], side: int, stack: ExitStack) -> Callable[[], Timing]:
    os.environ.setdefault("LP_NUM_THREADS", "1")
    import filly

    renderer = stack.enter_context(filly.Renderer())
    world, camera = renderer.create_scene(), renderer.create_camera()
    world.load(str(scene.path))
    target = renderer.create_render_target(width=side, height=side)
    world.camera, world.msaa, world.transparent, world.background = camera, 4, True, (0.0, 0.0, 0.0, 0.0)
    world.add_directional_light(direction=(-1, -1, -2), intensity=100_000)

    def draw() -> None:
        for one in cameras:
            camera.transform = _in_file(scene, one)
            camera.set_perspective(fov_y_deg=_angle(one), aspect=1.0)
            renderer.render(world, target)
            target.read()

    return lambda: time_here(draw)


def _in_file(scene: Scene, camera: Camera) -> np.ndarray:
    """Return where a camera stands in the coordinates of the object's file, camera to world, as OpenGL has its axes."""
    pose = np.linalg.inv(scene.placement.matrix) @ change_axes(camera.camera_to_world, "opencv", "opengl")
    pose[:3, :3] *= scene.placement.scale
    return pose.astype(np.float32)


def _angle(camera: Camera) -> float:
    """Return the angle of view in degrees, of a square picture."""
    return float(np.degrees(2 * np.arctan(0.5 / camera.focal[1])))


def _mitsuba(scene: Scene, cameras: Sequence[Camera], side: int) -> Callable[[], Timing]:
    import mitsuba

    mitsuba.set_variant("scalar_rgb")
    world = mitsuba.load_dict(
        {
            "type": "scene",
            "integrator": {"type": "path", "max_depth": 4, "hide_emitters": True},
            "light": {"type": "constant"},
            "object": _mitsuba_mesh(mitsuba, scene),
        }
    )
    sensors = [mitsuba.load_dict(_sensor(mitsuba, camera, side)) for camera in cameras]
    return lambda: time_here(lambda: [np.asarray(mitsuba.render(world, sensor=one, spp=SAMPLES)) for one in sensors])


def _mitsuba_mesh(mitsuba: Any, scene: Scene) -> Any:
    mesh = scene.mesh
    (material,) = mesh.materials
    assert material.colour_map is not None, "the benchmark's objects have maps"
    bitmap = mitsuba.Bitmap(np.array(material.colour_map[..., :3]))
    surface = {"type": "principled", "base_color": {"type": "bitmap", "bitmap": bitmap}, "roughness": 0.5}
    properties = mitsuba.Properties()
    properties["mesh_bsdf"] = mitsuba.load_dict(surface)
    made = mitsuba.Mesh("object", len(mesh.positions), len(mesh.faces), properties, False, True)
    values = mitsuba.traverse(made)
    flat = {
        "vertex_positions": mesh.positions,
        "faces": mesh.faces.astype(np.uint32),
        "vertex_texcoords": mesh.uv,
    }
    for name, array in flat.items():
        values[name] = type(values[name])(np.ascontiguousarray(array).ravel())
    values.update()
    return made


def _sensor(mitsuba: Any, camera: Camera, side: int) -> dict[str, Any]:
    to_world = change_axes(camera.camera_to_world, "opencv", "opengl") @ np.diag([-1.0, 1.0, -1.0, 1.0])
    return {
        "type": "perspective",
        "to_world": mitsuba.ScalarTransform4f(to_world.tolist()),
        "fov": _angle(camera),
        "film": {"type": "hdrfilm", "width": side, "height": side, "pixel_format": "rgba"},
    }
