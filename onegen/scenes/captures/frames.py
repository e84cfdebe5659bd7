"""What every reader of captures gives: shots in order, each with its pose and lens, or why it has none.

A shot is what the files that hold cameras say of one frame; its picture may lie anywhere, also on a remote store, and
is not looked at. `find` looks for pictures in a folder of this machine. docs/scenes.md.
"""

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from onegen.errors import ConfigError, SampleError
from onegen.geometry.cameras import Camera
from onegen.geometry.lens import Lens, check_aspect, check_lens

Size = tuple[int, int]
"""(width, height) of a picture in pixels."""


@dataclass(frozen=True, slots=True)
class Shot:
    """One frame of a capture: where its picture may lie, best first, and the camera it was taken with.

    `pictures`, `depth` and `mask` are paths within the capture. `lens` may have to be told the size of the picture,
    where no file says it. `depth_scale` makes a depth map's numbers the lengths that poses are in. `fault` says why
    there is no camera.
    """

    name: str
    pictures: tuple[str, ...]
    camera_to_world: np.ndarray | None = None
    lens: "Lens | Callable[[Size], Lens] | None" = None
    depth: str | None = None
    mask: str | None = None
    depth_scale: float = 1.0
    fault: SampleError | None = None

    def camera(self, size: Size) -> tuple[Camera, Lens]:
        """Return the camera of the straight picture and the lens, given the size of the picture.

        Raises SampleError: why the shot has no camera, or that the picture is not of its lens.
        """
        if self.fault is not None:
            raise self.fault
        assert self.camera_to_world is not None, "a shot has a camera or a fault"
        assert self.lens is not None, "a shot has a lens or a fault"
        lens = self.lens if isinstance(self.lens, Lens) else self.lens(size)
        check_aspect(lens, *size)
        return make_camera(self.camera_to_world, lens), lens


@dataclass(frozen=True, slots=True)
class Frame:
    """A shot whose picture lies on this machine: `straighten` makes of it, with `lens`, the picture of `camera`."""

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


def check_pose(camera_to_world: np.ndarray) -> np.ndarray:
    """Return OpenCV's 4x4; raises SampleError `bad_pose` for a matrix that is no pose."""
    try:
        return Camera(camera_to_world).camera_to_world
    except ConfigError as error:
        raise SampleError("bad_pose", str(error)) from error


def make_shots(described: Iterable[tuple[str, Sequence[str], Callable[[], Shot]]]) -> list[Shot]:
    """Return shots made one by one, given name, possible pictures and how each is made: one that fails has a fault."""
    shots: list[Shot] = []
    seen: set[str] = set()
    for name, pictures, make in described:
        try:
            if name in seen:
                raise SampleError("bad_frame", f"frame {name[:200]!r} must be there once, and is described again.")
            seen.add(name)
            shots.append(make())
        except SampleError as error:
            shots.append(Shot(name, tuple(pictures), fault=error))
        except (KeyError, IndexError, TypeError, ValueError, ArithmeticError) as error:
            fault = SampleError("bad_frame", f"frame {name[:200]!r} must have all it needs: {error!r}.")
            shots.append(Shot(name, tuple(pictures), fault=fault))
    return shots


def find(folder: Path, shots: Sequence[Shot]) -> Capture:
    """Return the capture of a folder, given its shots.

    Raises SampleError `no_frames` where all are refused: with their reason, where they share one.
    """
    frames, refused = [], []
    for shot in shots:
        try:
            frames.append(_found(folder, shot))
        except SampleError as error:
            refused.append(Refusal(shot.name, error.reason, str(error)))
    if not frames:
        reasons = {refusal.reason for refusal in refused}
        reason = reasons.pop() if len(reasons) == 1 else "no_frames"
        raise SampleError(reason, refused[0].message if refused else "a capture must have frames, got none.")
    return Capture(tuple(frames), tuple(refused))


def _found(folder: Path, shot: Shot) -> Frame:
    if shot.fault is not None:
        raise shot.fault
    picture = _first(folder, shot.pictures)
    camera, lens = shot.camera(_size(picture))
    parts = {part: existing(folder, name) for part in ("depth", "mask") if (name := getattr(shot, part)) is not None}
    return Frame(picture, camera, lens, **parts)


def _first(folder: Path, names: Sequence[str]) -> Path:
    for name in names:
        try:
            return existing(folder, name)
        except SampleError as error:
            if error.reason != "missing_image":
                raise
    raise SampleError("missing_image", f"picture {names[-1][:200]!r} must be there, and is not in {folder}.")


def _size(picture: Path) -> Size:
    try:
        with Image.open(picture) as image:
            return image.width, image.height
    except (OSError, ValueError, SyntaxError) as error:
        raise SampleError("unreadable_image", f"picture {picture} must decode: {error}.") from error


def existing(folder: Path, name: str) -> Path:
    """Return a picture's path within a folder; raises SampleError `unsafe_path` or `missing_image`."""
    root = folder.resolve()
    path = (root / name).resolve()
    if not path.is_relative_to(root):
        raise SampleError("unsafe_path", f"picture must lie in {folder}, got {name[:200]!r}.")
    if not path.is_file():
        raise SampleError("missing_image", f"picture {name[:200]!r} must be there, and is not in {folder}.")
    return path


def read_documents(folder: Path, names: Iterable[str]) -> dict[str, bytes]:
    """Return files by name within a folder; raises SampleError `unreadable_cameras`."""
    try:
        return {name: (folder / name).read_bytes() for name in names}
    except OSError as error:
        raise SampleError("unreadable_cameras", f"cameras must be readable, got {folder}: {error}.") from error


def json_of(name: str, data: bytes) -> Any:
    """Return what a JSON file holds; raises SampleError `unreadable_cameras`."""
    try:
        return json.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise SampleError(
            "unreadable_cameras", f"{name} must be JSON: {error}. Mend it, then `onegen retry`."
        ) from error


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


def square_lens(focal: float, size: Size) -> Lens:
    """Return the lens of a render whose files do not say it: a focal length in sides, the middle its centre."""
    length = focal * min(size)
    return Lens(*size, length, length, size[0] / 2, size[1] / 2)


def smaller_sets(name: str, preferred: str | None = None) -> list[str]:
    """Return where a picture of `images/` may lie, best first: as the frame says, or in sets of smaller size."""
    first, _, rest = name.partition("/")
    places = dict.fromkeys([*([preferred] if preferred else []), "images", *SMALLER])
    return [f"{place}/{rest}" for place in places] if first == "images" and rest else [name]


SMALLER = ("images_2", "images_4", "images_8")
"""Where the pictures of `images` may stand halved, and halved again."""
Documents = Mapping[str, bytes]
"""The files of a capture that say where its cameras stand, by their paths within it."""
