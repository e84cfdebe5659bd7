"""How a column that is brought along is made, and what a recipe may not ask of it.

PYTHONPATH=. python -m pytest tests/build/test_brought_column.py
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onegen.build.assemble import make_steps
from onegen.build.brought_column import BroughtColumn, brought_job, make_reader
from onegen.build.stage_step import StageStep
from onegen.build.steps import Step
from onegen.config.bring import bring_entries
from onegen.config.recipe import make_source
from onegen.errors import ConfigError
from onegen.sample import IMAGE, Annotator, Brought, Item, Placement, Rejected
from onegen.storage.local import LocalStore
from tests.brought import png_of
from tests.tiny import make_recipe


def steps(tmp_path: Path, bring: dict[str, Any], *stages: dict[str, Any]) -> list[Step]:
    recipe = make_recipe(tmp_path, list(stages), source={"folder": str(tmp_path), "bring": bring})
    return make_steps(recipe, make_source(recipe.source), LocalStore("nowhere"))


def column(**entry: Any) -> BroughtColumn:
    (made,) = bring_entries({"depth": {"from": "depth.png", **entry}}).values()
    reader = make_reader(made)
    return BroughtColumn("depth", 1, reader.provides, reader, made.upright)


def test_is_an_annotator_of_what_the_source_brings():
    pixels = np.arange(24, dtype=np.uint8).reshape(4, 6)
    item = Item("k", None, brought=Brought(png_of(pixels), "it", Placement((4, 6), (6, 4), 6)))
    assert isinstance(column(), Annotator)
    absent, turned = column().annotate([Item("k", None), item])
    assert isinstance(absent, Rejected)
    assert absent.reason == "absent"
    assert not isinstance(turned, Rejected)
    assert turned.parts["depth.png"].shape == (6, 4)


def test_what_lies_on_the_upright_picture_is_not_turned():
    pixels = np.arange(24, dtype=np.uint8).reshape(6, 4)
    item = Item("k", None, brought=Brought(png_of(pixels), "it", Placement((4, 6), (6, 4), 6)))
    (answer,) = column(upright=True).annotate([item])
    assert not isinstance(answer, Rejected)
    assert np.array_equal(answer.parts["depth.png"], np.rint(pixels * (65535 / 23)).astype(np.uint16))


def test_the_settings_are_the_entry_and_the_producer_is_the_source(tmp_path):
    source = make_source({"folder": str(tmp_path)})
    (entry,) = bring_entries({"far": {"use": "depth", "from": "depth.png", "near": "dark"}}).values()
    job = brought_job(source, entry, "image")
    options = {"from": ["depth.png"], "upright": False, "reader": 1, "near": "dark"}
    assert job.provenance.settings == {"name": "depth", "version": 1, "options": options, "weights": []}
    assert job.provenance.producer.label() == "folder@1"
    assert job.gates == (IMAGE,)
    assert job.part_names == {"depth.png": "far.png"}


def test_columns_are_made_in_the_step_of_the_source(tmp_path):
    look = {"name": "look", "annotators": {"tests.plugins.tone": {}}}
    made = steps(tmp_path, {"depth": "depth.png", "masks": "seg.png"}, look)
    assert [step.name for step in made] == ["image", "source", "select", "look", "pack"]
    assert isinstance(made[1], StageStep)
    assert made[1].columns == ("depth", "segmentation")
    assert [step.name for step in steps(tmp_path, {}, look)] == ["image", "select", "look", "pack"]


@pytest.mark.parametrize(
    ("bring", "stages", "message"),
    [
        (
            {"boxes": "json.objects"},
            [{"name": "things", "annotators": {"detection": {}}}],
            "columns must be unique .* got 'detection' of source 'folder' and stage 'things'",
        ),
        (
            {"depth": "depth.png"},
            [{"name": "depth", "annotators": {"tests.plugins.tone": {}}}],
            "got 'depth' of source 'folder' and a stage of that name",
        ),
        ({"image": {"use": "depth", "from": "x"}}, [], "none of image, source, .* got 'image' of source 'folder'"),
        (
            {"masks": "seg.png", "boxes": "json.objects"},
            [{"name": "named", "annotators": {"entities": {}}}],
            "got 'segmentation' from the source and 'entities' from stage 'named': value 1 would be another thing",
        ),
        ({"features": "json.f"}, [], "must be one of caption, depth, .*got 'features', which cannot be brought"),
        ({"x": {"use": "detphs", "from": "y"}}, [], "annotators 'detphs' is unknown; .*depth"),
        ({"depth": {"from": "a.png", "naer": "dark"}}, [], "bring.depth has no option 'naer'; .*near"),
        ({"depth": {"from": "a.png", "near": "grey"}}, [], "options of bring.depth must be mended"),
        ({"nsfw": {"from": "json.p", "scale": 2}}, [], "bring.nsfw has no option 'scale'; it has none"),
        ({"keypoints": {"from": "json.p", "visible": 0}}, [], "visible of keypoints must be above 0, got 0"),
        ({"depth": "a/depth.png"}, [], "beside its picture, got 'a/depth.png'"),
    ],
)
def test_what_a_recipe_may_not_ask_is_named(tmp_path, bring, stages, message):
    with pytest.raises(ConfigError, match=message):
        steps(tmp_path, bring, *stages)


@pytest.mark.parametrize("bring", [None, ["depth"], "depth.png"])
def test_bring_of_another_form_is_told(tmp_path, bring):
    with pytest.raises(ConfigError, match="bring: must be a mapping"):
        steps(tmp_path, bring)


def test_masks_of_another_name_stand_beside_entities_that_were_found(tmp_path):
    made = steps(
        tmp_path,
        {"masks_given": "seg.png", "boxes": "json.objects"},
        {"name": "named", "annotators": {"entities": {}}},
    )
    assert made[1].columns == ("masks_given", "detection")
