"""A COCO JSON in a folder. PYTHONPATH=. python -m pytest tests/sources/test_coco.py"""

import json
import pickle

import pytest

from onegen.errors import ConfigError, SampleError
from onegen.shards.plan import PlannedItem, make_plan, read_plan
from onegen.sources.folder import Folder
from onegen.sources.reading.coco import Coco
from tests.fabricated import memory_store

COCO = {
    "licenses": [{"id": 4, "name": "Attribution", "url": "http://creativecommons.org/licenses/by/2.0/"}],
    "images": [
        {"id": 7, "file_name": "7.jpg", "license": 4, "flickr_url": "http://flickr.example/7"},
        {"id": 8, "file_name": "8.jpg", "coco_url": "http://coco.example/8"},
        {"id": 9, "file_name": "9.jpg"},
    ],
    "annotations": [
        {"id": 1, "image_id": 7, "caption": "A cat. "},
        {"id": 2, "image_id": 7, "caption": "A cat on a mat."},
        {"id": 3, "image_id": 8, "bbox": [1, 2, 3, 4], "category_id": 17},
    ],
}


def write(tmp_path, about: object = COCO, **options: object) -> Folder:
    for name in ("train/7.jpg", "train/8.jpg", "train/other.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    (tmp_path / "captions.json").write_text(json.dumps(about), encoding="utf-8")
    return Folder(str(tmp_path), coco="captions.json", **options)


def plan(source: Folder) -> list[PlannedItem]:
    """List a source as a build does, and return its items in order."""
    with memory_store("coco") as store:
        summary = make_plan(store, source.listing(), 1000)
        return [row for shard in range(summary.shards) for row in read_plan(store, shard)]


@pytest.mark.parametrize(("pick", "caption"), [("first", "A cat."), ("longest", "A cat on a mat.")])
def test_captions_and_rights_are_those_of_the_json(tmp_path, pick, caption):
    source = write(tmp_path, pick=pick)
    seven, eight, other = (pickle.loads(pickle.dumps(source)).read(item).images[0] for item in plan(source))
    assert (seven.caption, seven.licence) == (caption, "http://creativecommons.org/licenses/by/2.0/")
    assert (seven.attribution, eight.attribution) == ("http://flickr.example/7", "http://coco.example/8")
    assert (eight.caption, other.caption, other.licence) == (None, None, None)
    assert source.passed_over() == {"the COCO JSON names them and they are not there": 1}


def test_all_captions_are_kept_where_a_recipe_asks_for_them(tmp_path):
    source = write(tmp_path, keep=("captions",))
    seven, eight, other = (source.annotations(item)["metadata"].values for item in plan(source))
    assert seven == {"captions": ["A cat.", "A cat on a mat."]}
    assert eight == other == {"captions": []}
    assert write(tmp_path).provides == {}


def test_objects_of_an_image_can_be_asked_for():
    coco = Coco("c.json", json.dumps(COCO).encode())
    assert coco.annotations_of("train/8.jpg").objects == {3: COCO["annotations"][2]}
    assert coco.annotations_of("train/7.jpg").objects == {}
    assert coco.annotations_of("train/17.jpg").captions == []


def test_a_json_that_changed_fails_its_rows(tmp_path):
    source = write(tmp_path)
    item = plan(source)[0]
    (tmp_path / "captions.json").write_text("{}", encoding="utf-8")
    with pytest.raises(SampleError) as caught:
        source.read(item)
    assert caught.value.reason == "source_changed"


@pytest.mark.parametrize("path", ["../captions.json", "/tmp/captions.json", "./captions.json", ".."])
def test_its_path_lies_below_the_folder(path):
    with pytest.raises(ConfigError, match="coco must be a path below the folder"):
        Folder("photos", coco=path)
    with pytest.raises(ConfigError, match="coco must stand with sidecars"):
        Folder("photos", coco="captions.json", sidecars=False)


@pytest.mark.parametrize("about", [[], {"images": [{"id": 1}]}, {"annotations": [{"image_id": 3}]}, {"images": [3]}])
def test_what_is_no_coco_json_is_refused(tmp_path, about):
    with pytest.raises(ConfigError, match="coco must name a COCO JSON by its path in"):
        plan(write(tmp_path, about))
    with pytest.raises(ConfigError, match=r"got 'none\.json'"):
        plan(Folder(str(tmp_path), coco="none.json"))
