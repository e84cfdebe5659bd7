"""Captures in nerfstudio's and instant-ngp's layout, DL3DV's among them: a `transforms.json` and pictures beside it.

DL3DV comes in sets of one size: where `images/` is not there, `images_2`, `_4` and `_8` are looked into; intrinsics are
those of the size the file says. https://docs.nerf.studio/quickstart/data_conventions.html
"""

import json
import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from onegen.errors import SampleError
from onegen.geometry.cameras import Camera, change_axes
from onegen.geometry.lens import Lens
from onegen.geometry.nerfstudio import to_nerfstudio
from onegen.scenes.captures.frames import Capture, Frame, collect, existing, make_camera, matrix_of, read_json
from onegen.storage.whole import whole

_SMALLER = ("images", "images_2", "images_4", "images_8")
_BROWN = ("k1", "k2", "p1", "p2", "k3")
_FISHEYE = ("k1", "k2", "k3", "k4")
_FLAT = ("EQUIRECTANGULAR", "ORTHOPHOTO", "VR180")


def read_nerfstudio(folder: Path, name: str = "transforms.json") -> Capture:
    """Return the capture of a folder with a `transforms.json`, in its order.

    Intrinsics stand in the file or a frame. Raises SampleError `unreadable_cameras`, or as `collect` does.
    """
    document = read_json(folder / name)
    frames = document.get("frames") if isinstance(document, dict) else None
    if not isinstance(frames, list) or not all(isinstance(frame, dict) for frame in frames):
        raise SampleError("unreadable_cameras", f"{name} must be an object with a list of frames, got {folder / name}.")
    return collect(
        {
            f"{frame.get('file_path', position)}": partial(_frame, folder, {**document, **frame})
            for position, frame in enumerate(frames)
        }
    )


def _frame(folder: Path, numbers: Mapping[str, Any]) -> Frame:
    rows = numbers.get("transform_matrix")
    if isinstance(rows, list) and len(rows) == 3:
        rows = [*rows, [0.0, 0.0, 0.0, 1.0]]
    pose = change_axes(matrix_of(rows, (4, 4)), "nerfstudio", "opencv")
    picture = _picture(folder, str(numbers["file_path"]))
    lens = _lens(numbers if "w" in numbers and "h" in numbers else {**numbers, **_size(picture)})
    beside = {part: numbers.get(f"{part}_file_path", numbers.get(f"{part}_path")) for part in ("depth", "mask")}
    parts = {part: existing(folder, str(name)) for part, name in beside.items() if name}
    return Frame(picture, make_camera(pose, lens), lens, **parts)


def _size(picture: Path) -> dict[str, int]:
    """Return w and h of a picture, for files that leave them out: synthetic scenes say the angle alone."""
    try:
        with Image.open(picture) as image:
            return {"w": image.width, "h": image.height}
    except (OSError, ValueError, SyntaxError) as error:
        raise SampleError("unreadable_image", f"picture {picture} must decode: {error}.") from error


def _picture(folder: Path, name: str) -> Path:
    """Return a frame's picture: under its name, in a smaller set, or, for synthetic scenes, with its ending added."""
    first, _, rest = name.removeprefix("./").partition("/")
    names = [name, *(f"{smaller}/{rest}" for smaller in _SMALLER if first == "images"), f"{name}.png"]
    for candidate in names:
        try:
            return existing(folder, candidate)
        except SampleError as error:
            if error.reason != "missing_image":
                raise
    raise SampleError("missing_image", f"picture {name[:200]!r} must be there, and is not in {folder}.")


def _lens(numbers: Mapping[str, Any]) -> Lens:
    model = str(numbers.get("camera_model", "PINHOLE")).upper()
    if any(word in model for word in _FLAT):
        raise SampleError("unsupported_lens", f"camera_model must be a perspective or fisheye lens, got {model}.")
    try:
        width, height = int(numbers["w"]), int(numbers["h"])
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
    path = folder / "transforms.json"
    with whole(path) as part:
        part.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return path
