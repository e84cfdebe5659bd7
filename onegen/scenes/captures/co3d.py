"""CO3D v2: a category's `frame_annotations.jgz` and `sequence_annotations.jgz`, gzipped JSON lists.

Cameras are PyTorch3D's (x left, y up, row vectors) with intrinsics in normalised device coordinates; sizes are
(height, width). The data is CC BY-NC 4.0. https://github.com/facebookresearch/co3d
"""

import gzip
import json
import zlib
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from onegen.errors import SampleError
from onegen.geometry.cameras import change_axes
from onegen.geometry.lens import Lens
from onegen.scenes.captures.frames import Capture, Frame, Refusal, collect, existing, make_camera, matrix_of, number


def read_co3d(root: Path, category: str, min_quality: float | None = None) -> dict[str, Capture | Refusal]:
    """Return the sequences of a category by name, in the file's order; frames by their number.

    With `min_quality`, sequences whose viewpoints score lower, or have no score, are refused as `low_quality`.
    Raises SampleError `unreadable_cameras`.
    """
    quality = {
        entry["sequence_name"]: entry.get("viewpoint_quality_score")
        for entry in _annotations(root / category / "sequence_annotations.jgz", required=min_quality is not None)
    }
    sequences: dict[str, list[Mapping[str, Any]]] = {}
    for entry in _annotations(root / category / "frame_annotations.jgz"):
        sequences.setdefault(str(entry["sequence_name"]), []).append(entry)
    captures: dict[str, Capture | Refusal] = {}
    for name, entries in sequences.items():
        score = quality.get(name)
        if min_quality is not None and (score is None or score < min_quality):
            message = f"viewpoints of {name} must score at least {min_quality}, got {score}."
            captures[name] = Refusal(name, "low_quality", message)
            continue
        entries.sort(key=lambda entry: int(entry["frame_number"]))
        try:
            captures[name] = collect({str(entry["frame_number"]): partial(_frame, root, entry) for entry in entries})
        except SampleError as error:
            captures[name] = Refusal(name, error.reason, str(error))
    return captures


def read_co3d_depth(path: Path, scale: float) -> np.ndarray:
    """Return a depth map float32 (H,W), 0 unknown: a 16-bit PNG whose bits are those of half floats, times `scale`."""
    try:
        with Image.open(path) as image:
            bits = np.array(image, dtype=np.uint16)
    except (OSError, ValueError, SyntaxError) as error:
        raise SampleError("unreadable_depth", f"depth map {path} must decode: {error}.") from error
    depth = bits.view(np.float16).astype(np.float32) * np.float32(scale)
    return np.where(np.isfinite(depth), depth, np.float32(0))


def _annotations(path: Path, required: bool = True) -> list[dict[str, Any]]:
    if not required and not path.exists():
        return []
    try:
        entries = json.loads(gzip.decompress(path.read_bytes()))
    except (OSError, EOFError, ValueError, zlib.error, RecursionError) as error:
        raise SampleError(
            "unreadable_cameras", f"CO3D annotations must be gzipped JSON, got {path}: {error}."
        ) from error
    named = isinstance(entries, list) and all(isinstance(entry, dict) and "sequence_name" in entry for entry in entries)
    if not named or any("viewpoint" in entry and "frame_number" not in entry for entry in entries):
        raise SampleError("unreadable_cameras", f"CO3D annotations must be a list of named entries, got {path}.")
    return entries


def _frame(root: Path, entry: Mapping[str, Any]) -> Frame:
    view = entry.get("viewpoint")
    if not view:
        raise SampleError("unregistered", f"frame {entry['frame_number']} must have a viewpoint, and has none.")
    rotation, translation = matrix_of(view["R"], (3, 3)), matrix_of(view["T"], (3,))
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = rotation, -rotation @ translation
    lens = _lens(view, entry["image"]["size"])
    parts = {
        part: existing(root, str(about["path"])) for part in ("depth", "mask") if (about := entry.get(part)) is not None
    }
    picture = existing(root, str(entry["image"]["path"]))
    return Frame(picture, make_camera(change_axes(matrix, "pytorch3d", "opencv"), lens), lens, **parts)


def _lens(view: Mapping[str, Any], size: Any) -> Lens:
    try:
        height, width = (int(side) for side in size)
        focal, point = ([number(value) for value in view[name]] for name in ("focal_length", "principal_point"))
        form = str(view.get("intrinsics_format") or "ndc_norm_image_bounds").lower()
        if form not in ("ndc_isotropic", "ndc_norm_image_bounds"):
            raise SampleError("no_intrinsics", f"intrinsics_format must be a known one, got {form!r}.")
        half = [min(width, height) / 2] * 2 if form == "ndc_isotropic" else [width / 2, height / 2]
        fx, fy = (length * side for length, side in zip(focal, half, strict=True))
        cx, cy = (side / 2 - place * scale for side, place, scale in zip((width, height), point, half, strict=True))
    except (KeyError, TypeError, ValueError) as error:
        raise SampleError("no_intrinsics", f"viewpoint must have its intrinsics: {error!r}.") from error
    except SampleError as error:
        raise SampleError("no_intrinsics", str(error)) from error
    return Lens(width, height, fx, fy, cx, cy)
