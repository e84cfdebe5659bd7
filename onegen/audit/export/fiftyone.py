"""FiftyOne's dataset in JSON: images, boxes, masks, maps, captions and values, to look at and to curate in its app.

`metadata.json` without a version is the form that FiftyOne imports from anywhere, whatever its release.
"""

import json
from pathlib import Path
from typing import Any

from onegen.annotators.pose import COCO_POINTS
from onegen.audit.export.formats import Format, Handed, Wishes, split_of
from onegen.audit.export.parquet import field_column, part_column
from onegen.audit.export.samples import Picture, Samples
from onegen.pixels.boxes import box_of

_BOXED = ("objects", "entities", "faces")
_MASKS = "masks.png"


def write(samples: Samples, out: Path, wishes: Wishes) -> Handed:
    """Write the dataset, a sample an image."""
    handed = Handed()
    (out / "data").mkdir()
    about = {
        "name": samples.card.name,
        "media_type": "image",
        "info": {"version": samples.card.digest, "producers": {c: p.label() for c, p in samples.producers.items()}},
        "default_skeleton": {"labels": list(COCO_POINTS), "edges": []},
    }
    (out / "metadata.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    with open(out / "samples.json", "w", encoding="utf-8") as file:
        file.write('{"samples": [')
        for sample in samples:
            handed.samples += 1
            for picture in sample.pictures:
                (out / "data" / picture.name).write_bytes(picture.image())
                told = _sample(picture, out, wishes)
                file.write((",\n" if handed.images else "\n") + json.dumps(told, ensure_ascii=False, allow_nan=False))
                handed.images += 1
        file.write("\n]}\n")
    return handed


def _sample(picture: Picture, out: Path, wishes: Wishes) -> dict[str, Any]:
    """Return an image as FiftyOne holds it; its maps are written beside it."""
    facts = picture.facts
    told: dict[str, Any] = {
        "filepath": f"data/{picture.name}",
        "tags": [split_of(picture.key, wishes.validation, facts)],
        "metadata": None,
        "key": picture.key,
        "licence": facts.get("licence"),
        "attribution": facts.get("attribution"),
        "uri": facts.get("uri"),
        "original_caption": facts.get("caption"),
        "instruction": facts.get("instruction"),
        "subject": facts.get("subject"),
    }
    for column in picture.columns:
        for part in picture.parts(column):
            if part.endswith(".png"):
                told[part_column(column, part)] = _map(picture, column, part, out)
        for name, value in picture.values(column).items():
            told[field_column(column, name)] = _label(name, value, picture)
    return {name: value for name, value in told.items() if value is not None or name == "metadata"}


def _map(picture: Picture, column: str, part: str, out: Path) -> dict[str, Any]:
    """Write a map and return the label that names it: indices are a segmentation, the others heat maps."""
    name = part_column(column, part)
    place = f"fields/{name}/{picture.name.rpartition('.')[0]}.png"
    path = out / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(picture.part(column, part))
    is_index = part == _MASKS
    return {"_cls": "Segmentation", "mask_path": place} if is_index else {"_cls": "Heatmap", "map_path": place}


def _label(name: str, value: Any, picture: Picture) -> Any:
    """Return a value as FiftyOne holds it: boxes and people as labels with relative places, others as they are."""
    width, height = picture.facts["width"], picture.facts["height"]
    if name == "people" and value is not None:
        people = [_person(person, width, height) for person in value]
        return {"_cls": "Keypoints", "keypoints": people}
    if name in _BOXED and value is not None and all("x0" in record for record in value):
        return {"_cls": "Detections", "detections": [_detection(name, record, width, height) for record in value]}
    return value if not isinstance(value, list) or not any(isinstance(entry, dict) for entry in value) else None


def _detection(name: str, record: dict[str, Any], width: int, height: int) -> dict[str, Any]:
    x0, y0, x1, y1 = box_of(record)
    return {
        "_cls": "Detection",
        "label": record.get("label") or name.removesuffix("s"),
        "bounding_box": [x0 / width, y0 / height, (x1 - x0) / width, (y1 - y0) / height],
        "confidence": record.get("score"),
    }


def _person(person: dict[str, Any], width: int, height: int) -> dict[str, Any]:
    numbers = person["keypoints"]
    points = [[x / width, y / height] for x, y in zip(numbers[0::3], numbers[1::3], strict=True)]
    return {"_cls": "Keypoint", "label": "person", "points": points, "confidence": numbers[2::3]}


FORMAT = Format(
    "fiftyone",
    "images, boxes, masks, maps and values as FiftyOne imports them",
    write,
    'fiftyone.Dataset.from_dir("{out}", fiftyone.types.FiftyOneDataset)',
)
