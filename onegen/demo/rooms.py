"""Rooms of solids in the layout of Hypersim, ray-cast: what `pipelines/hypersim.yaml` builds from as it stands.

    python -m onegen.demo.rooms DIR [--count 6]

writes pictures and distances along each pixel's ray, as Hypersim has them. Needs h5py.
"""

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np
from PIL import Image

from onegen.demo.scenes import WALL, Scene, draw, make_scene
from onegen.storage.whole import whole

HEIGHT, WIDTH = 288, 384
_FOCAL = 0.5 / float(np.tan(np.pi / 6))
"""In widths: the 60 degrees of Hypersim."""
SCENE = "ai_000_001"


def seen_as_hypersim(scene: Scene) -> Scene:
    """Return a scene before a wall, through the lens of most scenes of Hypersim."""
    return dataclasses.replace(scene, view=dataclasses.replace(scene.view, focal=_FOCAL), back=WALL)


def write_room(root: Path, number: int) -> None:
    """Write one frame of a room: its picture, and the distance of each pixel's point from the eye in metres."""
    scene = seen_as_hypersim(make_scene(90_000 + number))
    drawn = draw(scene, HEIGHT, WIDTH)
    # Rays are 1 long along the camera's axis, so that their lengths are distance over planar depth.
    lengths = np.linalg.norm(scene.view.rays(HEIGHT, WIDTH)[1], axis=-1)
    images = root / SCENE / "images"
    picture = images / f"scene_cam_00_final_preview/frame.{number:04d}.tonemap.jpg"
    depth = images / f"scene_cam_00_geometry_hdf5/frame.{number:04d}.depth_meters.hdf5"
    for path in (picture, depth):
        path.parent.mkdir(parents=True, exist_ok=True)
    with whole(depth) as path, h5py.File(path, "w") as file:
        file["dataset"] = (lengths / drawn.inverse).astype(np.float16)
    with whole(picture) as path:
        Image.fromarray(drawn.pixels).save(path, "JPEG", quality=95, subsampling=0)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m onegen.demo.rooms", description=__doc__.split("\n\n")[0])
    parser.add_argument("folder", metavar="DIR", type=Path)
    parser.add_argument("--count", type=int, default=6, help="pictures (6)")
    options = parser.parse_args(arguments)
    if options.count < 1:
        parser.error("--count must be 1 or more")
    for number in range(options.count):
        write_room(options.folder, number)
    print(f"{options.folder}: {options.count} rooms")
    return 0


if __name__ == "__main__":
    sys.exit(main())
