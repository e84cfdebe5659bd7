"""CO3D v2: a category's `frame_annotations.jgz` and `sequence_annotations.jgz`, gzipped JSON lists.

Cameras are PyTorch3D's (x left, y up, row vectors) with intrinsics in normalised device coordinates; sizes are
(height, width). The data is CC BY-NC 4.0. https://github.com/facebookresearch/co3d
"""

import gzip
import json
import zlib
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from onegen.errors import SampleError
from onegen.geometry.cameras import change_axes
from onegen.geometry.lens import Lens, check_lens
from onegen.scenes.captures.frames import (
    Capture,
    Refusal,
    Shot,
    check_pose,
    find,
    make_shots,
    matrix_of,
    number,
    read_documents,
)

FRAMES, SEQUENCES = "frame_annotations.jgz", "sequence_annotations.jgz"
Entry = Mapping[str, Any]


def read_co3d(root: Path, category: str) -> dict[str, Capture | Refusal]:
    """Return the sequences of a category by name, in the file's order; frames by their number.

    Raises SampleError `unreadable_cameras`.
    """
    captures: dict[str, Capture | Refusal] = {}
    for name, entries in co3d_sequences(read_documents(root / category, [FRAMES])[FRAMES]).items():
        try:
            captures[name] = find(root, co3d_shots(entries))
        except SampleError as error:
            captures[name] = Refusal(name, error.reason, str(error))
    return captures


def co3d_sequences(data: bytes) -> dict[str, list[Entry]]:
    """Return the entries of frames by their sequence, in the file's order, given the bytes of FRAMES.

    Raises SampleError `unreadable_cameras`.
    """
    sequences: dict[str, list[Entry]] = {}
    for entry in _annotations(FRAMES, data):
        if "frame_number" not in entry:
            raise SampleError("unreadable_cameras", f"entries of {FRAMES} must have a frame_number, got one without.")
        sequences.setdefault(str(entry["sequence_name"]), []).append(entry)
    return sequences


def co3d_qualities(data: bytes) -> dict[str, float]:
    """Return how good the viewpoints of each sequence are that has a score, given the bytes of SEQUENCES.

    Raises SampleError `unreadable_cameras`.
    """
    scores = {
        str(entry["sequence_name"]): entry.get("viewpoint_quality_score") for entry in _annotations(SEQUENCES, data)
    }
    return {name: float(score) for name, score in scores.items() if isinstance(score, int | float)}


def co3d_shots(entries: Sequence[Entry]) -> list[Shot]:
    """Return the shots of a sequence by frame number, paths from the folder that holds the categories."""
    ordered = sorted(entries, key=lambda entry: int(entry["frame_number"]))
    return make_shots(
        (str(entry["frame_number"]), (_path(entry, "image") or "",), partial(_shot, entry)) for entry in ordered
    )


def _path(entry: Entry, part: str) -> str | None:
    about = entry.get(part)
    return str(about["path"]) if isinstance(about, Mapping) and about.get("path") else None


def _shot(entry: Entry) -> Shot:
    view = entry.get("viewpoint")
    if not view:
        raise SampleError("unregistered", f"frame {entry['frame_number']} must have a viewpoint, and has none.")
    rotation, translation = matrix_of(view["R"], (3, 3)), matrix_of(view["T"], (3,))
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = rotation, -rotation @ translation
    lens = _lens(view, entry["image"]["size"])
    check_lens(lens)
    pose = check_pose(change_axes(matrix, "pytorch3d", "opencv"))
    scale = number((entry.get("depth") or {}).get("scale_adjustment", 1.0))
    pictures = (str(entry["image"]["path"]),)
    return Shot(str(entry["frame_number"]), pictures, pose, lens, _path(entry, "depth"), _path(entry, "mask"), scale)


def co3d_depth(bits: np.ndarray, scale: float) -> np.ndarray:
    """Return a depth map float32 (H,W), 0 unknown, of the 16-bit numbers of its PNG: the bits of half floats."""
    depth = bits.astype(np.uint16).view(np.float16).astype(np.float32) * np.float32(scale)
    return np.where(np.isfinite(depth), depth, np.float32(0))


def _annotations(name: str, data: bytes) -> list[dict[str, Any]]:
    try:
        entries = json.loads(gzip.decompress(data))
    except (OSError, EOFError, ValueError, zlib.error, RecursionError) as error:
        raise SampleError("unreadable_cameras", f"{name} must be gzipped JSON: {error}.") from error
    if not isinstance(entries, list) or not all(isinstance(e, dict) and "sequence_name" in e for e in entries):
        raise SampleError("unreadable_cameras", f"{name} must be a list of entries with a sequence_name, got another.")
    return entries


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
