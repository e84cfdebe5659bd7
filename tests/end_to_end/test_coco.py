"""A folder whose COCO JSONs say what is in its pictures: captions, boxes, entities, masks and keypoints as columns.

PYTHONPATH=. python -m pytest tests/end_to_end/test_coco.py
"""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from onegen.audit.show import show
from onegen.audit.verify import verify
from onegen.config.recipe import Recipe
from onegen.errors import ConfigError
from onegen.executor.contract import Retry
from onegen.sample import IMAGE
from tests.end_to_end.test_bring import parts
from tests.tiny import dataset, failures, make_recipe, picture, rows, run, statuses

WIDTH, HEIGHT = 80, 60
NAMES = ("plain.jpg", "quiet.jpg", "turned.jpg", "unknown.jpg")
CATEGORIES = [{"id": 1, "name": "person"}, {"id": 17, "name": "cat"}]
POINTS = [v for n in range(17) for v in ((10 + n, 5 + n, 2) if n < 11 else (30, 30, 1) if n < 13 else (0, 0, 0))]
"""Seen down to the hips, which are hidden; no leg is labelled."""
OBJECTS = [
    {"id": 1, "category_id": 17, "bbox": [20, 10, 40, 20], "iscrowd": 0,
     "segmentation": [[20, 10, 60, 10, 60, 30, 20, 30]]},
    {"id": 2, "category_id": 1, "bbox": [50, 20, 20, 30], "iscrowd": 0,
     "segmentation": {"size": [HEIGHT, WIDTH], "counts": [50 * HEIGHT + 20, *([30, 30] * 19), 30, 10 * HEIGHT + 10]}},
    {"id": 3, "category_id": 1, "bbox": [0, 0, 80, 60], "iscrowd": 1,
     "segmentation": {"size": [HEIGHT, WIDTH], "counts": [0, HEIGHT * WIDTH]}},
]  # fmt: skip
BRING = {"boxes": "coco", "entities": "coco", "masks": "coco", "keypoints": "coco"}
COLUMNS = ("detection", "entities", "segmentation", "pose")


def write(root: Path, objects: list[dict[str, Any]] | None = None, bring: dict[str, Any] | None = None) -> Recipe:
    """Write pictures, two of them with objects, of which one lies on its side, and two JSONs about them."""
    root.mkdir()
    for number, name in enumerate(NAMES):
        exif = Image.Exif()
        exif[0x0112] = 6 if name == "turned.jpg" else 1
        Image.fromarray(picture(number, (HEIGHT, WIDTH))).save(root / name, exif=exif)
    images = [{"id": n, "file_name": name} for n, name in enumerate(NAMES[:3])]
    found = [
        {**thing, "id": 10 * image + thing["id"] if isinstance(thing["id"], int) else thing["id"], "image_id": image}
        for image in (0, 2)
        for thing in (objects if objects is not None and image == 0 else OBJECTS)
    ]
    (root / "instances.json").write_text(json.dumps({"images": images, "annotations": found, "categories": CATEGORIES}))
    people = [{"id": 10 * n + 2, "image_id": n, "keypoints": POINTS, "num_keypoints": 13, "bbox": [50, 20, 20, 30],
               "category_id": 1} for n in (0, 2)]  # fmt: skip
    captions = [{"id": 1, "image_id": 0, "caption": "A cat before a person."}]
    about = {"images": images, "annotations": people + captions}
    # Where the other JSON has the same people, it has their categories too.
    about |= {} if objects is None else {"categories": CATEGORIES[:1]}
    (root / "people.json").write_text(json.dumps(about))
    source = {"folder": str(root), "coco": ["instances.json", "people.json"], "bring": bring or BRING}
    return make_recipe(root, [], source=source, image={"max_side": 40}, limits={"failure_rate": 1.0})


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("coco")
    run(write(root / "in"), root / "out")
    return root / "out"


def test_every_picture_has_what_the_json_says_and_one_it_does_not_know_nothing(out):
    for column in COLUMNS:
        assert statuses(out, column) == ["ok", "ok", "ok", "filtered absent"]
    assert [row.values["caption"] for row in rows(out, IMAGE)] == ["A cat before a person.", None, None, None]
    assert list(verify(dataset(out), full=True)) == []


def test_boxes_and_entities_are_those_of_the_stored_picture_without_the_crowd(out):
    plain, quiet, turned, _ = (row.values for row in rows(out, "detection"))
    assert [(thing["label"], thing["score"]) for thing in plain["objects"]] == [("cat", 1.0), ("person", 1.0)]
    assert [thing["x0"] for thing in plain["objects"]] == [10.0, 25.0]
    assert [thing["y1"] for thing in plain["objects"]] == [15.0, 25.0]
    assert (quiet["objects"], quiet["num_objects"], plain["num_people"]) == ([], 0, 1)
    # Turned by a quarter to the right: x is what was left of the height, y the old x.
    cat = turned["objects"][0]
    assert (cat["x0"], cat["y0"], cat["x1"], cat["y1"]) == (15.0, 10.0, 25.0, 30.0)
    assert [thing["label"] for thing in rows(out, "entities")[0].values["entities"]] == ["cat", "person"]


def test_masks_count_the_entities_and_the_smaller_lies_on_top(out):
    plain, quiet, turned, _ = parts(out, "segmentation")
    expected = np.zeros((30, 40), np.uint8)
    expected[5:15, 10:30] = 1
    expected[10:25, 25:35] = 2
    np.testing.assert_array_equal(plain, expected)
    assert not quiet.any()
    np.testing.assert_array_equal(turned, np.rot90(expected, -1))


def test_points_are_those_of_coco_with_visibility_in_0_to_1(out):
    (person,) = rows(out, "pose")[0].values["people"]
    points = np.array(person["keypoints"]).reshape(17, 3)
    np.testing.assert_allclose(points[:11, :2], [[(10 + n) / 2, (5 + n) / 2] for n in range(11)])
    assert points[:, 2].tolist() == [1.0] * 11 + [0.5] * 2 + [0.0] * 4
    assert person["half_body"]
    assert rows(out, "pose")[1].values == {"people": [], "num_people": 0}


def test_the_sheet_shows_them(out):
    sink = io.BytesIO()
    show(dataset(out), ()).save(sink, "PNG")
    assert len(sink.getvalue()) > 10_000


@pytest.mark.parametrize(
    ("changes", "column", "reason", "says"),
    [
        ({"bbox": [1, 2, 3]}, "detection", "brought_box", "1"),
        ({"bbox": [70, 10, 40, 20]}, "detection", "brought_box", "inside the picture of 80x60"),
        ({"bbox": [10, 10, 0, 20]}, "detection", "brought_box", "left before right"),
        ({"bbox": [float("nan"), 1, 2, 3]}, "detection", "brought_box", "must have boxes"),
        ({"bbox": "all"}, "entities", "brought_box", "'id': 1"),
        ({"category_id": 99}, "detection", "brought_value", "must have a name in 'label'"),
        ({"category_id": [1]}, "detection", "brought_value", "must have a name in 'label'"),
        ({"id": [1], "category_id": None}, "entities", "brought_value", "must have a name in 'label'"),
        ({"segmentation": [[1, 2, 3, 4, 5]]}, "segmentation", "brought_pixels", "1: polygon must be three points"),
        ({"segmentation": [5]}, "segmentation", "brought_pixels", "outlines as COCO has them, 1"),
        ({"segmentation": 5}, "segmentation", "brought_pixels", "outlines as COCO has them, 1"),
        ({"segmentation": {"size": [4, 4], "counts": [16]}}, "segmentation", "brought_pixels", "mask of 80x60"),
        ({"segmentation": {"size": [60, 80], "counts": "P"}}, "segmentation", "brought_pixels", "must be whole"),
        ({"segmentation": {"size": [60, 80]}}, "segmentation", "brought_pixels", "counts"),
        ({"keypoints": [1, 2, 2]}, "pose", "brought_points", "17 keypoints"),
        ({"keypoints": [100, 100, 2] * 17}, "pose", "brought_points", "inside the picture"),
        ({"keypoints": [1, 2, 3] * 17}, "pose", "brought_points", "third numbers"),
    ],
)
def test_a_bad_annotation_fails_its_row_of_its_column_alone(tmp_path, changes, column, reason, says):
    made = write(tmp_path / "in", [{**OBJECTS[0], **changes}])
    run(made, tmp_path / "out")
    bad = {
        "bbox": {"detection", "entities", "pose"},
        "category_id": {"detection", "entities"},
        "id": {"detection", "entities"},
    }
    for other in COLUMNS:
        expected = other == column or other in bad.get(next(iter(changes)), ())
        found = statuses(tmp_path / "out", other)
        assert (found[0] == "ok") != expected or other == "pose", (other, found)
        assert found[1:] == ["ok", "ok", "filtered absent"]
    assert statuses(tmp_path / "out", IMAGE) == ["ok"] * 4
    assert failures(tmp_path / "out", column)[0] == ("plain.jpg", reason)
    message = next(f.message for m in dataset(tmp_path / "out").manifests(column) for f in m.run.failures)
    assert says in message
    write_again = json.loads((tmp_path / "in/instances.json").read_text())
    write_again["annotations"][0] = {**OBJECTS[0], "image_id": 0}
    (tmp_path / "in/instances.json").write_text(json.dumps(write_again))
    run(made, tmp_path / "out", retry=Retry())
    assert statuses(tmp_path / "out", column)[0] == "ok"


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ({"coco": "instances.json", "bring": {"depth": "coco"}}, "detection, entities, pose, segmentation of a COCO"),
        ({"bring": {"boxes": "coco"}}, "that `coco` names, got detection and coco: None"),
        ({"coco": ["instances.json", "../x.json"]}, "coco must be a path below the folder"),
        ({"coco": ["instances.json", "none.json"]}, "got 'none.json'"),
    ],
)
def test_what_no_json_says_is_refused(tmp_path, source, says):
    made = write(tmp_path / "in")
    with pytest.raises(ConfigError) as caught:
        run(made.model_copy(update={"source": {"folder": str(tmp_path / "in"), **source}}), tmp_path / "out")
    assert says in str(caught.value)
