"""Datasets put together column by column, for what the loader makes of them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from onegen.annotators.caption import PROVIDES as CAPTION
from onegen.annotators.entities import PROVIDES as ENTITIES
from onegen.annotators.pose import PROVIDES as POSE
from onegen.build.pack import PackJob
from onegen.executor.contract import Finished, Task
from onegen.pixels.codec import encode_part
from onegen.sample import Kind
from onegen.shards.dataset import CARD, Dataset
from onegen.shards.index import IMAGE_FIELDS
from onegen.shards.views import OTHERS, stored_fields
from onegen.storage import open_store
from onegen.storage.store import Store
from tests.fabricated import TINY_CARD, Line, write_column
from tests.pictures import encode, jpeg, smooth

WIDTH, HEIGHT = 96, 64
PER_SHARD = 8
SIZES = [(96, 64), (64, 96), (80, 80), (128, 40)]
"""(width, height) of the pictures, by turns."""
COLUMNS = ("image", "caption", "depth", "hed", "pose", "entities", "segmentation")
SCOPE: dict[str, Any] = {
    "image": IMAGE_FIELDS,
    "caption": CAPTION.fields,
    "depth": {"minimum": pa.float64()},
    "hed": {},
    "pose": POSE.fields,
    "entities": ENTITIES.fields,
    "segmentation": {"coverage": pa.float64()},
    "select": {"duplicate_of": pa.string()},
}


def key_of(number: int) -> str:
    return f"{(number + 1) * 0x9E3779B97F4A7C15 % 2**80:020x}"


def size_of(number: int) -> tuple[int, int]:
    return SIZES[number % len(SIZES)]


def image_line(number: int, **values: Any) -> Line:
    width, height = size_of(number)
    facts = {"uri": f"{number}.jpg", "width": width, "height": height, "phash": number, **values}
    return Line(key_of(number), values=facts, parts={"jpg": jpeg(number, width, height)})


def ramp(number: int) -> np.ndarray:
    """Return depth that grows from left to right."""
    width, height = size_of(number)
    return np.tile(np.linspace(0, 65535, width).astype(np.uint16), (height, 1))


def halves(number: int) -> np.ndarray:
    """Return masks: entity 1 on the left third, 2 on the right third, none between."""
    width, height = size_of(number)
    mask = np.zeros((height, width), np.uint8)
    mask[:, : width // 3], mask[:, -(width // 3) :] = 1, 2
    return mask


def entities(number: int) -> list[dict[str, Any]]:
    width, height = size_of(number)
    third = width // 3
    boxes = [("cat", "red", 0, third), ("dog", "blue", width - third, width)]
    return [
        {"label": label, "colour": colour, "score": 0.9, "x0": x0, "y0": 0, "x1": x1, "y1": height}
        for label, colour, x0, x1 in boxes
    ]


def people(number: int) -> list[dict[str, Any]]:
    width, height = size_of(number)
    points = [(width / 2, height * (index + 1) / 18, 1.0) for index in range(17)]
    flat = [float(value) for point in points for value in point]
    return [{"score": 0.9, "keypoints": flat, "half_body": False, "low_confidence": False, "x0": 0.0, "y0": 0.0,
             "x1": float(width), "y1": float(height)}]  # fmt: skip


def write_street(
    root: str | Path, shards: int = 3, name: str = "street", columns: Sequence[str] = COLUMNS, first: int = 0
) -> Store:
    """Write a dataset of single pictures with the chosen columns; every fourth has no depth, one is a duplicate."""
    store = open_store(str(root))
    store.write(CARD, TINY_CARD.model_copy(update={"name": name, "digest": "d"}).to_json())
    for shard in range(shards):
        numbers = [first + shard * PER_SHARD + place for place in range(PER_SHARD)]
        lines = {
            "image": [image_line(n, caption=f"original {n}") for n in numbers],
            "select": [Line(key_of(n)) for n in numbers],
            "caption": [
                Line(key_of(n), values={"caption": f"picture {n}.", "captioner": "test", "num_words": 2})
                for n in numbers
            ],
            "depth": [
                Line(key_of(n), "failed", "crash")
                if n % 4 == 3
                else Line(key_of(n), values={"minimum": 0.0}, parts={"depth.png": encode_part(ramp(n), "gray16")})
                for n in numbers
            ],
            "hed": [
                Line(key_of(n), parts={"hed.png": encode_part((ramp(n) // 257).astype(np.uint8), "gray8")})
                for n in numbers
            ],
            "pose": [
                Line(key_of(n), values={"people": people(n) if n % 2 else [], "num_people": n % 2}) for n in numbers
            ],
            "entities": [Line(key_of(n), values={"entities": entities(n), "num_entities": 2}) for n in numbers],
            "segmentation": [
                Line(key_of(n), values={"coverage": 0.6}, parts={"masks.png": encode_part(halves(n), "index")})
                for n in numbers
            ],
        }
        for column in ("select", *columns):
            write_column(store, column, shard, lines[column], SCOPE[column])
    return store


def pack_street(store: Store, columns: Sequence[str] = COLUMNS) -> None:
    """Pack every shard."""
    dataset = Dataset(store)
    for shard in dataset.shards("image"):
        job = PackJob(store, "image", tuple(columns), ("image",), {name: SCOPE[name] for name in (*columns, "select")})
        *_, last = job.perform(Task(shard, ()))
        assert isinstance(last, Finished)
        (manifest,) = last.result.manifests
        dataset.commit(manifest, last.result.pending)


def write_sets(root: str | Path, kind: Kind, counts: Sequence[int], name: str = "", **values: Any) -> Store:
    """Write a dataset of samples with several pictures: `counts` says how many each has."""
    store = open_store(str(root))
    store.write(CARD, TINY_CARD.model_copy(update={"name": name or kind, "kind": kind, "digest": "d"}).to_json())
    fields = {
        **IMAGE_FIELDS,
        "instruction": pa.string(),
        "subject": pa.string(),
        "camera": pa.struct([("camera_to_world", pa.list_(pa.float64())), ("focal", pa.list_(pa.float64()))]),
    }
    pictured = ("width", "height", "caption", "camera")
    fields[OTHERS] = pa.list_(pa.struct([(field, fields[field]) for field in pictured]))
    assert stored_fields
    lines = []
    for number, count in enumerate(counts):
        images = [_picture(number, image, kind) for image in range(count)]
        facts = {**images[0], OTHERS: images[1:], **{f: v(number) if callable(v) else v for f, v in values.items()}}
        parts = {
            ("jpg" if image == 0 else f"img{image}.jpg"): encode(
                np.full((64, 80, 3), (40 * image, 100, 200), np.uint8) + smooth(number, 80, 64) // 8, "JPEG"
            )
            for image in range(count)
        }
        lines.append(Line(key_of(1000 + number), values=facts, parts=parts))
    write_column(store, "image", 0, lines, fields, kind)
    write_column(store, "select", 0, [Line(line.key) for line in lines], SCOPE["select"], kind)
    return store


def _picture(number: int, image: int, kind: Kind) -> dict[str, Any]:
    camera = None
    if kind == "scene":
        angle = 0.3 * image
        turn = np.eye(4)
        turn[:3, :3] = [[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]]
        turn[:3, 3] = [-3 * np.sin(angle), 0, -3 * np.cos(angle)]
        camera = {"camera_to_world": turn.ravel().tolist(), "focal": [1.2, 1.2]}
    return {"width": 80, "height": 64, "caption": f"sample {number} image {image}", "camera": camera}
