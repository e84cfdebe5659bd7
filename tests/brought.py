"""Photos with annotations that lie on them: turned and large ones too, written as each source wants them.

Each shows a red rectangle on grey; its depth, edges, masks, boxes and keypoints say where, in pixels of the original.
"""

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from tests.exports import tar_bytes, write_rows

COUNT = 12
ORIENTATIONS = (1, 6, 1, 3, 8, 5)
"""EXIF numbers of the photos, by turns; every third is larger than MAX_SIDE."""
MAX_SIDE = 64
ENTRIES = {
    "depth": "depth.png",
    "masks": {"use": "segmentation", "from": "seg.png"},
    "boxes": "json.objects",
    "keypoints": {"from": "json.people", "visible": 2},
    "caption_human": "txt",
}
"""The entries of `bring` for folders and tars."""
COLUMNS = ("depth", "masks", "detection", "pose", "caption_human")
"""What they make."""


@dataclass(frozen=True)
class Scene:
    """One photo and what is known of it; `box` is x0, y0, x1, y1 of the rectangle, on the original as it lies."""

    number: int

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the original."""
        return (80, 120) if self.number % 3 == 2 else (40, 60)

    @property
    def orientation(self) -> int:
        return ORIENTATIONS[self.number % len(ORIENTATIONS)]

    @property
    def box(self) -> tuple[int, int, int, int]:
        height, width = self.size
        return width // 10, height // 5, width // 2, height // 2 + 4

    def filled(self, value: float, ground: float, kind: Any) -> np.ndarray:
        """Return a map (H,W) of the original with the rectangle on its ground."""
        x0, y0, x1, y1 = self.box
        pixels = np.full(self.size, ground, kind)
        pixels[y0:y1, x0:x1] = value
        return pixels

    @property
    def photo(self) -> bytes:
        ground = 90 + self.number
        pixels = np.stack([self.filled(value, ground, np.uint8) for value in (250, 10, 10)], axis=-1)
        sink = io.BytesIO()
        if self.orientation == 1:
            Image.fromarray(pixels).save(sink, "PNG")
            return sink.getvalue()
        exif = Image.Exif()
        exif[0x0112] = self.orientation
        Image.fromarray(pixels).save(sink, "JPEG", quality=97, subsampling=0, exif=exif)
        return sink.getvalue()

    @property
    def suffix(self) -> str:
        return "png" if self.orientation == 1 else "jpg"

    @property
    def depth(self) -> bytes:
        return png_of(self.filled(60_000, 1_000, np.uint16))

    @property
    def masks(self) -> bytes:
        sink = io.BytesIO()
        image = Image.fromarray(self.filled(1, 0, np.uint8), mode="P")
        image.putpalette(bytes(range(256)) * 3)
        image.save(sink, "PNG")
        return sink.getvalue()

    @property
    def objects(self) -> list[dict[str, Any]]:
        x0, y0, x1, y1 = map(float, self.box)
        return [{"label": "person", "score": 0.75, "x0": x0, "y0": y0, "x1": x1, "y1": y1, "id": 7}]

    @property
    def people(self) -> list[dict[str, Any]]:
        x0, y0, x1, y1 = map(float, self.box)
        points = [[x0, y0, 2], [x1, y1, 1]] + [[0.0, 0.0, 0]] * 15
        return [{**self.objects[0], "keypoints": points}]

    @property
    def about(self) -> dict[str, Any]:
        return {"objects": self.objects, "people": self.people, "licence": "CC0-1.0"}

    @property
    def words(self) -> str:
        return f"a red  [[thing]]\nnumber {self.number}"

    @property
    def name(self) -> str:
        return f"{self.number:03d}"


SCENES = tuple(Scene(number) for number in range(COUNT))


def png_of(pixels: np.ndarray) -> bytes:
    """Return a map as PNG."""
    ok, data = cv2.imencode(".png", pixels)
    assert ok
    return bytes(data.tobytes())


def members_of(scene: Scene) -> list[tuple[str, bytes]]:
    """Return the files of a scene by name."""
    return [
        (f"{scene.name}.{scene.suffix}", scene.photo),
        (f"{scene.name}.depth.png", scene.depth),
        (f"{scene.name}.seg.png", scene.masks),
        (f"{scene.name}.json", json.dumps(scene.about).encode()),
        (f"{scene.name}.txt", scene.words.encode()),
    ]


def write_folder(root: Path, scenes: Sequence[Scene] = SCENES) -> dict[str, Any]:
    """Write scenes as files and return the source."""
    root.mkdir(parents=True)
    for scene in scenes:
        for name, data in members_of(scene):
            (root / name).write_bytes(data)
    return {"folder": str(root), "bring": ENTRIES}


def write_tars(root: Path, scenes: Sequence[Scene] = SCENES) -> dict[str, Any]:
    """Write scenes as two tars and return the source."""
    root.mkdir(parents=True)
    for number in range(2):
        half = scenes[number * len(scenes) // 2 : (number + 1) * len(scenes) // 2]
        data = tar_bytes([member for scene in half for member in members_of(scene)])
        (root / f"{number}.tar").write_bytes(data)
    return {"webdataset": str(root), "keep": [], "bring": ENTRIES}


def write_table(root: Path, scenes: Sequence[Scene] = SCENES) -> dict[str, Any]:
    """Write scenes as a table, maps as bytes, as HF's structs and as paths, and return the source."""
    root.mkdir(parents=True)
    rows = []
    for scene in scenes:
        (root / f"{scene.name}.seg.png").write_bytes(scene.masks)
        about = {
            "objects": [{name: thing[name] for name in thing if name != "id"} for thing in scene.objects],
            "people": json.dumps(scene.people),
        }
        depth = {"bytes": scene.depth, "path": None}
        rows.append({
            "image": scene.photo, "depth": depth, "seg": f"{scene.name}.seg.png", "about": about,
            "captions": ["", scene.words], "licence": "CC0-1.0",
        })  # fmt: skip
    write_rows(root / "scenes.parquet", rows)
    entries = {
        "depth": "depth",
        "masks": {"use": "segmentation", "from": "seg"},
        "boxes": "about.objects",
        "keypoints": {"from": "about.people", "visible": 2},
        "caption_human": "captions",
    }
    return {"parquet": str(root / "scenes.parquet"), "licence": "licence", "bring": entries}


WRITE = {"folder": write_folder, "tars": write_tars, "table": write_table}
