"""What every reader of captures gives: frames in order, and the ones refused, each with a reason.

A frame's picture is as it is on disk. Where its lens is not straight, `straighten` makes the picture that belongs to
its camera.
"""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from onegen.errors import ConfigError, SampleError
from onegen.geometry.cameras import Camera
from onegen.geometry.lens import Lens, check_lens

Key = TypeVar("Key")


@dataclass(frozen=True, slots=True)
class Frame:
    """A picture, its camera (of the straight picture) and its lens, depth and mask where the capture has them."""

    path: Path
    camera: Camera
    lens: Lens
    depth: Path | None = None
    mask: Path | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """A frame left out: its name, a reason (`missing_image`, `bad_pose`, `no_intrinsics` ...) and what was wrong."""

    name: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Capture:
    """The frames of one scene, in order, and the refused ones."""

    frames: tuple[Frame, ...]
    refused: tuple[Refusal, ...] = ()


def make_camera(camera_to_world: np.ndarray, lens: Lens) -> Camera:
    """Return the camera of a straight picture, from OpenCV's 4x4.

    Raises SampleError `bad_pose` for a matrix that is no pose, `no_intrinsics` or `unsupported_lens` for a lens.
    """
    check_lens(lens)
    try:
        return Camera(camera_to_world, lens.focal)
    except ConfigError as error:
        raise SampleError("bad_pose", str(error)) from error


def existing(folder: Path, name: str) -> Path:
    """Return a picture's path within a folder; raises SampleError `unsafe_path` or `missing_image`."""
    root = folder.resolve()
    path = (root / name).resolve()
    if not path.is_relative_to(root):
        raise SampleError("unsafe_path", f"picture must lie in {folder}, got {name[:200]!r}.")
    if not path.is_file():
        raise SampleError("missing_image", f"picture {name[:200]!r} must be there, and is not in {folder}.")
    return path


def collect(numbered: Mapping[str, Callable[[], Frame]]) -> Capture:
    """Return a capture of frames by name, each made or refused on its own.

    Raises SampleError `no_frames` where all are refused: with their reason, where they share one.
    """
    frames, refused = [], []
    for name, make in numbered.items():
        try:
            frames.append(make())
        except SampleError as error:
            refused.append(Refusal(name, error.reason, str(error)))
        except (KeyError, IndexError, TypeError, ValueError, ArithmeticError) as error:
            refused.append(Refusal(name, "bad_frame", f"frame {name!r} must have all it needs: {error!r}."))
    if not frames:
        reasons = {refusal.reason for refusal in refused}
        reason = reasons.pop() if len(reasons) == 1 else "no_frames"
        raise SampleError(reason, refused[0].message if refused else "a capture must have frames, got none.")
    return Capture(tuple(frames), tuple(refused))


def read_json(path: Path) -> Any:
    """Return what a JSON file holds; raises SampleError `unreadable_cameras`."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise SampleError("unreadable_cameras", f"cameras must be readable JSON, got {path}: {error}.") from error


def number(value: Any) -> float:
    """Return a finite number; raises SampleError `bad_pose` for another thing."""
    try:
        got = float(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise SampleError("bad_pose", f"poses must be numbers, got {value!r:.100}.") from error
    if not math.isfinite(got):
        raise SampleError("bad_pose", f"poses must be finite, got {got}.")
    return got


def matrix_of(values: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Return a finite matrix of a shape; raises SampleError `bad_pose` for another thing."""
    try:
        matrix = np.array(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise SampleError("bad_pose", f"pose must be numbers {shape}, got {values!r:.100}.") from error
    if matrix.shape != shape or not np.isfinite(matrix).all():
        raise SampleError("bad_pose", f"pose must be finite numbers {shape}, got shape {matrix.shape}.")
    return matrix
