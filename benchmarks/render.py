"""Textured views per CPU-second at 512x512, and whether memory comes back after many objects.

    python -m benchmarks render

Objects are made here: a ball of 20,000 triangles that fills most of the picture, and one of 328,000 with a map of 4096
pixels. Each is read once, outside the clock, and drawn from a ring. Blender is an arm where it is on the PATH, other
renderers where they are installed (`benchmarks.render_peers`).
"""

import gc
import shutil
import statistics
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import trimesh
from PIL import Image
from trimesh.visual import TextureVisuals
from trimesh.visual.material import PBRMaterial

from benchmarks.measure import Timing, interleave, time_here
from benchmarks.render_peers import installed, peer_arms
from benchmarks.table import Row, Table, version
from onegen.geometry.rigs import make_rig
from onegen.scenes.embree import EmbreeRenderer
from onegen.scenes.renderers import make_renderer
from onegen.scenes.scene import RenderOptions, Scene, read_scene

BAR = 2.0
MEMORY_BAR = 1.1
MIB = 2**20


@dataclass(frozen=True)
class Size:
    """Pixels a side, views a round, rounds, detail of the objects, and how many are drawn to watch memory."""

    side: int = 512
    views: int = 6
    rounds: int = 3
    subdivisions: tuple[int, int] = (5, 7)
    maps: tuple[int, int] = (1024, 4096)
    objects: int = 200


TINY = Size(side=32, views=1, rounds=1, subdivisions=(1, 2), maps=(16, 32), objects=8)


def run(size: Size = Size()) -> list[Table]:
    """Draw and return the tables."""
    with tempfile.TemporaryDirectory(prefix="onegen-bench-") as folder:
        scenes = {
            f"{len(scene.mesh.faces):,} faces, map {pixels}": scene
            for detail, pixels in zip(size.subdivisions, size.maps, strict=True)
            for scene in [_ball(Path(folder), detail, pixels)]
        }
        return [_speed(scenes, size), _memory(Path(folder), size)]


def _speed(scenes: dict[str, Scene], size: Size) -> Table:
    options = RenderOptions(size.side, size.side)
    cameras = make_rig("ring", {"views": size.views}).cameras()

    def once(scene: Scene, chosen: RenderOptions) -> Callable[[], Timing]:
        return lambda: time_here(lambda: list(EmbreeRenderer().render(scene, cameras, chosen)))

    arms = {f"embree, {name}": once(scene, options) for name, scene in scenes.items()}
    first = next(iter(scenes))
    arms[f"embree, 1 sample, {first}"] = once(scenes[first], RenderOptions(size.side, size.side, 1))
    views = dict.fromkeys(arms, size.views)
    with ExitStack() as stack:
        for name, count, arm in peer_arms(scenes[first], cameras, size.side, stack):
            arms[f"{name}, {first}"], views[f"{name}, {first}"] = arm, count
        timings = interleave(arms, size.rounds)
    speeds = {name: [views[name] / max(timing.cpu, 1e-6) for timing in found] for name, found in timings.items()}
    if shutil.which("blender"):
        speeds[f"blender, 16 samples, {first}, by wall time of one thread"] = _blender(scenes[first], size)
    base = statistics.median(speeds[f"embree, {first}"])
    rows = []
    for name, values in speeds.items():
        middle = statistics.median(values)
        is_bound = name.startswith("embree") and size.side == 512
        met = middle >= BAR if is_bound else None
        bar = f">= {BAR:.0f}" if is_bound else ""
        rows.append(Row(name, values, middle / base, bar, met, versions=version("embreex", "numpy", *installed())))
    return Table(
        title=f"render: textured views of {size.side}x{size.side}, colour, depth and mask",
        unit="views per CPU-second",
        reference=f"embree, {first}",
        rows=rows,
        notes=["one process; objects read before the clock starts, Embree's tree built within it"],
        loads=[timing.load for found in timings.values() for timing in found],
    )


def _blender(scene: Scene, size: Size) -> list[float]:
    """Return views per second of one thread of Blender, its start left out by a first view."""
    renderer, options = make_renderer("blender"), RenderOptions(size.side, size.side, 16)
    cameras = make_rig("ring", {"views": size.views}).cameras()
    try:
        list(renderer.render(scene, cameras[:1], options))
        return [size.views / time_here(lambda: list(renderer.render(scene, cameras, options))).wall]
    finally:
        renderer.close()


def _memory(folder: Path, size: Size) -> Table:
    """Draw object after object, no two alike; compare memory after a tenth of them with memory after all."""
    early: list[float] = []
    late: list[float] = []
    renderer, options = EmbreeRenderer(), RenderOptions(min(size.side, 256), min(size.side, 256))
    for number in range(size.objects):
        scene = _ball(folder, size.subdivisions[0], size.maps[0] // 2, seed=number)
        list(renderer.render(scene, make_rig("ring", {"views": 1}).cameras(), options))
        del scene
        gc.collect()
        if number in range(size.objects // 10, size.objects // 10 + 3):
            early.append(_resident() / MIB)
        if number >= size.objects - 3:
            late.append(_resident() / MIB)
    ratio = statistics.median(late) / statistics.median(early)
    names = f"after {size.objects // 10} objects", f"after {size.objects} objects"
    return Table(
        title="render: resident memory",
        unit="MiB",
        reference=names[0],
        rows=[
            Row(names[0], early, 1.0),
            Row(names[1], late, ratio, f"< {MEMORY_BAR}x", ratio < MEMORY_BAR, versions=version("embreex", "trimesh")),
        ],
    )


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def _ball(folder: Path, subdivisions: int, pixels: int, seed: int = 0) -> Scene:
    """Return a ball with a map of noise in cells, and one for metal and roughness."""
    rng = np.random.default_rng(seed)
    mesh = trimesh.creation.icosphere(subdivisions=subdivisions)
    x, y, z = mesh.vertices.T
    uv = np.stack([np.arctan2(x, z) / (2 * np.pi) + 0.5, np.arcsin(np.clip(y, -1, 1)) / np.pi + 0.5], axis=1)
    cells = max(pixels // 16, 1)
    noise = [
        Image.fromarray(
            np.kron(rng.integers(0, 255, (cells, cells, 3), dtype=np.uint8), np.ones((16, 16, 1), np.uint8))
        )
        for _ in range(2)
    ]
    material = PBRMaterial(baseColorTexture=noise[0], metallicRoughnessTexture=noise[1])
    mesh.visual = TextureVisuals(uv=uv, material=material)
    path = folder / f"ball{subdivisions}.glb"
    path.write_bytes(trimesh.Scene([mesh]).export(file_type="glb", include_normals=True))
    return read_scene(path)
