"""COCO JSON, a file for each column of boxes, people or captions: what `pycocotools` and detection toolkits read.

`images/` has the stored images; `annotations/COLUMN.json` the records of a column. Boxes of column `entities` carry the
masks of `segmentation` as runs. Coordinates are pixels of the stored images. https://cocodataset.org/#format-data
"""

import contextlib
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image

from onegen.annotators.pose import COCO_POINTS
from onegen.audit.export.formats import Format, Handed, Wishes
from onegen.audit.export.samples import Picture, Samples
from onegen.audit.readable import readable
from onegen.errors import ConfigError
from onegen.pixels.boxes import box_of
from onegen.pixels.outlines import mask_runs

THINGS = ("objects", "entities")
"""Fields that hold records with a label and a box."""
PEOPLE, CAPTION, MASKS = "people", "caption", "masks.png"
_LINKS = (
    *((16, 14), (14, 12), (17, 15), (15, 13), (12, 13), (6, 12), (7, 13), (6, 7), (6, 8), (7, 9), (8, 10), (9, 11)),
    *((2, 3), (1, 2), (1, 3), (2, 4), (3, 5), (4, 6), (5, 7)),
)
_SEEN, _GUESSED = 0.5, 0.0
"""Above these visibilities a keypoint is seen (2), or labelled and not seen (1)."""


@dataclass
class _Names:
    """Numbers of names in the order in which they come, from 1."""

    numbers: dict[str, int] = field(default_factory=dict)

    def number(self, name: str) -> int:
        return self.numbers.setdefault(name, len(self.numbers) + 1)


class _File:
    """One JSON file, written as its records come: annotations first, the rest when all is known."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self.count = 0
        file.write('{"annotations": [')

    def add(self, record: Mapping[str, Any]) -> None:
        self.count += 1
        told = {"id": self.count, **record}
        self._file.write(("\n" if self.count == 1 else ",\n") + json.dumps(told, ensure_ascii=False, allow_nan=False))

    def close(self, images: Path, rest: Mapping[str, Any]) -> None:
        self._file.write('\n],\n"images": [')
        with open(images, encoding="utf-8") as lines:
            for number, line in enumerate(lines):
                self._file.write(("\n" if not number else ",\n") + line.rstrip("\n"))
        self._file.write("\n]")
        for name, value in rest.items():
            self._file.write(f",\n{json.dumps(name)}: {json.dumps(value, ensure_ascii=False)}")
        self._file.write("}\n")


def write(samples: Samples, out: Path, wishes: Wishes) -> Handed:
    """Write images and annotations; raises ConfigError for a dataset without boxes, people and captions."""
    kinds = _kinds(samples)
    if not kinds:
        raise ConfigError(f"COCO needs a column of boxes, people or captions, and {samples.card.name} has none.")
    handed, licences, categories = Handed(), _Names(), _Names()
    listed = out / ".images"
    for name in ("images", "annotations"):
        (out / name).mkdir()
    with contextlib.ExitStack() as stack:
        lines = stack.enter_context(open(listed, "w", encoding="utf-8"))
        files = {
            column: _File(stack.enter_context(open(out / "annotations" / f"{column}.json", "w", encoding="utf-8")))
            for column in kinds
        }
        categories.number("person")
        for sample in samples:
            handed.samples += 1
            for picture in sample.pictures:
                handed.images += 1
                (out / "images" / picture.name).write_bytes(picture.image())
                lines.write(json.dumps(_image(picture, handed.images, licences), ensure_ascii=False) + "\n")
                for column, file in files.items():
                    for record in _records(samples, picture, column, kinds[column], categories):
                        file.add({"image_id": handed.images, **record})
        lines.flush()
        for column, file in files.items():
            file.close(listed, _rest(samples, column, kinds[column], licences, categories))
            handed.counts[column] = file.count
    listed.unlink()
    return handed


def _kinds(samples: Samples) -> dict[str, str]:
    """Return the columns that COCO has a place for, each with the field that it holds them in."""
    kinds: dict[str, str] = {}
    for column in samples.columns:
        fields = samples.fields(column)
        for name in (*THINGS, PEOPLE, CAPTION):
            if name in fields and (name != CAPTION or column.startswith(CAPTION)):
                kinds[column] = name
    return kinds


def _image(picture: Picture, number: int, licences: _Names) -> dict[str, Any]:
    facts = picture.facts
    told = {"id": number, "file_name": picture.name, "width": facts["width"], "height": facts["height"]}
    told |= {"license": licences.number(facts.get("licence") or "unknown"), "key": picture.key}
    extra = {
        "attribution": facts.get("attribution"),
        "source": facts.get("uri"),
        "original_caption": facts.get("caption"),
    }
    return told | {name: value for name, value in extra.items() if value is not None}


def _records(
    samples: Samples, picture: Picture, column: str, kind: str, categories: _Names
) -> Iterator[dict[str, Any]]:
    """Yield the annotations of an image in a column."""
    said = picture.values(column).get(kind)
    if kind == CAPTION:
        if said:
            yield {"caption": said}
        return
    masks = _masks(samples, picture, column) if kind == "entities" else None
    for index, record in enumerate(said or (), 1):
        x0, y0, x1, y1 = box_of(record)
        told: dict[str, Any] = {"bbox": [x0, y0, x1 - x0, y1 - y0], "area": (x1 - x0) * (y1 - y0), "iscrowd": 0}
        if record.get("score") is not None:
            told["score"] = record["score"]
        if kind == PEOPLE:
            told |= {"category_id": categories.number("person"), **_points(record)}
        else:
            told["category_id"] = categories.number(record["label"])
        if masks is not None:
            mask = masks == index
            told |= {"segmentation": mask_runs(mask), "area": int(mask.sum())}
        yield told


def _masks(samples: Samples, picture: Picture, column: str) -> np.ndarray | None:
    """Return the map of a column's entities, uint8 (H,W): of the column made from it, or the only one that a source
    brought beside the only entities. None where there is none."""
    having = [other for other in picture.rows if MASKS in picture.parts(other)]
    made = [other for other in having if column in picture.rows[other][0].manifest.inputs]
    brought = having if len(having) == 1 and not _made_from_entities(samples, picture, having[0]) else []
    for other in made or brought:
        with readable(f"{other} of {picture.key}"), Image.open(io.BytesIO(picture.part(other, MASKS))) as image:
            return np.asarray(image)
    return None


def _made_from_entities(samples: Samples, picture: Picture, masks: str) -> bool:
    """Say whether masks are of the entities of some column, or there are entities of several that they may be of."""
    entities = [name for name in samples.columns if "entities" in samples.fields(name)]
    inputs = picture.rows[masks][0].manifest.inputs
    return len(entities) > 1 or any(name in inputs for name in entities)


def _points(person: Mapping[str, Any]) -> dict[str, Any]:
    """Return a person's keypoints as COCO has them: x, y, and 2 for seen, 1 for labelled, 0 for neither."""
    points: list[float] = []
    seen = 0
    for x, y, visibility in zip(*(person["keypoints"][axis::3] for axis in range(3)), strict=True):
        level = 2 if visibility > _SEEN else 1 if visibility > _GUESSED else 0
        points += [x, y, level] if level else [0, 0, 0]
        seen += level > 0
    visibilities = person["keypoints"][2::3]
    return {"keypoints": points, "num_keypoints": seen, "visibilities": visibilities}


def _rest(samples: Samples, column: str, kind: str, licences: _Names, categories: _Names) -> dict[str, Any]:
    """Return what a file says beside images and annotations."""
    producer = samples.producers[column]
    info = {
        "description": f"{samples.card.name}, column {column}",
        "version": samples.version or "",
        "made_by": producer.label(),
        "models": producer.weights,
        "handed_on": samples.told(),
    }
    rest: dict[str, Any] = {
        "info": info,
        "licenses": [{"id": number, "name": name, "url": ""} for name, number in licences.numbers.items()],
    }
    if kind != CAPTION:
        points = {"keypoints": list(COCO_POINTS), "skeleton": [list(link) for link in _LINKS]} if kind == PEOPLE else {}
        named = [("person", 1)] if kind == PEOPLE else categories.numbers.items()
        rest["categories"] = [{"id": number, "name": name, "supercategory": "", **points} for name, number in named]
    return rest


FORMAT = Format(
    "coco",
    "images, and COCO JSON of boxes, masks as RLE, keypoints and captions, a file a column",
    write,
    'pycocotools.coco.COCO("{out}/annotations/COLUMN.json")',
)
