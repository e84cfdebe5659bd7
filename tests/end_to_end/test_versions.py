"""A version is never a mix: when a dataset has a digest, and what a build says of what it did not do.

PYTHONPATH=. python -m pytest tests/end_to_end/test_versions.py
"""

import os
from pathlib import Path
from typing import Any

import pytest

from onegen.audit.status import read_status
from onegen.audit.verify import verify
from onegen.build.stage_step import StageStep
from onegen.config.recipe import Recipe
from onegen.errors import ConfigError, Stopped
from onegen.executor.contract import Retry
from onegen.sample import PACKED
from tests.tiny import Ears, committed, dataset, encoded, make_recipe, packed, picture, run, statuses, write_photos

TONE, ECHO = "tests.plugins.tone", "tests.plugins.echo"
COUNT = 20


def recipe(photos: Path, gain: float = 1.0, **changes: Any) -> Recipe:
    stages = [
        {"name": "look", "annotators": {TONE: {"gain": gain}}},
        {"name": "again", "annotators": {ECHO: {}}},
    ]
    return make_recipe(photos, stages, **changes)


@pytest.fixture
def built(tmp_path):
    """Photos and a complete dataset of them."""
    photos, out = tmp_path / "photos", tmp_path / "out"
    write_photos(photos, COUNT)
    run(recipe(photos), out)
    return photos, out


def card(out: Path) -> Any:
    return dataset(out).require_card()


def test_a_build_of_some_steps_leaves_no_version_while_anything_is_stale(built, tmp_path):
    photos, out = built
    assert card(out).digest is not None
    ears = Ears()
    changed = recipe(photos, gain=0.5)
    summary = run(changed, out, ears, only=("look",), recompute=("look",))
    assert summary.digest is None
    assert (card(out).state, card(out).digest) == ("building", None)
    assert any("not made or made from something older: echo, shards" in note for note in ears.notes)
    whole = run(changed, out, recompute=("look",))
    assert whole.digest == card(out).digest == run(changed, tmp_path / "direct").digest
    assert card(out).state == "complete"


def test_a_build_of_some_steps_that_leaves_nothing_behind_has_its_version(built):
    photos, out = built
    before = card(out).digest
    assert run(recipe(photos), out, only=("look",)).digest == before
    assert card(out).state == "complete"


def test_a_refused_build_leaves_the_card_as_it_was(built):
    photos, out = built
    before = (out / "dataset.json").read_bytes()
    with pytest.raises(ConfigError, match="options of committed work"):
        run(recipe(photos, gain=0.5), out)
    assert (out / "dataset.json").read_bytes() == before
    # A stale input is found in the middle of the steps, after the card used to be written.
    run(recipe(photos, gain=0.5), out, only=("look",), recompute=("look",))
    before = (out / "dataset.json").read_bytes()
    with pytest.raises(ConfigError, match="inputs of committed work"):
        run(recipe(photos, gain=0.5, limits={"batch_seconds": 50}), out)
    assert (out / "dataset.json").read_bytes() == before


@pytest.mark.parametrize("column", ["image", "tone", PACKED])
@pytest.mark.parametrize("extension", [".tar", ".parquet"])
def test_a_file_that_was_deleted_is_made_again_and_named(built, column, extension):
    photos, out = built
    before, view = card(out).digest, packed(out)
    folder = out / (PACKED if column == PACKED else f"columns/{column}")
    victim = sorted(folder.glob(f"000001*{extension}"))[0]
    victim.unlink()
    ears = Ears()
    assert run(recipe(photos), out, ears).digest == before
    assert any(victim.name in note and "made again" in note for note in ears.notes)
    assert packed(out) == view
    assert list(verify(dataset(out), full=True)) == []


def test_a_column_taken_out_of_the_recipe_is_named_kept_and_out_of_the_digest(built, tmp_path):
    photos, out = built
    less = make_recipe(photos, [{"name": "look", "annotators": {TONE: {}}}])
    ears = Ears()
    summary = run(less, out, ears)
    assert any("no longer makes echo" in note and "--drop echo" in note for note in ears.notes)
    assert summary.digest == card(out).digest == run(less, tmp_path / "direct").digest
    assert set(card(out).columns) == {"image", "select", "tone"}
    assert statuses(out, "echo") == ["ok"] * COUNT
    assert list(verify(dataset(out), full=True)) == []
    (out / "columns/echo/notes.txt").write_text("mine")
    assert run(less, out, drop=("echo",)).digest == summary.digest
    assert [path.name for path in (out / "columns/echo").iterdir()] == ["notes.txt"]


def test_a_column_of_the_recipe_cannot_be_dropped(built):
    photos, out = built
    before = committed(out)
    with pytest.raises(ConfigError, match="--drop must name a column the recipe does not make, got 'echo'"):
        run(recipe(photos), out, drop=("echo",))
    with pytest.raises(ConfigError, match="--drop must name a column of .*, got 'tome'; did you mean 'tone'"):
        run(recipe(photos), out, drop=("tome",))
    assert committed(out) == before


def test_a_limit_is_said_by_every_later_build(tmp_path):
    photos, out = tmp_path / "photos", tmp_path / "out"
    write_photos(photos, 6)
    run(recipe(photos), out, limit=2)
    ears = Ears()
    run(recipe(photos), out, ears)
    assert len(statuses(out, "image")) == 2
    assert any("planned with --limit 2" in note and "--extend plans the others too" in note for note in ears.notes)


def test_a_status_tells_what_the_plan_left_out(tmp_path):
    photos, out = tmp_path / "photos", tmp_path / "out"
    write_photos(photos, 6)
    (photos / "a.heic").write_bytes(b"x")
    ears = Ears()
    run(recipe(photos), out, ears, limit=2)
    told = card(out)
    assert told.limit == 2
    (line,) = told.plan.omissions()
    assert line in ears.notes
    assert line == "1 file passed over, because .heic cannot be opened: convert them to JPEG, PNG or WebP"


@pytest.mark.parametrize("place", ["stage", "rule", "pack"])
def test_rows_over_which_an_expression_is_in_error_are_counted(tmp_path, place):
    photos, out = tmp_path / "photos", tmp_path / "out"
    write_photos(photos, 5)
    for number, caption in enumerate(["1", "odd", "3", "odder", "5"]):
        next(photos.glob(f"0000{number}.*")).with_suffix(".txt").write_text(caption)
    expression = "CAST(image.caption AS INTEGER) > 2"
    stage = {"name": "look", "annotators": {"tests.plugins.tone": {}}}
    changes = {
        "stage": {"stages": [{**stage, "where": expression}]},
        "rule": {"stages": [stage], "select": {"keep": {"big": expression}}},
        "pack": {"stages": [stage], "where": expression},
    }[place]
    stages = changes.pop("stages")
    column = {"stage": "tone", "rule": "select", "pack": "shards"}[place]
    ears = Ears()
    run(make_recipe(photos, stages, samples_per_shard=2, **changes), out, ears)
    assert f"{column}: an expression was in error over 2 row(s), which is no" in ears.notes
    counted = {status.name: status.where_errors for status in read_status(dataset(out)).columns}
    assert {name: number for name, number in counted.items() if number} == {column: 2}


def test_what_changed_in_the_source_since_the_plan_is_counted(built):
    photos, out = built
    ears = Ears()
    run(recipe(photos), out, ears)
    assert ears.notes == []
    (photos / "zz.png").write_bytes(encoded(picture(99)))
    (photos / "zy.png").write_bytes(encoded(picture(98)))
    (photos / "00001.jpg").unlink()
    (photos / "00002.png").write_bytes(encoded(picture(97)))
    (photos / "00003.txt").write_text("a caption that was not there")
    run(recipe(photos), out, ears)
    (note,) = ears.notes
    assert "was not planned again: 2 new (zy.png, zz.png), 2 changed (00002.png, 00003.jpg), 1 gone" in note


def test_stored_images_are_annotated_without_their_source(built, monkeypatch):
    photos, out = built
    digest = dataset(out).require_card().digest
    os.remove(out / "columns/tone/000001.json")
    photos.rename(photos.parent / "unmounted")
    ears = Ears()
    assert run(recipe(photos), out, ears).digest == digest
    assert any(note.startswith("all images are stored, so the build goes on without its source") for note in ears.notes)
    monkeypatch.setattr("onegen.sources.folder.Folder.listing", lambda self: pytest.fail("listed"))
    run(recipe(photos), out, only=("look",))


@pytest.mark.parametrize("options", [{"recompute": ("image",)}, {"retry": Retry("*")}], ids=str)
def test_images_to_be_read_again_need_their_source(built, options):
    photos, out = built
    photos.rename(photos.parent / "unmounted")
    with pytest.raises(ConfigError, match="source folder must exist"):
        run(recipe(photos), out, **options)


def test_a_step_that_ends_without_all_its_shards_stops(built, monkeypatch):
    photos, out = built
    monkeypatch.setattr(StageStep, "run", lambda self, dataset, tasks, commit, on_workers: None)
    os.remove(out / "columns/tone/000001.json")
    with pytest.raises(Stopped, match="step 'look' must commit every shard of tone, and ended without 1 of 3"):
        run(recipe(photos), out)
