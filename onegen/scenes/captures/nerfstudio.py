"""Captures in nerfstudio's and instant-ngp's layout, DL3DV's among them: a `transforms.json` and pictures beside it.

DL3DV comes in sets of one size: where `images/` is not there, `images_2`, `_4` and `_8` are looked into; intrinsics are
those of the size the file says. https://docs.nerf.studio/quickstart/data_conventions.html
"""

import json
import math
import posixpath
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from onegen.errors import SampleError
from onegen.geometry.cameras import Camera, change_axes
from onegen.geometry.lens import Lens, check_lens
from onegen.geometry.nerfstudio import to_nerfstudio
from onegen.scenes.captures.frames import (
    Capture,
    Documents,
    Shot,
    Size,
    check_pose,
    find,
    json_of,
    make_shots,
    matrix_of,
    number,
    read_documents,
    smaller_sets,
)
from onegen.storage.whole import whole

TRANSFORMS = "transforms.json"
MILLIMETRES = 0.001
"""What a depth map's numbers are multiplied with, where the file does not say it."""
_ENDINGS = (".png", ".jpg", ".jpeg")
"""Endings that a frame of a synthetic scene leaves out."""
_BROWN = ("k1", "k2", "p1", "p2", "k3")
_FISHEYE = ("k1", "k2", "k3", "k4")
_FLAT = ("EQUIRECTANGULAR", "ORTHOPHOTO", "VR180")


def read_nerfstudio(folder: Path, name: str = TRANSFORMS) -> Capture:
    """Return the capture of a folder with a `transforms.json`, in its order.

    Raises SampleError `unreadable_cameras`, or as `find` does.
    """
    return find(folder, nerfstudio_shots({name: read_documents(folder, [name])[name]}))


def nerfstudio_shots(documents: Documents, images: str | None = None) -> list[Shot]:
    """Return the shots of a `transforms.json` in its order; `images` is the folder of pictures to prefer.

    Intrinsics stand in the file or a frame. Raises SampleError `unreadable_cameras`.
    """
    ((name, data),) = documents.items()
    document = json_of(name, data)
    frames = document.get("frames") if isinstance(document, Mapping) else None
    if not isinstance(frames, list) or not all(isinstance(frame, Mapping) for frame in frames):
        raise SampleError(
            "unreadable_cameras", f"{name} must have frames, each an object with file_path and transform_matrix."
        )
    described = [(str(frame.get("file_path", position)), frame) for position, frame in enumerate(frames)]
    return make_shots(
        (path, pictures, partial(_shot, path, pictures, {**document, **frame}))
        for path, frame in described
        for pictures in [_pictures(path, images)]
    )


def _shot(path: str, pictures: Sequence[str], numbers: Mapping[str, Any]) -> Shot:
    rows = numbers.get("transform_matrix")
    if isinstance(rows, list) and len(rows) == 3:
        rows = [*rows, [0.0, 0.0, 0.0, 1.0]]
    pose = check_pose(change_axes(matrix_of(rows, (4, 4)), "nerfstudio", "opencv"))
    is_whole = "fl_x" in numbers or "camera_angle_x" not in numbers or ("w" in numbers and "h" in numbers)
    lens = _lens(numbers) if is_whole else partial(_lens, numbers)
    if isinstance(lens, Lens):
        check_lens(lens)
    beside = {part: numbers.get(f"{part}_file_path") or numbers.get(f"{part}_path") for part in ("depth", "mask")}
    depth, mask = (str(beside[part]) if beside[part] else None for part in ("depth", "mask"))
    scale = number(numbers.get("depth_unit_scale_factor", MILLIMETRES))
    return Shot(path, tuple(pictures), pose, lens, depth, mask, scale)


def _pictures(path: str, images: str | None) -> list[str]:
    """Return where a frame's picture may lie: under its name, in a smaller set, or with an ending that is left out."""
    plain = posixpath.normpath(path)
    sets = smaller_sets(plain, images)
    names = [*sets, *([plain] if plain not in sets else [])]
    return names if plain.lower().endswith(_ENDINGS) else [n for name in names for n in (name, *_with_endings(name))]


def _with_endings(name: str) -> list[str]:
    return [name + ending for ending in _ENDINGS]


def _lens(numbers: Mapping[str, Any], size: Size | None = None) -> Lens:
    """Return the lens of a frame; `size` is told where no file says it: synthetic scenes have the angle alone."""
    model = str(numbers.get("camera_model", "PINHOLE")).upper()
    if any(word in model for word in _FLAT):
        raise SampleError("unsupported_lens", f"camera_model must be a perspective or fisheye lens, got {model}.")
    try:
        width, height = size if size is not None else (int(numbers["w"]), int(numbers["h"]))
        if "fl_x" in numbers:
            fx = float(numbers["fl_x"])
        else:
            fx = 0.5 * width / math.tan(0.5 * float(numbers["camera_angle_x"]))
        fisheye = "FISHEYE" in model
        bend = tuple(float(numbers.get(name, 0.0)) for name in (_FISHEYE if fisheye else _BROWN))
        return Lens(
            width,
            height,
            fx,
            float(numbers.get("fl_y", fx)),
            float(numbers.get("cx", width / 2)),
            float(numbers.get("cy", height / 2)),
            "fisheye" if fisheye else "brown",
            bend if fisheye or any(bend) else (),
        )
    except (KeyError, TypeError, ValueError, ArithmeticError) as error:
        raise SampleError(
            "no_intrinsics", f"a frame must have fl_x with w and h, or camera_angle_x, in numbers: {error!r}."
        ) from error


def write_nerfstudio(
    folder: Path, cameras: Mapping[str, Camera], width: int, height: int, **extra: Sequence[str]
) -> Path:
    """Write `transforms.json` for pictures of one size by their paths within `folder`; return its path.

    `extra` are further paths by frame, `depth_file_path=[...]`. Read back, the cameras are the same to 1e-12.
    """
    document = to_nerfstudio(cameras, width, height)
    document["camera_model"] = "PINHOLE"
    for word, values in extra.items():
        for frame, value in zip(document["frames"], values, strict=True):
            frame[word] = value
    path = folder / TRANSFORMS
    with whole(path) as part:
        part.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return path
