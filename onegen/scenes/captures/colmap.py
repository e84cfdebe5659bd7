"""Captures that COLMAP solved: `cameras` and `images`, as text or binary, a folder of pictures, maybe one of masks.

https://colmap.github.io/format.html. Poses are world-to-camera, OpenCV's axes; pixel centres are at halves, as ours.
"""

import os
import posixpath
import re
import struct
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from onegen.errors import SampleError
from onegen.geometry.cameras import from_colmap
from onegen.geometry.lens import Lens, check_lens
from onegen.scenes.captures.frames import (
    Capture,
    Documents,
    Shot,
    check_pose,
    find,
    make_shots,
    number,
    read_documents,
    smaller_sets,
)

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


MODEL_FILES = ("cameras.txt", "images.txt", "cameras.bin", "images.bin")
"""The files of a model that are read."""
MASKS = "masks"
"""Folder of masks, white where a picture counts: `masks/a.jpg.png` of `a.jpg`, as COLMAP says, or `masks/a.png`."""


def pictures_folder(model: str) -> str:
    """Return where a model's `images` lie: beside `sparse/0`, or `colmap/sparse/0`, or the files themselves."""
    parts = [part for part in model.split("/") if part]
    if parts and re.fullmatch(r"\d+", parts[-1]) and parts[-2:-1] == ["sparse"]:
        parts.pop()
    for name in ("sparse", "colmap"):
        if parts[-1:] == [name]:
            parts.pop()
    return "/".join(parts)


def read_colmap(model: Path, pictures: Path) -> Capture:
    """Return the capture of a model folder (`sparse/0`) and its pictures, by name; text where both forms are there.

    Pictures that the model does not have are refused as `unregistered`. Raises SampleError `unreadable_cameras`, or as
    `find` does.
    """
    documents = read_documents(model, [name for name in MODEL_FILES if (model / name).is_file()])
    there = (Path(folder) / file for folder, _, files in os.walk(pictures) for file in files)
    names = ["images/" + path.relative_to(pictures).as_posix() for path in there]
    shots = colmap_shots(documents, names)
    within = [replace(shot, pictures=(shot.pictures[0].removeprefix("images/"),)) for shot in shots]
    return find(pictures, within)


def colmap_shots(documents: Documents, there: Collection[str] = (), images: str | None = None) -> list[Shot]:
    """Return the shots of a model by name, given its files; `images` is the folder of pictures to prefer.

    Of the files that are `there`, pictures that the model does not have are `unregistered`, and masks are those of
    the pictures they are called after. Raises SampleError `unreadable_cameras`.
    """
    by_name = {posixpath.basename(name): data for name, data in documents.items()}
    try:
        if "images.txt" in by_name:
            cameras = dict(_text_cameras(by_name["cameras.txt"]))
            solved = list(_text_images(by_name["images.txt"]))
        else:
            cameras = dict(_binary_cameras(by_name["cameras.bin"]))
            solved = list(_binary_images(by_name["images.bin"]))
    except (ValueError, IndexError, KeyError, struct.error) as error:
        raise SampleError("unreadable_cameras", f"COLMAP model must be readable, got {error!r}.") from error
    masks = {path for path in there if path.startswith(f"{MASKS}/")}
    makes = [(image.name, partial(_shot, cameras, image, images, masks)) for image in solved]
    known = {image.name for image in solved}
    makes += [(name, partial(_refuse, name)) for name in sorted(_pictures_in(there, images) - known)]
    makes.sort(key=lambda described: described[0])
    return make_shots((name, _places(name, images), make) for name, make in makes)


def _pictures_in(there: Collection[str], images: str | None) -> set[str]:
    """Return the names of pictures, as a model has them, in the sets of pictures that are there."""
    sets = {path.partition("/")[0] for path in smaller_sets("images/x", images)}
    parts = (path.partition("/") for path in there if path.lower().endswith(_PICTURES))
    return {name for folder, _, name in parts if folder in sets and name}


def _places(name: str, images: str | None) -> tuple[str, ...]:
    return tuple(smaller_sets(f"images/{name}", images))


def _refuse(name: str) -> Shot:
    raise SampleError("unregistered", f"picture {name!r} must have a pose in the model, and has none.")


def _mask(name: str, masks: Collection[str]) -> str | None:
    """Return where the mask of a picture lies, None where there is none."""
    candidates = (f"{MASKS}/{name}.png", f"{MASKS}/{posixpath.splitext(name)[0]}.png")
    return next((path for path in candidates if path in masks), None)


def _shot(cameras: Mapping[int, _Camera], image: _Image, images: str | None, masks: Collection[str]) -> Shot:
    if image.camera not in cameras:
        raise SampleError("no_intrinsics", f"{image.name!r} must have a camera in the model, got {image.camera}.")
    lens = _lens(cameras[image.camera])
    check_lens(lens)
    quaternion = [number(value) for value in image.quaternion]
    if not any(quaternion):
        raise SampleError("bad_pose", f"rotation of {image.name!r} must not be zero.")
    pose = from_colmap(quaternion, [number(value) for value in image.translation])
    mask = _mask(image.name, masks)
    return Shot(image.name, _places(image.name, images), check_pose(pose.camera_to_world), lens, mask=mask)


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


def _lines(data: bytes) -> list[str]:
    return data.decode("utf-8").splitlines()


def _text_cameras(data: bytes) -> Iterator[tuple[int, _Camera]]:
    for line in _lines(data):
        if line.strip() and not line.startswith("#"):
            identity, model, width, height, *parameters = line.split()
            yield int(identity), _Camera(model, int(width), int(height), tuple(map(float, parameters)))


def _text_images(data: bytes) -> Iterator[_Image]:
    """Yield images: every other line that is no comment; the second of a pair lists points, and may be empty."""
    lines = [line for line in _lines(data) if not line.startswith("#")]
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
