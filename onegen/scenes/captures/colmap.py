"""Captures that COLMAP solved: `cameras` and `images`, as text or binary, and a folder of pictures.

https://colmap.github.io/format.html. Poses are world-to-camera, OpenCV's axes; pixel centres are at halves, as ours.
"""

import os
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from onegen.errors import SampleError
from onegen.geometry.cameras import from_colmap
from onegen.geometry.lens import Lens
from onegen.scenes.captures.frames import Capture, Frame, collect, existing, make_camera, number

MODELS: Mapping[str, str] = {
    "SIMPLE_PINHOLE": "f cx cy",
    "PINHOLE": "fx fy cx cy",
    "SIMPLE_RADIAL": "f cx cy k1",
    "RADIAL": "f cx cy k1 k2",
    "OPENCV": "fx fy cx cy k1 k2 p1 p2",
    "OPENCV_FISHEYE": "fx fy cx cy k1 k2 k3 k4",
    "FULL_OPENCV": "fx fy cx cy k1 k2 p1 p2 k3 k4 k5 k6",
    "FOV": "fx fy cx cy omega",
    "SIMPLE_RADIAL_FISHEYE": "f cx cy k1",
    "RADIAL_FISHEYE": "f cx cy k1 k2",
    "THIN_PRISM_FISHEYE": "fx fy cx cy k1 k2 p1 p2 k3 k4 sx1 sy1",
}
"""Camera models and their parameters; in binary files a model is its position here."""
_OTHER = ("FOV", "THIN_PRISM_FISHEYE")
_PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp")


@dataclass(frozen=True, slots=True)
class _Camera:
    model: str
    width: int
    height: int
    parameters: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class _Image:
    name: str
    camera: int
    quaternion: tuple[float, ...]
    translation: tuple[float, ...]


def read_colmap(model: Path, pictures: Path) -> Capture:
    """Return the capture of a model folder (`sparse/0`) and its pictures, by name; text where both forms are there.

    Pictures that the model does not have are refused as `unregistered`. Raises SampleError `unreadable_cameras`, or as
    `collect` does.
    """
    try:
        if (model / "images.txt").is_file():
            cameras, images = dict(_text_cameras(model / "cameras.txt")), list(_text_images(model / "images.txt"))
        else:
            cameras = dict(_binary_cameras((model / "cameras.bin").read_bytes()))
            images = list(_binary_images((model / "images.bin").read_bytes()))
    except (OSError, ValueError, IndexError, KeyError, struct.error) as error:
        raise SampleError("unreadable_cameras", f"COLMAP model must be readable, got {model}: {error!r}.") from error
    named = {image.name: partial(_frame, pictures, cameras, image) for image in images}
    for name in _unregistered(pictures, named):
        named[name] = partial(_refuse, name)
    return collect({name: named[name] for name in sorted(named)})


def _refuse(name: str) -> Frame:
    raise SampleError("unregistered", f"picture {name!r} must have a pose in the model, and has none.")


def _unregistered(pictures: Path, named: Mapping[str, object]) -> list[str]:
    found = [
        (Path(folder) / file).relative_to(pictures).as_posix()
        for folder, _, files in os.walk(pictures)
        for file in files
    ]
    return [name for name in found if name not in named and name.lower().endswith(_PICTURES)]


def _frame(pictures: Path, cameras: Mapping[int, _Camera], image: _Image) -> Frame:
    if image.camera not in cameras:
        raise SampleError("no_intrinsics", f"{image.name!r} must have a camera in the model, got {image.camera}.")
    lens = _lens(cameras[image.camera])
    quaternion = [number(value) for value in image.quaternion]
    if not any(quaternion):
        raise SampleError("bad_pose", f"rotation of {image.name!r} must not be zero.")
    pose = from_colmap(quaternion, [number(value) for value in image.translation])
    return Frame(existing(pictures, image.name), make_camera(pose.camera_to_world, lens), lens)


def _lens(camera: _Camera) -> Lens:
    names = MODELS.get(camera.model, "").split()
    if not names or camera.model in _OTHER:
        raise SampleError("unsupported_lens", f"COLMAP camera must be of a known model, got {camera.model}.")
    if len(names) != len(camera.parameters):
        raise SampleError("no_intrinsics", f"{camera.model} must have {' '.join(names)}, got {camera.parameters}.")
    values = dict(zip(names, camera.parameters, strict=True))
    fx, fy = values.get("fx", values.get("f", 0.0)), values.get("fy", values.get("f", 0.0))
    is_fisheye = "FISHEYE" in camera.model
    order = ("k1", "k2", "k3", "k4") if is_fisheye else ("k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6")
    bend = tuple(values.get(name, 0.0) for name in order)
    model = "fisheye" if is_fisheye else "brown"
    kept = bend if is_fisheye or any(bend) else ()
    return Lens(camera.width, camera.height, fx, fy, values["cx"], values["cy"], model, kept)  # type: ignore[arg-type]


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def _text_cameras(path: Path) -> Iterator[tuple[int, _Camera]]:
    for line in _lines(path):
        if line.strip() and not line.startswith("#"):
            identity, model, width, height, *parameters = line.split()
            yield int(identity), _Camera(model, int(width), int(height), tuple(map(float, parameters)))


def _text_images(path: Path) -> Iterator[_Image]:
    """Yield images: every other line that is no comment; the second of a pair lists points, and may be empty."""
    lines = [line for line in _lines(path) if not line.startswith("#")]
    while lines and not lines[0].strip():
        lines.pop(0)
    for line in lines[::2]:
        if line.strip():
            words = line.split(maxsplit=9)
            yield _Image(words[9], int(words[8]), tuple(map(float, words[1:5])), tuple(map(float, words[5:8])))


def _binary_cameras(data: bytes) -> Iterator[tuple[int, _Camera]]:
    (count,), at = struct.unpack_from("<Q", data), 8
    models = list(MODELS)
    for _ in range(count):
        identity, model, width, height = struct.unpack_from("<iiQQ", data, at)
        if not 0 <= model < len(models):
            raise ValueError(f"camera model {model} is unknown")
        num_parameters = len(MODELS[models[model]].split())
        parameters = struct.unpack_from(f"<{num_parameters}d", data, at + 24)
        at += 24 + 8 * num_parameters
        yield identity, _Camera(models[model], width, height, parameters)


def _binary_images(data: bytes) -> Iterator[_Image]:
    (count,), at = struct.unpack_from("<Q", data), 8
    for _ in range(count):
        _, *numbers, camera = struct.unpack_from("<i7di", data, at)
        end = data.index(b"\0", at + 64)
        name = data[at + 64 : end].decode("utf-8")
        (num_points,) = struct.unpack_from("<Q", data, end + 1)
        at = end + 9 + 24 * num_points
        yield _Image(name, camera, tuple(numbers[:4]), tuple(numbers[4:]))
