"""How often a score of `agreement` falls when an annotation is exchanged for that of another picture.

    python -m benchmarks agreement

Every demo photo is annotated by the embedded models. Then one annotation of each picture is replaced by the same of
each other picture, laid on its size, and the scores that look at it are computed again: an exchange counts where the
picture had the score before and has it after. A score that does not fall in 95 % of them says too little to be kept.
"""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.table import Row, Table, version
from onegen.annotators.agreement import SCORES, Agreement
from onegen.config.registry import find
from onegen.demo.photos import write_photos
from onegen.pixels.boxes import CORNERS
from onegen.pixels.codec import decode_image
from onegen.pixels.sizes import fit
from onegen.sample import Annotation, Item

BAR = 0.95
SIDE = 512
COLUMNS = ("hed", "depth", "detection", "entities", "segmentation", "pose")
"""In the order in which one needs the other."""
EXCHANGED: Mapping[str, Sequence[str]] = {
    "masks_on_image": ("segmentation",),
    "depth_on_masks": ("depth", "segmentation"),
    "edges_on_image": ("hed",),
    "boxes_on_masks": ("entities", "segmentation"),
    "points_on_masks": ("pose", "segmentation"),
}
"""The annotations that each score looks at."""


@dataclass(frozen=True)
class Size:
    """Which photos are annotated, all of the demo's where none is named."""

    photos: tuple[str, ...] = ()


TINY = Size(("bus.jpg", "obama.jpg", "zidane.jpg", "astronaut.png"))


def run(size: Size = Size()) -> list[Table]:
    """Annotate photos, exchange their annotations, and return the table: a row a score."""
    items = annotated(size.photos)
    rows, notes = [], []
    for name in SCORES:
        own, exchanged, falls = exchange(items, name)
        values = [float(np.mean(falls))] if falls else []
        is_met = bool(falls) and values[0] >= BAR
        rows.append(Row(name, values, bar=f">= {BAR}", is_met=is_met, versions=version("onegen")))
        medians = f"median {np.median(own):.2f}, exchanged {np.median(exchanged):.2f}" if falls else "void"
        notes.append(f"{name}: {len(falls)} exchanges, {medians}")
    return [Table("agreement: exchanges after which a score is lower", "share", "", rows, notes)]


def annotated(names: Sequence[str] = ()) -> list[Item]:
    """Return demo photos, at most 512 pixels a side, with their embedded annotations."""
    with tempfile.TemporaryDirectory(prefix="onegen-bench-") as folder:
        write_photos(Path(folder))
        files = sorted(path for path in Path(folder).iterdir() if path.suffix in (".jpg", ".png"))
        items = [_item(path) for path in files if not names or path.name in names]
    for column in COLUMNS:
        annotator = find("annotators", column, {})()
        annotator.load()
        answers = [annotator.annotate([item])[0] for item in items]
        items = [replace(i, annotations={**i.annotations, column: a}) for i, a in zip(items, answers, strict=True)]
    return items


def exchange(items: Sequence[Item], name: str) -> tuple[list[float], list[float], list[bool]]:
    """Return a score of each picture, after each exchange of an annotation, and whether it fell in each."""
    own = [score(item, name) for item in items]
    exchanged: list[float] = []
    falls: list[bool] = []
    for item, before in zip(items, own, strict=True):
        for other in items:
            for column in EXCHANGED[name] if other is not item and before is not None else ():
                laid = lay(other.annotations[column], _shape(other), _shape(item))
                after = score(replace(item, annotations={**item.annotations, column: laid}), name)
                if after is not None:
                    exchanged.append(after)
                    falls.append(after < before)
    return [value for value in own if value is not None], exchanged, falls


def score(item: Item, name: str) -> float | None:
    """Return one score of an item."""
    (answer,) = Agreement().annotate([item])
    assert isinstance(answer, Annotation)
    value: float | None = answer.values[name]
    return value


def lay(annotation: Annotation, shape: tuple[int, int], onto: tuple[int, int]) -> Annotation:
    """Return an annotation of a picture of `shape` (H,W) stretched onto another."""
    across, down = onto[1] / shape[1], onto[0] / shape[0]
    parts = {
        name: cv2.resize(np.asarray(part), onto[::-1], interpolation=cv2.INTER_NEAREST)
        for name, part in annotation.parts.items()
    }
    return Annotation({name: _scaled(value, across, down) for name, value in annotation.values.items()}, parts)


def _scaled(value: Any, across: float, down: float) -> Any:
    if isinstance(value, list):
        return [_scaled(entry, across, down) for entry in value]
    if not isinstance(value, Mapping):
        return value
    record = dict(value)
    for corner in CORNERS:
        if corner in record:
            record[corner] *= across if corner.startswith("x") else down
    if "keypoints" in record:
        record["keypoints"] = (np.reshape(record["keypoints"], (-1, 3)) * [across, down, 1.0]).ravel().tolist()
    return record


def _item(path: Path) -> Item:
    pixels = decode_image(path.read_bytes())
    _, size = fit(pixels.shape, SIDE)
    return Item(path.stem.ljust(20, "0"), cv2.resize(pixels, size, interpolation=cv2.INTER_AREA))


def _shape(item: Item) -> tuple[int, int]:
    assert item.pixels is not None
    return item.pixels.shape[0], item.pixels.shape[1]
