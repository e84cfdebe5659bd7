"""Cameras as nerfstudio and instant-ngp write them: `transforms.json`, OpenGL camera-to-world matrices by image path.

https://docs.nerf.studio/quickstart/data_conventions.html
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from onegen.errors import ConfigError
from onegen.geometry.cameras import Camera, change_axes

_DISTORTION = ("k1", "k2", "k3", "k4", "p1", "p2")
_OFF_CENTRE = 0.05
"""Share of a side that a principal point may lie from the middle: cameras here have it there."""
_BENT = 0.05
"""Distortion coefficient up to which a lens counts as straight: at 40 degrees it moves the corners by a percent."""
_OTHER_MODELS = ("FISHEYE", "EQUIRECTANGULAR", "ORTHOPHOTO")
"""What names of camera models that are no pinhole have in them."""


def read_nerfstudio(path: Path) -> dict[str, Camera]:
    """Return the cameras in a `transforms.json` by image path, in its order; raises ConfigError naming the file."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"cameras must be a readable transforms.json, got {path}: {error}.") from error
    try:
        if not isinstance(document, Mapping):
            raise ConfigError("transforms.json must be an object with frames, got something else.")
        return from_nerfstudio(document)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def from_nerfstudio(document: Mapping[str, Any]) -> dict[str, Camera]:
    """Return the cameras of a `transforms.json` by image path.

    Intrinsics stand in the document or in a frame: fl_x with w and h, or camera_angle_x, in radians across the width.
    Focal lengths are divided by the shorter side. Raises ConfigError naming frame and fault: also for a principal point
    away from the middle and for strong distortion, which a `Camera` does not have.
    """
    frames = document.get("frames")
    if not isinstance(frames, list) or not frames:
        raise ConfigError("transforms.json must have frames, got none.")
    cameras: dict[str, Camera] = {}
    for number, frame in enumerate(frames):
        name = str(frame.get("file_path", number)) if isinstance(frame, Mapping) else str(number)
        if name in cameras:
            raise ConfigError(f"transforms.json must have a frame once, got {name!r} twice.")
        try:
            cameras[name] = _camera({**document, **frame})
        except (KeyError, TypeError, ValueError, ArithmeticError) as error:
            raise ConfigError(
                f"transforms.json must have fl_x with w and h, or camera_angle_x, and a 4x4 transform_matrix of finite "
                f"numbers a frame; frame {name!r} has not: {error!r}."
            ) from error
        except ConfigError as error:
            raise ConfigError(f"frame {name!r} of transforms.json: {error}") from error
    return cameras


def to_nerfstudio(cameras: Mapping[str, Camera], width: int, height: int) -> dict[str, Any]:
    """Return a `transforms.json` document of cameras by image path, for images of one size in pixels."""
    side = min(width, height)
    frames = [
        {
            "file_path": path,
            "fl_x": camera.focal[0] * side,
            "fl_y": camera.focal[1] * side,
            "transform_matrix": change_axes(camera.camera_to_world, "opencv", "nerfstudio").tolist(),
        }
        for path, camera in cameras.items()
    ]
    return {"w": width, "h": height, "cx": width / 2, "cy": height / 2, "frames": frames}


def _camera(numbers: Mapping[str, Any]) -> Camera:
    """Return the camera of a frame, whose numbers go before the document's."""
    matrix = np.array(numbers["transform_matrix"], dtype=np.float64)
    if matrix.shape == (3, 4):
        matrix = np.vstack([matrix, [0.0, 0.0, 0.0, 1.0]])
    _refuse_other_lenses(numbers)
    return Camera(change_axes(matrix, "nerfstudio", "opencv"), _focal(numbers))


def _focal(numbers: Mapping[str, Any]) -> tuple[float, float]:
    """Return the focal lengths in units of the shorter side."""
    if "fl_x" in numbers:
        side = min(float(numbers["w"]), float(numbers["h"]))
        across = float(numbers["fl_x"])
        return across / side, float(numbers.get("fl_y", across)) / side
    angle = float(numbers["camera_angle_x"])
    # Without sizes the pictures are taken as square: synthetic scenes have the angle alone, and are.
    width, height = (float(numbers.get(name, 1.0)) for name in ("w", "h"))
    focal = 0.5 * width / math.tan(0.5 * angle) / min(width, height)
    return focal, focal


def _refuse_other_lenses(numbers: Mapping[str, Any]) -> None:
    """Raise ConfigError for a camera that is no pinhole with its principal point in the middle."""
    model = str(numbers.get("camera_model", ""))
    if any(word in model.upper() for word in _OTHER_MODELS):
        raise ConfigError(f"camera_model must be a pinhole, got {model}. Undistort the images first.")
    for centre, side in (("cx", "w"), ("cy", "h")):
        if centre in numbers and side in numbers:
            place = float(numbers[centre]) / float(numbers[side])
            if not abs(place - 0.5) <= _OFF_CENTRE:
                raise ConfigError(
                    f"{centre} must lie in the middle of the image, got {place:.2f} of {side}. Crop the images around "
                    f"their principal point first."
                )
    strong = [name for name in _DISTORTION if abs(float(numbers.get(name, 0.0))) > _BENT]
    if strong:
        raise ConfigError(
            f"lens must be free of distortion, got {strong[0]} = {numbers[strong[0]]}. Undistort the images first "
            f"(colmap image_undistorter), and take the cameras it writes."
        )
