"""Published renders: G-Objaverse's folders of JSON, and GSO30's numbered pictures with `.npy` matrices.

G-Objaverse: `00003/00003.png` with `00003.json`, whose x, y, z are the camera's axes as OpenCV has them, in Blender's
world; `00003_nd.exr` has normals and, in its channel A, planar depth. GSO30 and Zero123: `003.png` with `003.npy`, a
3x4 world-to-camera matrix with OpenGL's axes. No file says their focal length: it is what their makers say.
"""

import io
import posixpath
from collections.abc import Collection
from functools import partial
from pathlib import Path

import numpy as np

from onegen.errors import SampleError
from onegen.geometry.cameras import change_axes
from onegen.geometry.rigs import RENDER_FOCAL, ZERO123_FOCAL
from onegen.scenes.captures.frames import (
    Capture,
    Documents,
    Shot,
    check_pose,
    find,
    json_of,
    make_shots,
    matrix_of,
    read_documents,
    square_lens,
)

_DEPTH = "_nd.exr"
"""How the name of a view goes on whose file holds normals and depth."""
_CUBE = 0.867
"""How far a corner of the unit cube is from its middle, rounded up as G-Objaverse's own reader does."""


def read_gobjaverse(folder: Path, focal: float = RENDER_FOCAL) -> Capture:
    """Return the views of one object of G-Objaverse, by number. `focal` is in sides of the picture.

    Raises SampleError as `find` does; a camera that looks away from its object is a `bad_pose`.
    """
    paths = [path.relative_to(folder).as_posix() for path in folder.glob("*/*.json")]
    documents = read_documents(folder, filter(is_gobjaverse_view, paths))
    there = [path.relative_to(folder).as_posix() for path in folder.glob(f"*/*{_DEPTH}")]
    return find(folder, gobjaverse_shots(documents, there, focal))


def is_gobjaverse_view(path: str) -> bool:
    """Say whether a file is the camera of a view of G-Objaverse: `.../00003/00003.json`."""
    folder, name = posixpath.split(path)
    stem, ending = posixpath.splitext(name)
    return ending == ".json" and stem.isdigit() and posixpath.basename(folder) == stem


def gobjaverse_shots(documents: Documents, there: Collection[str] = (), focal: float = RENDER_FOCAL) -> list[Shot]:
    """Return the views of an object by number, given the JSON of each by its path within the object's folder.

    Of the files that are `there`, those that hold depth are a view's.
    """
    maps = {path for path in there if path.endswith(_DEPTH)}
    ordered = sorted(documents.items(), key=lambda item: posixpath.basename(item[0]))
    return make_shots(
        (
            posixpath.dirname(path),
            (f"{stem}.png",),
            partial(_gobjaverse, path, data, depth if depth in maps else None, focal),
        )
        for path, data in ordered
        for stem in [posixpath.splitext(path)[0]]
        for depth in [f"{stem}{_DEPTH}"]
    )


def gobjaverse_depth(numbers: np.ndarray, shot: Shot) -> np.ndarray:
    """Return planar depth (H,W), 0 where nothing is, of an EXR (H,W,4) of normals and depth.

    The object is in the unit cube: what is nearer than that can be is an edge, or the background. Raises SampleError
    brought_pixels.
    """
    if numbers.ndim != 3 or numbers.shape[2] != 4:
        raise SampleError("brought_pixels", f"{shot.depth} must have channels R, G, B, A, got shape {numbers.shape}.")
    assert shot.camera_to_world is not None, "a shot without a camera has no depth"
    depth = numbers[:, :, 3].astype(np.float32)
    nearest = float(np.linalg.norm(shot.camera_to_world[:3, 3])) - _CUBE
    return np.where(np.isfinite(depth) & (depth >= nearest), depth, np.float32(0))


def _gobjaverse(path: str, data: bytes, depth: str | None, focal: float) -> Shot:
    try:
        document = json_of(path, data)
    except SampleError as error:
        raise SampleError("bad_pose", str(error)) from error
    pose = np.eye(4)
    for column, axis in enumerate(("x", "y", "z", "origin")):
        pose[:3, column] = matrix_of(document[axis], (3,))
    if pose[:3, 2] @ pose[:3, 3] > 0:  # the object is at the origin, z is ahead
        raise SampleError("bad_pose", f"camera of view {path} must look at its object, got one that looks away.")
    picture = f"{posixpath.splitext(path)[0]}.png"
    pose = check_pose(_orthonormal(pose))
    return Shot(posixpath.dirname(path), (picture,), pose, partial(square_lens, focal), depth)


def read_gso30(folder: Path, focal: float = ZERO123_FOCAL) -> Capture:
    """Return the views in a folder of GSO30's (`model`) or Zero123's, by number. `focal` is in sides of the picture.

    Raises SampleError as `find` does.
    """
    paths = [path.name for path in folder.glob("*.*")]
    return find(folder, gso30_shots(read_documents(folder, filter(is_gso30_view, paths)), paths, focal))


def is_gso30_view(path: str) -> bool:
    """Say whether a file is the camera of a view of GSO30 or Zero123: `.../003.npy`."""
    stem, ending = posixpath.splitext(posixpath.basename(path))
    return ending == ".npy" and stem.isdigit()


def gso30_shots(documents: Documents, there: Collection[str] = (), focal: float = ZERO123_FOCAL) -> list[Shot]:
    """Return the views of an object by number, given their matrices; pictures without one are `unregistered`."""
    stems = {posixpath.splitext(path)[0] for path in (*documents, *filter(_is_picture, there))}
    return make_shots(
        (stem, (f"{stem}.png",), partial(_numbered, stem, documents.get(f"{stem}.npy"), focal))
        for stem in sorted(stems)
    )


def _is_picture(path: str) -> bool:
    stem, ending = posixpath.splitext(posixpath.basename(path))
    return ending == ".png" and stem.isdigit()


def _numbered(name: str, data: bytes | None, focal: float) -> Shot:
    if data is None:
        raise SampleError("unregistered", f"picture {name}.png must have a matrix {name}.npy, and has none.")
    try:
        matrix = np.load(io.BytesIO(data), allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise SampleError("bad_pose", f"matrix {name}.npy must be an array of numbers: {error}.") from error
    world_to_camera = np.vstack([matrix_of(matrix, (3, 4)), [0.0, 0.0, 0.0, 1.0]])
    if abs(np.linalg.det(world_to_camera)) < 1e-6:
        raise SampleError("bad_pose", f"matrix {name}.npy must hold a rotation, got a flat one.")
    pose = change_axes(np.linalg.inv(world_to_camera), "opengl", "opencv")
    return Shot(name, (f"{name}.png",), check_pose(pose), partial(square_lens, focal))


def _orthonormal(pose: np.ndarray) -> np.ndarray:
    """Return a pose with its rotation made exact: G-Objaverse prints axes with few digits."""
    if np.abs(pose[:3, :3].T @ pose[:3, :3] - np.eye(3)).max() > 1e-2:
        return pose  # no rotation at all; `Camera` says so
    u, _, vt = np.linalg.svd(pose[:3, :3])
    exact = pose.copy()
    exact[:3, :3] = u @ vt
    return exact
