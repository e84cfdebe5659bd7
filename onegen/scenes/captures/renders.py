"""Published renders: G-Objaverse's folders of JSON, and GSO30's numbered pictures with `.npy` matrices.

G-Objaverse: `00003/00003.png` with `00003.json`, whose x, y, z are the camera's axes as OpenCV has them, in Blender's
world. GSO30 and Zero123: `003.png` with `003.npy`, a 3x4 world-to-camera matrix with OpenGL's axes.
"""

from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from onegen.errors import SampleError
from onegen.geometry.cameras import change_axes
from onegen.geometry.lens import Lens
from onegen.geometry.rigs import RENDER_FOCAL, ZERO123_FOCAL
from onegen.scenes.captures.frames import Capture, Frame, collect, existing, make_camera, matrix_of, read_json


def read_gobjaverse(folder: Path, focal: float = RENDER_FOCAL) -> Capture:
    """Return the views of one object of G-Objaverse, by number. `focal` is in sides of the picture.

    Raises SampleError as `collect` does; a camera that looks away from its object is a `bad_pose`.
    """
    names = sorted(path.parent.name for path in folder.glob("*/*.json") if path.stem == path.parent.name)
    return collect({name: partial(_gobjaverse, folder, name, focal) for name in names})


def _gobjaverse(folder: Path, name: str, focal: float) -> Frame:
    document = read_json(folder / name / f"{name}.json")
    pose = np.eye(4)
    for column, axis in enumerate(("x", "y", "z", "origin")):
        pose[:3, column] = matrix_of(document[axis], (3,))
    if pose[:3, 2] @ pose[:3, 3] > 0:  # the object is at the origin, z is ahead
        raise SampleError("bad_pose", f"camera of view {name} must look at its object, got one that looks away.")
    lens = _square_lens(existing(folder, f"{name}/{name}.png"), focal)
    return Frame(existing(folder, f"{name}/{name}.png"), make_camera(_orthonormal(pose), lens), lens)


def read_gso30(folder: Path, focal: float = ZERO123_FOCAL) -> Capture:
    """Return the views in a folder of GSO30's (`model`) or Zero123's, by number. `focal` is in sides of the picture."""
    names = sorted({path.stem for path in folder.glob("*.npy")} | {path.stem for path in folder.glob("*.png")})
    return collect({name: partial(_numbered, folder, name, focal) for name in names})


def _numbered(folder: Path, name: str, focal: float) -> Frame:
    picture = existing(folder, f"{name}.png")
    try:
        matrix = np.load(folder / f"{name}.npy", allow_pickle=False)
    except FileNotFoundError as error:
        raise SampleError("unregistered", f"picture {name}.png must have a matrix {name}.npy, and has none.") from error
    except (OSError, ValueError, EOFError) as error:
        raise SampleError("bad_pose", f"matrix {name}.npy must be an array of numbers: {error}.") from error
    world_to_camera = np.vstack([matrix_of(matrix, (3, 4)), [0.0, 0.0, 0.0, 1.0]])
    if abs(np.linalg.det(world_to_camera)) < 1e-6:
        raise SampleError("bad_pose", f"matrix {name}.npy must hold a rotation, got a flat one.")
    lens = _square_lens(picture, focal)
    pose = change_axes(np.linalg.inv(world_to_camera), "opengl", "opencv")
    return Frame(picture, make_camera(pose, lens), lens)


def _square_lens(picture: Path, focal: float) -> Lens:
    """Return the lens of a render: no file says it, so it is what its makers say; sizes are the picture's."""
    try:
        with Image.open(picture) as image:
            width, height = image.size
    except (OSError, ValueError, SyntaxError) as error:
        raise SampleError("unreadable_image", f"picture {picture} must decode: {error}.") from error
    length = focal * min(width, height)
    return Lens(width, height, length, length, width / 2, height / 2)


def _orthonormal(pose: np.ndarray) -> np.ndarray:
    """Return a pose with its rotation made exact: G-Objaverse prints axes with few digits."""
    if np.abs(pose[:3, :3].T @ pose[:3, :3] - np.eye(3)).max() > 1e-2:
        return pose  # no rotation at all; `Camera` says so
    u, _, vt = np.linalg.svd(pose[:3, :3])
    exact = pose.copy()
    exact[:3, :3] = u @ vt
    return exact
