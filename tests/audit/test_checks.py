"""Every defect that can be planted is found under its kind with its key, and a clean dataset has none.

PYTHONPATH=. python -m pytest tests/audit/test_checks.py
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from onegen.annotators.caption import PROVIDES as CAPTION
from onegen.annotators.depth import PROVIDES as DEPTH
from onegen.annotators.detection import PROVIDES as DETECTION
from onegen.annotators.pose import PROVIDES as POSE
from onegen.annotators.segmentation import PROVIDES as SEGMENTATION
from onegen.audit.checks import Findings, check
from onegen.audit.tables import open_tables
from onegen.pixels.codec import encode_part
from onegen.shards.dataset import CARD, Dataset, PlanSummary, file_of
from onegen.shards.index import IMAGE_FIELDS
from onegen.storage.local import LocalStore
from tests.fabricated import TINY_CARD, Line, write_column
from tests.tiny import SIZE, encoded, picture

HEIGHT, WIDTH = SIZE
KEYS = [f"{number:020x}" for number in range(4)]
BAD = KEYS[2]
FIELDS = {"image": IMAGE_FIELDS} | {
    "caption": CAPTION.fields,
    "depth": DEPTH.fields,
    "detection": DETECTION.fields,
    "pose": POSE.fields,
    "segmentation": SEGMENTATION.fields,
}
Values = dict[str, dict[str, Any]]
Parts = dict[str, dict[str, bytes]]


def sound(number: int) -> tuple[Values, Parts]:
    """Return what the columns say of a sample when all is well."""
    ramp = np.linspace(0, 65535, HEIGHT * WIDTH).reshape(SIZE).astype(np.uint16)
    masks = np.zeros(SIZE, np.uint8)
    masks[5:9, 5:9] = 1
    box = {"x0": 1.0, "y0": 1.0, "x1": 20.0, "y1": 30.0}
    image = {"item": f"{number}.png", "uri": f"{number}.png", "width": WIDTH, "height": HEIGHT, "licence": "CC0-1.0"}
    caption = {"caption": "A dog lies on the grass.", "captioner": "model", "num_words": 6, "original": None}
    person = {**box, "score": 0.9, "keypoints": [4.0, 5.0, 0.9] * 17, "half_body": False, "low_confidence": False}
    values: Values = {
        "image": image,
        "caption": caption,
        "depth": {"minimum": 0.0, "maximum": 1.0},
        "detection": {"objects": [{**box, "label": "dog", "score": 0.9}], "num_objects": 1, "num_people": 0},
        "pose": {"people": [person], "num_people": 1},
        "segmentation": {"areas": [0.1], "coverage": 0.1},
    }
    parts = {
        "image": {"png": encoded(picture(number))},
        "depth": {"depth.png": encode_part(ramp, "gray16")},
        "segmentation": {"masks.png": encode_part(masks, "index")},
    }
    return values, parts


Plant = Callable[[Values, Parts], None]


def write(root: Path, plant: Plant | None = None) -> Dataset:
    """Write a dataset of four samples, one of them changed by `plant`."""
    store = LocalStore(str(root))
    samples = [sound(number) for number in range(len(KEYS))]
    if plant:
        plant(*samples[KEYS.index(BAD)])
    for column, fields in FIELDS.items():
        lines = [
            Line(key, values=values[column], parts=parts.get(column, {}))
            for key, (values, parts) in zip(KEYS, samples, strict=True)
        ]
        write_column(store, column, 0, lines, dict[str, pa.DataType](fields))
    plan = PlanSummary(shards=1, items=len(KEYS), digest="")
    store.write(CARD, TINY_CARD.model_copy(update={"plan": plan}).to_json())
    return Dataset(store)


def findings(dataset: Dataset) -> Findings:
    with open_tables(dataset) as tables:
        return check(dataset, tables)


def setting(column: str, field: str, value: Any) -> Plant:
    return lambda values, _: values[column].update({field: value})


def boxed(**corners: float) -> Plant:
    return lambda values, _: values["detection"]["objects"][0].update(corners)


def keypoint(place: int, *point: float) -> Plant:
    def plant(values: Values, _: Parts) -> None:
        values["pose"]["people"][0]["keypoints"] = [4.0, 5.0, 0.9] * place + [*point] + [4.0, 5.0, 0.9] * (16 - place)

    return plant


def part(column: str, name: str, data: bytes) -> Plant:
    return lambda _, parts: parts[column].update({name: data})


LOOP = "there is a dog on a mat and " * 4


PLANTED: list[tuple[str, Plant]] = [
    ("licence_missing", setting("image", "licence", None)),
    ("licence_missing", setting("image", "licence", "  ")),
    ("source_missing", setting("image", "uri", None)),
    ("box_outside", boxed(x1=WIDTH + 9.0)),
    ("box_outside", boxed(y0=-9.0)),
    ("box_outside", boxed(x0=30.0)),
    ("keypoint_outside", keypoint(3, WIDTH + 20.0, 5.0, 0.9)),
    ("keypoint_outside", keypoint(16, 5.0, -20.0, 0.9)),
    ("constant_depth", setting("depth", "maximum", 0.0)),
    ("constant_depth", part("depth", "depth.png", encode_part(np.full(SIZE, 9, np.uint16), "gray16"))),
    ("empty_caption", setting("caption", "caption", " ")),
    ("cut_caption", setting("caption", "caption", "A dog lies on the")),
    ("looping_caption", setting("caption", "caption", f"{LOOP}more.")),
    ("refused_caption", setting("caption", "caption", "I'm sorry, I cannot help with that.")),
    ("size_mismatch", part("depth", "depth.png", encode_part(np.eye(9, dtype=np.uint16), "gray16"))),
    ("size_mismatch", setting("image", "width", WIDTH + 1)),
    ("unknown_mask_index", part("segmentation", "masks.png", encode_part(np.full(SIZE, 2, np.uint8), "index"))),
    ("unreadable", part("segmentation", "masks.png", b"no picture")),
]


def test_a_clean_dataset_has_no_defect(tmp_path: Path) -> None:
    found = findings(write(tmp_path))
    assert (found.defects, found.counts, found.read) == ((), {}, len(KEYS))


def test_a_point_that_nobody_sees_may_lie_anywhere(tmp_path: Path) -> None:
    assert findings(write(tmp_path, keypoint(3, 999.0, 999.0, 0.1))).counts == {}


def test_a_caption_that_a_source_brought_may_end_as_it_likes(tmp_path: Path) -> None:
    def plant(values: Values, _: Parts) -> None:
        values["caption"] |= {"caption": "a dog", "original": "a dog"}

    assert findings(write(tmp_path, plant)).counts == {}


@pytest.mark.parametrize(("kind", "plant"), PLANTED)
def test_a_planted_defect_is_found_with_its_key(tmp_path: Path, kind: str, plant: Plant) -> None:
    found = findings(write(tmp_path, plant))
    assert {(defect.kind, defect.key) for defect in found.defects} == {(kind, BAD)}


def test_rows_that_do_not_balance_and_keys_of_other_images_are_found(tmp_path: Path) -> None:
    dataset = write(tmp_path)
    lines = [Line(key) for key in [*KEYS[:3], "f" * 20]]
    manifest = write_column(dataset.store, "caption", 0, lines, FIELDS["caption"])
    counts = manifest.counts.model_copy(update={"ok": 3, "failed": 1})
    dataset.commit(manifest.model_copy(update={"counts": counts}))
    found = [defect for defect in findings(dataset).defects if defect.kind == "conservation"]
    assert [defect.key for defect in found] == [None, "f" * 20]


@pytest.mark.parametrize("column", ["depth", "image"])
def test_altered_and_cut_files_are_found(tmp_path: Path, column: str) -> None:
    dataset = write(tmp_path)
    manifest = dataset.require_manifest(column, 0)
    tar = tmp_path / "columns" / column / file_of(manifest, ".tar")
    (member,) = dataset.rows(manifest)[KEYS.index(BAD)].parts
    whole = tar.read_bytes()
    data = bytearray(whole)
    data[member.offset + member.size // 2] ^= 0xFF
    tar.write_bytes(data)
    assert {(defect.kind, defect.key) for defect in findings(dataset).defects} == {("altered", BAD)}
    tar.write_bytes(whole[: member.offset + 5])
    assert {("altered", BAD), ("stored", None)} <= {(defect.kind, defect.key) for defect in findings(dataset).defects}
