"""Our own: has a small model learnt anything? Generated scenes with exact truth, beside what needs no model.

    onegen eval solids --model run/model --data demo/solids_unseen -O train=demo/solids_dataset -O size=32

Each scene is drawn three ways: its depth from its picture, without a caption; its picture from its depth and caption;
and the same from another scene's depth. Beside the scores stand the mean depth of the scenes trained on, those of the
wrong condition, and chance. onegen.demo.scenes makes the scenes, `pipelines/solids.yaml` the datasets.

    FOLDER/depth/KEY.npy   FOLDER/image/KEY.png   FOLDER/other/KEY.png
"""

import contextlib
import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
import pyarrow as pa
from PIL import Image
from pydantic import Field

from onegen.annotators.depth import PROVIDES as DEPTH
from onegen.annotators.segmentation import PROVIDES as MASKS
from onegen.audit.readable import readable
from onegen.demo.scenes import PAINTS
from onegen.errors import ConfigError
from onegen.eval.depth import read_map
from onegen.eval.metrics.depth import score_depth
from onegen.eval.painter import Painter
from onegen.eval.pictures import read_pixels
from onegen.eval.protocol import Metric, Output, Protocol, Row, Unit, mean, values_of, version_files
from onegen.eval.sampling import Sampling
from onegen.pixels.closeness import mse, psnr
from onegen.pixels.codec import decode_image
from onegen.sample import IMAGE
from onegen.shards.column import ColumnReader
from onegen.shards.dataset import Dataset
from onegen.shards.takedowns import read_takedowns, taken_positions
from onegen.storage import open_store
from onegen.tasks.conditions import grey_map

CLIP = (1.0, 20.0)
"""Depths, in the scenes' unit, between which depth is compared: beyond, the floor runs into the horizon."""
LARGE = 0.04
"""Share of the picture from which an object is large."""
_TASK = "depth2image"
_NAMES, _COLOURS = tuple(PAINTS), np.array([PAINTS[name] for name in PAINTS], float)


class Solids(Protocol):
    """Depth errors, PSNR, and whether large objects have the colour that the caption says where the depth has them."""

    train: Path = Field(description="dataset that the model was trained on: its mean depth is the score to beat")
    size: int = Field(32, ge=16, description="pixels a side, as trained")
    samples: int = Field(200, ge=2, description="the first so many scenes")

    name: ClassVar[str] = "solids"
    title: ClassVar[str] = "Generated scenes (our own)"
    sampling: ClassVar[Sampling] = Sampling(steps=12, guidance=1.0)
    fields: ClassVar[Mapping[str, pa.DataType]] = {
        **{
            f"{field}{suffix}": pa.float64()
            for field in ("rmse", "abs_rel", "delta1")
            for suffix in ("", "_mean", "_other")
        },
        **{f"{field}{suffix}": pa.float64() for field in ("psnr", "coloured") for suffix in ("", "_other")},
        "large": pa.int64(),
        "picture": pa.string(),
    }
    ranked_by: ClassVar[str] = "psnr"

    @property
    def variant(self) -> str:
        """The size of the pictures."""
        return str(self.size)

    def units(self) -> Sequence[Unit]:
        """Return the scenes."""
        return [Unit(scene.key, _files(scene.key)) for scene in self.scenes()]

    def data_files(self) -> Iterable[Path]:
        """Return the files of both datasets' versions."""
        return [*version_files(self.require_data()), *version_files(self.train)]

    def draw(self, unit: Unit, painter: Painter) -> Iterator[tuple[str, Output]]:
        """Yield the scene's depth, its picture, and its picture from another's depth with the same noise."""
        scene, other = self._with_other(unit)
        depth, image, wrong = unit.outputs
        size = self.size, self.size
        drawn = painter.array(f"{unit.name}/depth", _TASK, "", [scene.pixels, None], size)
        yield depth, drawn.mean(axis=2).astype(np.float32)
        for name, near in ((image, scene.near), (wrong, other.near)):
            views = [None, _grey(near)]
            yield name, painter.images(f"{unit.name}/image", _TASK, scene.caption, views, 1, size, crop=False)[0]

    def find(self, folder: Path, output: str) -> Path | None:
        """Return a drawn file."""
        path = folder / output
        return path if path.is_file() else None

    def score(self, unit: Unit, folder: Path) -> list[Row]:
        """Return the errors of one scene."""
        scene, other = self._with_other(unit)
        depth, image, wrong = (folder / name for name in unit.outputs)
        maps = {"": read_map(depth), "_mean": mean_near(self.train, self.size)}
        beside = self.find(folder, _files(other.key)[0])
        if beside is not None:
            maps["_other"] = read_map(beside)
        row: Row = {"item": scene.caption, "picture": unit.outputs[1], "large": len(scene.large())}
        for suffix, map_ in maps.items():
            scored = score_depth(map_, *scene.depth(), CLIP, "disparity")
            row[f"rmse{suffix}"] = mse(map_, scene.near) ** 0.5
            row[f"abs_rel{suffix}"], row[f"delta1{suffix}"] = scored.abs_rel, scored.delta1
        for suffix, path in (("", image), ("_other", wrong)):
            pixels = read_pixels(path, scene.near.shape)
            row[f"psnr{suffix}"] = psnr(mse(pixels, scene.pixels), 255.0)
            row[f"coloured{suffix}"] = float(sum(scene.is_coloured(pixels, number) for number in scene.large()))
        return [row]

    def summarise(self, rows: Sequence[Row]) -> list[Metric]:
        """Return the means over scenes; of colours, over large objects."""
        beside = {"": "", "_mean": "of the mean map of the scenes trained on", "_other": "with another's condition"}
        metrics = []
        for field, is_higher in (("rmse", False), ("abs_rel", False), ("delta1", True), ("psnr", True)):
            for suffix, note in beside.items():
                values = values_of(rows, f"{field}{suffix}")
                if values:
                    metrics.append(_metric(f"{field}{suffix}", mean(values), len(values), is_higher, note))
        large = sum(int(row["large"]) for row in rows)
        for suffix in ("", "_other"):
            right = sum(values_of(rows, f"coloured{suffix}"))
            share = right / large if large else None
            metrics.append(_metric(f"right_colour{suffix}", share, large, True, beside[suffix] or "of large objects"))
        won = [float(row["rmse"] < row["rmse_mean"]) for row in rows]
        metrics.append(_metric("rmse_won", mean(won), len(won), True, "scenes nearer than the mean map"))
        return metrics

    def illustrate(self, row: Row, folder: Path) -> list[tuple[str, Image.Image]]:
        """Return what was given and what was drawn, both ways."""
        scene = self.scene(row["unit"])
        depth, image, wrong = (folder / name for name in _files(scene.key))
        return [
            ("picture", Image.fromarray(scene.pixels)),
            ("its depth, drawn", Image.fromarray(_grey(read_map(depth)))),
            ("its depth", Image.fromarray(_grey(scene.near))),
            ("its picture, drawn", Image.open(image).convert("RGB")),
            ("from another's depth", Image.open(wrong).convert("RGB")),
        ]

    def scenes(self) -> "tuple[Scene, ...]":
        """Return the scenes that are drawn and scored; raises ConfigError for fewer than 2."""
        found = read_scenes(self.require_data(), self.size)[: self.samples]
        if len(found) < 2:
            raise ConfigError(f"{self.data} must have 2 scenes or more with depth and masks, got {len(found)}.")
        return found

    def scene(self, key: str) -> "Scene":
        """Return the scene of a key."""
        (found,) = (scene for scene in self.scenes() if scene.key == key)
        return found

    def _with_other(self, unit: Unit) -> "tuple[Scene, Scene]":
        scenes = self.scenes()
        (place,) = (place for place, scene in enumerate(scenes) if scene.key == unit.name)
        return scenes[place], scenes[(place + 1) % len(scenes)]


@dataclass(frozen=True, eq=False)
class Scene:
    """A scene at a size: RGB uint8 (H,W,3), caption, how near each pixel is (H,W) in [0, 1], inverse depth (H,W), the
    objects' masks uint8 (H,W), counted from 1, and their colours by name.
    """

    key: str
    caption: str
    pixels: np.ndarray
    near: np.ndarray
    inverse: np.ndarray
    masks: np.ndarray
    colours: tuple[str, ...]

    def depth(self) -> tuple[np.ndarray, np.ndarray]:
        """Return depth (H,W) in the scene's unit, and which pixels (H,W) are compared."""
        depth = 1.0 / np.maximum(self.inverse, 1e-6)
        return depth, (depth >= CLIP[0]) & (depth <= CLIP[1])

    def large(self) -> list[int]:
        """Return the numbers of the objects that are large."""
        return [number for number in range(1, len(self.colours) + 1) if (self.masks == number).mean() >= LARGE]

    def is_coloured(self, pixels: np.ndarray, number: int) -> bool:
        """Say whether the mean of a picture over an object is nearest to its colour, brightness left aside."""
        mean_colour = pixels[self.masks == number].mean(0)
        directions = _COLOURS / np.linalg.norm(_COLOURS, axis=1, keepdims=True)
        nearest = np.argmax(directions @ (mean_colour / max(1e-6, float(np.linalg.norm(mean_colour)))))
        return _NAMES[int(nearest)] == self.colours[number - 1]


@functools.lru_cache(maxsize=2)
def read_scenes(root: Path, size: int) -> tuple[Scene, ...]:
    """Return all scenes of a dataset at a size but those taken down; raises ConfigError where it lacks a column."""
    dataset = Dataset(open_store(root))
    lacking = [column for column in ("depth", "segmentation", "entities") if column not in dataset.columns()]
    if lacking:
        raise ConfigError(f"{root} must have the column {lacking[0]!r}. Build it by the recipe solids.")
    scenes: list[Scene] = []
    takedowns = read_takedowns(dataset.store)
    for manifest in dataset.manifests(IMAGE):
        taken = taken_positions(dataset, takedowns, manifest)
        with readable(f"shard {manifest.shard:06d} of {root}"), contextlib.ExitStack() as stack:
            columns = {
                name: stack.enter_context(
                    contextlib.closing(ColumnReader(dataset, dataset.require_manifest(name, manifest.shard)))
                )
                for name in (IMAGE, "depth", "segmentation", "entities")
            }
            scenes += [
                _scene(columns, row.position, size)
                for row in columns[IMAGE].rows
                if row.key
                and row.position not in taken
                and all(reader.rows[row.position].status == "ok" for reader in columns.values())
            ]
    return tuple(scenes)


def _scene(columns: Mapping[str, ColumnReader], place: int, size: int) -> Scene:
    image, objects = (columns[name].rows[place] for name in (IMAGE, "entities"))
    (data,) = columns[IMAGE].parts(image).values()
    inverse, values = _inverse(columns["depth"], place, size)
    (masks,) = columns["segmentation"].annotation(columns["segmentation"].rows[place], 0, MASKS).parts.values()
    spread = max(1e-9, float(values["maximum"]) - float(values["minimum"]))
    return Scene(
        key=str(image.key),
        caption=str(image.values.get("caption") or ""),
        pixels=cv2.resize(decode_image(data), (size, size), interpolation=cv2.INTER_AREA),
        near=(inverse - float(values["minimum"])) / spread,
        inverse=inverse,
        masks=cv2.resize(np.asarray(masks), (size, size), interpolation=cv2.INTER_NEAREST_EXACT),
        colours=tuple(str(thing["label"]).split()[0] for thing in objects.values.get("entities") or ()),
    )


def _inverse(reader: ColumnReader, place: int, size: int) -> tuple[np.ndarray, Mapping[str, Any]]:
    """Return inverse depth float64 (size,size) of a row, and the values beside it."""
    said = reader.annotation(reader.rows[place], 0, DEPTH)
    (part,) = said.parts.values()
    low, high = float(said.values["minimum"]), float(said.values["maximum"])
    small = cv2.resize(np.asarray(part, np.float64), (size, size), interpolation=cv2.INTER_AREA)
    return low + small * (high - low) / 65535.0, said.values


@functools.lru_cache(maxsize=2)
def mean_near(root: Path, size: int) -> np.ndarray:
    """Return the mean over a dataset of how near each pixel is, float64 (size,size) in [0, 1]."""
    dataset = Dataset(open_store(root))
    dataset.require_card()
    total, count = np.zeros((size, size)), 0
    takedowns = read_takedowns(dataset.store)
    for manifest in dataset.manifests("depth"):
        taken = taken_positions(dataset, takedowns, dataset.require_manifest(IMAGE, manifest.shard))
        with (
            readable(f"shard {manifest.shard:06d} of {root}"),
            contextlib.closing(ColumnReader(dataset, manifest)) as reader,
        ):
            for row in reader.rows:
                if row.status == "ok" and row.position not in taken:
                    inverse, values = _inverse(reader, row.position, size)
                    low, high = float(values["minimum"]), float(values["maximum"])
                    total += (inverse - low) / max(1e-9, high - low)
                    count += 1
    if not count:
        raise ConfigError(f"train must be a dataset with depth, and {root} has none.")
    return total / count


def _grey(near: np.ndarray) -> np.ndarray:
    """Return how near pixels are as the grey picture uint8 (H,W,3) that a model is shown."""
    return grey_map(np.rint(np.clip(near, 0, 1) * 65535).astype(np.uint16))


def _files(key: str) -> tuple[str, str, str]:
    return f"depth/{key}.npy", f"image/{key}.png", f"other/{key}.png"


def _metric(name: str, value: float | None, count: int, is_higher: bool, note: str) -> Metric:
    return Metric(name=name, value=value, count=count, exact=False, higher_is_better=is_higher, note=note)
