"""Scenes of solids, ray-cast: pictures with a caption, depth, masks and boxes that are true by construction.

    python -m onegen.demo.scenes DIR [--count 2000] [--size 64] [--seed 0]

writes `000000.png`, `.txt` (a caption composed from what is in the picture), `.depth.npy` (inverse planar depth,
float32 (H,W), 0 for the sky), `.mask.png` (index i = i-th object, 0 = none) and `.json` (the objects and their boxes)
for each. One to three coloured solids stand on a checkered floor before a sky, a dusk or a wall. The same numbers give
the same files; what is there already is left alone. `pipelines/solids.yaml` builds from them.
"""

import argparse
import io
import itertools
import json
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from onegen.demo.solids import SOLIDS, Solid, View
from onegen.storage.whole import whole

PAINTS: dict[str, tuple[int, int, int]] = {
    "red": (214, 39, 40),
    "green": (44, 160, 44),
    "blue": (40, 80, 220),
    "yellow": (240, 220, 40),
    "orange": (255, 127, 14),
    "purple": (140, 60, 190),
    "cyan": (40, 200, 210),
    "pink": (245, 120, 180),
}
"""Colours of solids by name, RGB."""
FLOORS: dict[str, tuple[int, int]] = {"grey": (120, 150), "white": (200, 232), "black": (36, 62)}
"""Floors by name: the grey levels of their two kinds of tiles."""
SKIES: dict[str, tuple[tuple[int, int, int], tuple[int, int, int]]] = {
    "a blue sky": ((205, 225, 250), (90, 150, 235)),
    "a dusk sky": ((250, 180, 120), (80, 60, 120)),
}
"""Skies by name, RGB at the horizon and above."""
PLACES = ("on the left", "in the middle", "on the right")
"""Thirds of a picture."""
WALL = "a beige wall"
_WALL_PAINT, _WALL_DEPTH = (214, 196, 160), 11.0
_LIGHT = np.array([-0.45, 0.75, -0.5]) / np.linalg.norm([-0.45, 0.75, -0.5])
_AMBIENT, _TILE, _SAMPLES = 0.45, 1.0, 3
_LEAST_SEEN = 0.012
"""Share of the picture that every solid shows at least."""


@dataclass(frozen=True, slots=True)
class Thing:
    """One solid of a scene, by what it is called and painted."""

    kind: str
    colour: str
    solid: Solid

    @property
    def name(self) -> str:
        """What a caption calls it: `red ball`."""
        return f"{self.colour} {self.kind}"


@dataclass(frozen=True, slots=True)
class Scene:
    """What a picture shows, without its size."""

    view: View
    things: tuple[Thing, ...]
    floor: str
    back: str


@dataclass(frozen=True, slots=True)
class Drawn:
    """A scene as a picture: RGB uint8 (H,W,3), inverse planar depth float32 (H,W), 0 for the sky, and masks uint8
    (H,W), the number of a thing from 1 in the order of its scene.
    """

    pixels: np.ndarray
    inverse: np.ndarray
    masks: np.ndarray

    @property
    def seen(self) -> np.ndarray:
        """Share of the picture that each thing shows, float (things,), also those that are hidden."""
        return np.bincount(self.masks.ravel(), minlength=len(PAINTS))[1:] / self.masks.size


def make_scene(seed: int) -> Scene:
    """Return a scene of one to three things of different colours, all of which can be seen; the same for a seed."""
    rng = np.random.default_rng([seed, 0x501D])
    while True:
        scene = _draft(rng)
        seen = draw(scene, 24, 24, samples=1).seen[: len(scene.things)]
        if (seen >= _LEAST_SEEN).all():
            return scene


def _draft(rng: np.random.Generator) -> Scene:
    """Return a scene whose things stand apart on the floor."""
    view = View(height=float(rng.uniform(1.4, 2.4)), pitch=float(np.deg2rad(rng.uniform(8, 22))))
    colours = rng.permutation(list(PAINTS))
    things: list[Thing] = []
    for colour in colours[: rng.integers(1, 4)]:
        kind = str(rng.choice(list(SOLIDS)))
        radius = float(rng.uniform(0.6, 1.0))
        z = float(rng.uniform(3.6, 7.0))
        x = float(rng.uniform(-0.38, 0.38) * z)
        tall = 2 * radius if kind == "ball" else float(rng.uniform(1.2, 2.0)) * radius
        solid = SOLIDS[kind](x, z, radius, tall)
        if all(np.hypot(x - t.solid.x, z - t.solid.z) > radius + t.solid.radius for t in things):
            things.append(Thing(kind, str(colour), solid))
    return Scene(view, tuple(things), str(rng.choice(list(FLOORS))), str(rng.choice([*SKIES, WALL])))


def draw(scene: Scene, height: int, width: int, samples: int = _SAMPLES) -> Drawn:
    """Return a scene as a picture; colours are means over each pixel, depth and masks those of its centre."""
    origin, grid = scene.view.rays(height, width, samples)
    rays = grid.reshape(-1, 3)
    depth, paint = _behind(scene, origin, rays)
    masks = np.zeros(len(rays), np.uint8)
    for number, thing in enumerate(scene.things, 1):
        there, normals = thing.solid.hits(origin, rays)
        front = there < depth
        light = _AMBIENT + (1 - _AMBIENT) * np.clip(normals[front] @ _LIGHT, 0, 1)
        paint[front] = np.array(PAINTS[thing.colour]) * light[:, None]
        depth[front], masks[front] = there[front], number
    shape, middle = (height, samples, width, samples), samples // 2
    pixels = paint.reshape(*shape, 3).mean(axis=(1, 3))
    inverse = 1.0 / depth.reshape(shape)[:, middle, :, middle]
    centre = masks.reshape(shape)[:, middle, :, middle]
    return Drawn(np.clip(np.rint(pixels), 0, 255).astype(np.uint8), inverse.astype(np.float32), centre.copy())


def _behind(scene: Scene, origin: np.ndarray, rays: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return depths (N,) and colours (N,3) of the floor and of what stands behind it."""
    down = rays[:, 1] < -1e-9
    floor = np.where(down, -origin[1] / np.where(down, rays[:, 1], -1.0), np.inf)
    where = origin + rays * np.where(down, floor, 0.0)[:, None]
    tile = np.floor(where[:, 0] / _TILE) + np.floor(where[:, 2] / _TILE)
    levels = np.array(FLOORS[scene.floor], float)[tile.astype(int) % 2]
    paint = np.repeat(levels[:, None], 3, axis=1)
    if scene.back == WALL:
        with np.errstate(divide="ignore"):
            wall = np.where(rays[:, 2] > 0, (_WALL_DEPTH - origin[2]) / rays[:, 2], np.inf)
        paint[wall < floor] = _WALL_PAINT
        return np.minimum(floor, wall), paint
    low, high = (np.array(colour, float) for colour in SKIES[scene.back])
    # Far tiles are smaller than pixels: they fade into one grey, and the floor into the horizon.
    fade = np.clip((floor[down] - 8.0) / 30.0, 0, 1)[:, None]
    paint[down] = (1 - fade) * paint[down] + fade * np.mean(FLOORS[scene.floor])
    up = np.clip(rays[~down][:, 1:2] * 2.5, 0, 1)
    paint[~down] = (1 - up) * low + up * high
    return floor, paint


def caption_of(scene: Scene, width: int = 64) -> str:
    """Return a caption of what is in a scene: from left to right each thing with its place, and how things at one
    place stand.
    """
    things = sorted(scene.things, key=lambda thing: thing.solid.project(scene.view, width)[0])
    places = [_place(thing, scene.view, width) for thing in things]
    names = [
        f"{'an' if thing.colour == 'orange' else 'a'} {thing.name} {place}"
        for thing, place in zip(things, places, strict=True)
    ]
    ground = f"on a {scene.floor} checkered floor {'before' if scene.back == WALL else 'under'} {scene.back}"
    listed = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
    text = f"{listed}, {ground}. "
    for (first, place), (second, other) in itertools.pairwise(zip(things, places, strict=True)):
        if place == other:
            text += f"The {first.name} is {_relation(first, second, scene.view, width)} the {second.name}. "
    return text[0].upper() + text[1:].rstrip()


def _place(thing: Thing, view: View, width: int) -> str:
    """Return the third of the picture that the middle of a thing is in."""
    column, _ = thing.solid.project(view, width)
    return PLACES[min(2, max(0, int(3 * column / width)))]


def _relation(first: Thing, second: Thing, view: View, width: int) -> str:
    """Return how the first of two things at one place stands to the second."""
    (column, depth), (other, beyond) = (thing.solid.project(view, width) for thing in (first, second))
    if abs(column - other) > 0.18 * width:
        return "left of" if column < other else "right of"
    return "in front of" if depth < beyond else "behind"


def objects_of(scene: Scene, drawn: Drawn) -> list[dict[str, float | str]]:
    """Return the things of a picture with their boxes in pixels, in the order that its masks count."""
    objects: list[dict[str, float | str]] = []
    for number, thing in enumerate(scene.things, 1):
        rows, columns = np.nonzero(drawn.masks == number)
        x0, x1, y0, y1 = columns.min(), columns.max() + 1, rows.min(), rows.max() + 1
        box = {"x0": float(x0), "y0": float(y0), "x1": float(x1), "y1": float(y1)}
        objects.append({"label": thing.name, "score": 1.0, **box})
    return objects


def write_scene(root: Path, size: int, seed: int, number: int) -> None:
    """Write the files of one scene, the picture last; nothing where it is there."""
    stem = root / f"{number:06d}"
    if stem.with_suffix(".png").exists():
        return
    scene = make_scene(seed * 1_000_003 + number)
    drawn = draw(scene, size, size)
    about = {"objects": objects_of(scene, drawn), "licence": "CC0-1.0", "attribution": "onegen.demo.scenes"}
    masks = Image.fromarray(drawn.masks, mode="P")
    masks.putpalette([0, 0, 0, *(level for paint in PAINTS.values() for level in paint)])
    array = io.BytesIO()
    np.save(array, drawn.inverse)
    files = {".txt": caption_of(scene).encode(), ".json": json.dumps(about).encode(), ".depth.npy": array.getvalue()}
    for suffix, image in ((".mask.png", masks), (".png", Image.fromarray(drawn.pixels))):
        sink = io.BytesIO()
        image.save(sink, "PNG")
        files[suffix] = sink.getvalue()
    for suffix, data in files.items():
        with whole(Path(f"{stem}{suffix}")) as path:
            path.write_bytes(data)


def write(root: Path, count: int, size: int, seed: int = 0) -> None:
    """Write `count` scenes into a folder, on all cores."""
    root.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor() as pool:
        for done, _ in enumerate(pool.map(partial(write_scene, root, size, seed), range(count), chunksize=50), 1):
            if done % 500 == 0 or done == count:
                print(f"{root}: {done:,} of {count:,} scenes", flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m onegen.demo.scenes", description=__doc__.split("\n\n")[0])
    parser.add_argument("folder", metavar="DIR", type=Path)
    parser.add_argument("--count", type=int, default=2000, help="scenes (2000)")
    parser.add_argument("--size", type=int, default=64, help="pixels of a side (64)")
    parser.add_argument("--seed", type=int, default=0, help="another number gives other scenes (0)")
    options = parser.parse_args(arguments)
    if options.count < 1 or not 24 <= options.size <= 2048:
        parser.error("--count must be 1 or more, --size 24 to 2048")
    write(options.folder, options.count, options.size, options.seed)
    return 0


if __name__ == "__main__":
    sys.exit(main())
