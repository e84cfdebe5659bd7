"""Conditions drawn into the packed view: what stock readers find is what `conditions` draws of the columns.

PYTHONPATH=. python -m pytest tests/end_to_end/test_render.py
"""

import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from onegen.audit.verify import verify
from onegen.build.assemble import make_steps
from onegen.build.pack import PackStep
from onegen.config.recipe import make_source
from onegen.config.registry import find
from onegen.errors import ConfigError
from onegen.executor.contract import Finished, Task
from onegen.sample import Annotation
from onegen.shards.column import ColumnReader
from onegen.shards.key import seed_of
from onegen.storage.local import LocalStore
from onegen.tasks.conditions import CONDITIONS, VERSION, condition
from tests.packaged import bring_models, photo
from tests.pictures import decode
from tests.tiny import column_files, dataset, encoded, make_recipe, packed, picture, rows, run, write_photos

PEOPLE = [
    {"name": "look", "annotators": {"detection": {}}},
    {"name": "things", "annotators": {"entities": {}, "pose": {}}},
    {"name": "cut", "annotators": {"segmentation": {}}},
]


def members(out: Path) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for name in sorted((out / "shards").glob("*.tar")):
        with tarfile.open(name) as tar:
            for info in tar:
                file = tar.extractfile(info)
                assert file is not None
                found[info.name] = file.read()
    return found


def said(out: Path, position: int = 0) -> Mapping[str, Annotation]:
    """Return what the columns that conditions are drawn from say of a row of the first shard."""
    annotations = {}
    for column in ("pose", "entities", "segmentation"):
        manifest = dataset(out).manifest(column, 0)
        assert manifest is not None
        reader = ColumnReader(dataset(out), manifest)
        provides: Any = find("annotators", column, {}).provides  # type: ignore[attr-defined]
        annotations[column] = reader.annotation(reader.rows[position], 0, provides)
        reader.close()
    return annotations


def test_every_condition_is_stored_as_it_is_drawn(tmp_path):
    bring_models()
    photos, out = tmp_path / "photos", tmp_path / "out"
    photos.mkdir()
    bus = cv2.resize(photo("bus.jpg"), (576, 768), interpolation=cv2.INTER_AREA)
    (photos / "bus.png").write_bytes(encoded(bus))
    pack = {"columns": ["image"], "render": list(CONDITIONS)}
    run(make_recipe(photos, PEOPLE, pack=pack), out)
    (row,) = rows(out, "image")
    found = members(out)
    for name in CONDITIONS:
        extension = "jpg" if name in ("blurred", "masked", "low_resolution") else "png"
        drawn = condition(name, bus, said(out), seed_of(str(row.key), name, VERSION))
        assert np.ptp(drawn) > 200
        difference = np.abs(decode(found[f"{row.key}.{name}.{extension}"]).astype(int) - drawn)
        assert difference.mean() < (1.5 if extension == "jpg" else 1e-9), name
    assert set(found) == {
        f"{row.key}.{part}"
        for part in (
            "png", "canny.png", "pose.png", "boxes.png", "semantic_map.png", "blurred.jpg", "masked.jpg",
            "low_resolution.jpg", "json",
        )
    }  # fmt: skip
    assert "missing" not in json.loads(found[f"{row.key}.json"])
    assert not list(verify(dataset(out), full=True))


def test_a_condition_that_is_added_later_repacks_and_touches_no_column(tmp_path):
    photos, out = tmp_path / "photos", tmp_path / "out"
    write_photos(photos, 3)
    run(make_recipe(photos, []), out)
    before = column_files(out, "image")
    recipe = make_recipe(photos, [], pack={"render": ["canny", "masked"]})
    run(recipe, out)
    assert column_files(out, "image") == before
    names = [name.partition(".")[2] for name in members(out)]
    assert names.count("canny.png") == names.count("masked.jpg") == 3
    run(recipe, tmp_path / "again", workers=2)
    assert packed(out) == packed(tmp_path / "again")


def test_both_images_of_a_pair_are_drawn(tmp_path):
    pairs, out = tmp_path / "pairs", tmp_path / "out"
    pairs.mkdir()
    for index, role in enumerate(("target", "source")):
        (pairs / f"a.{role}.png").write_bytes(encoded(picture(index)))
    (pairs / "a.json").write_text(json.dumps({"instruction": "do it"}))
    source = {"tests.plugins.couple": str(pairs)}
    run(make_recipe(pairs, [], kind="pair", source=source, pack={"render": ["canny"]}), out)
    found = {name.partition(".")[2]: data for name, data in members(out).items()}
    for index, part in enumerate(("canny.png", "img1.canny.png")):
        np.testing.assert_array_equal(decode(found[part]), condition("canny", picture(index), {}, 0))


def test_what_cannot_be_drawn_is_listed_as_missing(tmp_path):
    bring_models()
    photos, out = tmp_path / "photos", tmp_path / "out"
    write_photos(photos, 2)
    stages = [PEOPLE[0], {**PEOPLE[1], "where": "image.item = '00000.png'"}]
    run(make_recipe(photos, stages, pack={"columns": ["image"], "render": ["pose", "canny"]}), out)
    drawn, bare = (
        {name.partition(".")[2]: data for name, data in members(out).items() if name.startswith(str(row.key))}
        for row in rows(out, "image")
    )
    assert set(drawn) == {"png", "pose.png", "canny.png", "json"}
    assert set(bare) == {"jpg", "canny.png", "json"}
    assert json.loads(bare["json"])["missing"] == [{"column": "pose", "status": "skipped", "reason": "where"}]


def test_a_sample_that_cannot_be_drawn_is_packed_without(tmp_path):
    photos, out = tmp_path / "photos", tmp_path / "out"
    photos.mkdir()
    (photos / "thread.png").write_bytes(encoded(np.zeros((2, 65_501, 3), np.uint8)))
    recipe = make_recipe(photos, [], image={"max_side": None}, pack={"render": ["masked"]})
    run(recipe, out)
    found = {name.partition(".")[2]: data for name, data in members(out).items()}
    assert set(found) == {"png", "json"}
    missing = {"column": "render", "status": "failed", "reason": "too_large_for_jpeg"}
    assert json.loads(found["json"])["missing"] == [missing]


def test_every_drawn_row_is_a_sign_of_life(tmp_path):
    photos, out = tmp_path / "photos", tmp_path / "out"
    write_photos(photos, 3)
    recipe = make_recipe(photos, [], pack={"render": ["canny"]})
    run(recipe, out)
    (job,) = (
        step.job
        for step in make_steps(recipe, make_source(recipe.source), LocalStore(str(out)))
        if isinstance(step, PackStep)
    )
    *beats, last = job.perform(Task(0, ()))
    assert len(beats) == 3, "drawing large pictures takes longer than a worker may be silent for 256 rows"
    assert isinstance(last, Finished)


@pytest.mark.parametrize(
    ("render", "message"),
    [
        (["canni"], r"pack.render names 'canni', which is not drawn; did you mean 'canny'\?"),
        (["depth"], "pack.render names 'depth', which is not drawn"),
        (["pose"], "pack.render draws 'pose' from the column 'pose', which the recipe does not make. Add a stage"),
    ],
)
def test_what_is_not_drawn_is_refused(tmp_path, render, message):
    photos = tmp_path / "photos"
    write_photos(photos, 1)
    with pytest.raises(ConfigError, match=message):
        run(make_recipe(photos, [], pack={"render": render}), tmp_path / "out")
