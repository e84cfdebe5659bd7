"""Look at an object as its scene will show it: colour and depth of every view, in one picture.

    python -m onegen.scenes.preview OBJECT.glb OUT.png [--rig ring] [--views 6] [--backend embree] [--up y]

Prints what is known of the object and of each view: its flags, and the checks it fails.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from onegen.errors import ConfigError, SampleError
from onegen.geometry.rigs import RIGS, make_rig
from onegen.pixels.codec import encode_picture
from onegen.scenes.checks import view_faults
from onegen.scenes.lighting import LIGHTING
from onegen.scenes.renderers import BACKENDS, make_renderer
from onegen.scenes.scene import RenderOptions, View, read_scene
from onegen.storage.whole import whole


def main(arguments: Sequence[str] | None = None) -> int:
    """Render an object and write its sheet; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m onegen.scenes.preview", description="Look at an object's views.")
    parser.add_argument("object", type=Path, help="GLB, glTF, OBJ or PLY")
    parser.add_argument("out", type=Path, help="PNG to write")
    parser.add_argument("--rig", default="ring", help=f"one of {', '.join(RIGS)}")
    parser.add_argument("--views", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", type=int, default=256, help="pixels a side of a view")
    parser.add_argument("--samples", type=int, default=4)
    parser.add_argument("--lighting", default="studio", choices=sorted(LIGHTING))
    parser.add_argument("--backend", default="embree", choices=BACKENDS)
    parser.add_argument("--program", default="blender", help="blender, or a python with bpy")
    parser.add_argument("--up", choices=("y", "z"), help="axis that is up in an OBJ or PLY")
    parser.add_argument("--fit", default="sphere", choices=("sphere", "cube"))
    given = parser.parse_args(arguments)
    try:
        options = RenderOptions(given.size, given.size, given.samples, given.lighting)
        cameras = make_rig(given.rig, {"views": given.views}).cameras(given.seed)
        scene = read_scene(given.object, given.up, given.fit)
        renderer = make_renderer(given.backend, **({"program": given.program} if given.backend == "blender" else {}))
        try:
            views = list(renderer.render(scene, cameras, options))
        finally:
            renderer.close()
        with whole(given.out) as part:
            part.write_bytes(encode_picture(sheet(views), "png"))
    except (ConfigError, SampleError) as error:
        reason = f"{error.reason}: " if isinstance(error, SampleError) else ""
        print(f"{given.object}: {reason}{error}", file=sys.stderr)
        return 1
    about = views[0].record
    said = [*about["flags"], *(f"ignores {name}" for name in about["ignored"])]
    print(f"{given.object}: {about['num_faces']:,} faces; {', '.join(said) or 'nothing to note'}")
    for number, view in enumerate(views):
        if faults := view_faults(view):
            print(f"  view {number}: {', '.join(faults)}")
    return 0


def sheet(views: Sequence[View]) -> np.ndarray:
    """Return RGB uint8: colours above, depths below, near bright, on one scale for all."""
    depths = np.concatenate([view.depth[view.depth > 0] for view in views])
    near, far = (depths.min(), depths.max()) if len(depths) else (0.0, 1.0)
    rows = [np.concatenate([view.colour for view in views], axis=1)]
    grey = [
        np.where(view.depth > 0, 255 - 215 * (view.depth - near) / max(far - near, 1e-6), 0).astype(np.uint8)
        for view in views
    ]
    rows.append(np.concatenate(grey, axis=1)[..., None].repeat(3, axis=2))
    return np.concatenate(rows)


if __name__ == "__main__":
    sys.exit(main())
