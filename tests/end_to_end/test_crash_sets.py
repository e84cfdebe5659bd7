"""Whatever stops a build of identities or scenes: the same command again ends with the bytes of one never stopped.

PYTHONPATH=. python -m pytest tests/end_to_end/test_crash_sets.py
"""

import json
import shutil
from pathlib import Path

import pytest

from onegen.audit.verify import verify
from onegen.config.recipe import Recipe
from onegen.executor.contract import Retry
from tests.broken_stores import Crash, CrashingStore, KillingStore
from tests.end_to_end import test_identities as identities
from tests.end_to_end import test_scenes as scenes
from tests.end_to_end.test_crash import drive_to_death
from tests.tiny import committed, damaged, dataset, failures, make_recipe, packed, rows, run, statuses, strays


def of_identities(root: Path) -> Recipe:
    """Subjects in two shards: an image that is none, one that is rejected, a repetition, a subject with one image."""
    people = identities.write(root / "people", {"ada": 5, "bob": 4, "cyd": 1})
    (people / "ada/1.png").write_bytes(b"no picture")
    shutil.copy(people / "bob/0.png", people / "bob/9.png")
    then = {"name": "then", "annotators": {"tests.plugins.shade": {}}}
    return identities.recipe(people, identities.TONE, then, samples_per_shard=6)


def of_scenes(root: Path) -> Recipe:
    """Scenes in two shards, one with a view that is none."""
    captures = scenes.write(root / "captures")
    (captures / "1K/aaa/images/001.png").write_bytes(b"no picture")
    return scenes.recipe(captures, scenes.TONE, samples_per_shard=8)


def of_objects(root: Path) -> Recipe:
    """Objects in two shards, drawn with their depth and masks, one of them no mesh."""
    trimesh = pytest.importorskip("trimesh")
    folder = root / "objects"
    folder.mkdir()
    for name, height in (("able", 1.0), ("beta", 2.0), ("delta", 3.0)):
        trimesh.creation.box((1, 2, height)).export(folder / f"{name}.glb")
    (folder / "gone.glb").write_bytes(b"glTF and no more")
    bring = {"depth": {"from": "depth", "near": "dark"}, "masks": "mask"}
    source = {"objects": str(folder), "views": 3, "size": 32, "bring": bring}
    limits = {"failure_rate": 1}
    return make_recipe(folder, [scenes.TONE], kind="scene", source=source, samples_per_shard=6, limits=limits)


@pytest.mark.parametrize(
    ("make", "step"),
    [
        (of_scenes, 7),
        pytest.param(of_identities, 3, marks=pytest.mark.slow),
        pytest.param(of_scenes, 2, marks=pytest.mark.slow),
    ],
)
def test_a_crash_at_a_change_loses_and_repeats_nothing(make, step, tmp_path, monkeypatch):
    monkeypatch.setattr("os.fsync", lambda descriptor: None)
    recipe = make(tmp_path)
    whole = CrashingStore(str(tmp_path / "whole"))
    summary = run(recipe, whole)
    assert len(dataset(tmp_path / "whole").shards("image")) == 2
    assert "ok" in statuses(tmp_path / "whole", "shards")
    for at in range(1, len(whole.changes) + 1, step):
        out = tmp_path / str(at)
        with pytest.raises(Crash):
            run(recipe, CrashingStore(str(out), at))
        where = f"crash at change {at}, {' '.join(whole.changes[at - 1])}"
        assert damaged(out) == [], where
        before = committed(out)
        assert run(recipe, out).digest == summary.digest, where
        assert packed(out) == packed(tmp_path / "whole"), where
        after = committed(out)
        assert {name: after[name] for name in before} == before, f"{where}: committed work was done again"
        assert strays(out) == [], where
        shutil.rmtree(out)
    assert list(verify(dataset(tmp_path / "whole"), full=True)) == []


KINDS = {"scenes": of_scenes, "identities": of_identities, "objects": of_objects}


@pytest.mark.parametrize("kind", ["scenes", "identities", pytest.param("objects", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("change", "part"),
    [("write", "columns/image/000001.json"), ("publish", "columns/tone/000000"), ("rename", "shards/000001.tar")],
)
def test_a_driver_killed_at_a_write_goes_on(kind, change, part, tmp_path):
    recipe, out = KINDS[kind](tmp_path), tmp_path / "out"
    store = KillingStore(str(out), change, part, str(tmp_path / "marker"))
    drive_to_death({"recipe": recipe.model_dump(mode="json"), "store": store.__reduce__()[1]}, tmp_path)
    assert (tmp_path / "marker").exists()
    assert damaged(out) == []
    before = committed(out)
    digest = run(recipe, out).digest
    after = committed(out)
    assert {name: after[name] for name in before} == before, "committed work was done again"
    assert digest == run(recipe, tmp_path / "whole").digest
    assert packed(out) == packed(tmp_path / "whole")
    assert strays(out) == []


@pytest.mark.parametrize(
    "kind", ["scenes", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("identities", "objects"))]
)
@pytest.mark.parametrize(("change", "part"), [("spool", "image/000001.tar"), ("publish", "columns/image/000001-")])
def test_a_worker_killed_at_a_write_is_replaced(kind, change, part, tmp_path):
    recipe = KINDS[kind](tmp_path)
    store = KillingStore(str(tmp_path / "out"), change, part, str(tmp_path / "marker"), True)
    run(recipe, store, workers=1, only=("image",))
    assert (tmp_path / "marker").exists()
    digest = run(recipe, tmp_path / "out").digest
    assert digest == run(recipe, tmp_path / "whole").digest
    assert packed(tmp_path / "out") == packed(tmp_path / "whole")


POISON = {"name": "sting", "annotators": {"tests.plugins.tone": {}, "tests.plugins.poison": {"cure": "nowhere"}}}


@pytest.mark.parametrize("kind", ["scenes", pytest.param("identities", marks=pytest.mark.slow)])
def test_a_set_that_kills_its_worker_costs_itself_and_comes_back_when_cured(kind, tmp_path):
    if kind == "scenes":
        root = scenes.write(tmp_path / "captures")
        (root / "1K/bbb/caption.json").write_text(json.dumps({"said": "kill"}))
        make = scenes.recipe
    else:
        root = identities.write(tmp_path / "people")
        (root / "bob/2.txt").write_text("kill")
        make = identities.recipe
    stage = {**POISON, "annotators": {**POISON["annotators"], "tests.plugins.poison": {"cure": str(tmp_path / "cure")}}}
    recipe, out = make(root, stage, samples_per_shard=50), tmp_path / "out"
    run(recipe, out, only=("image", "select"))
    run(recipe, out, workers=1)
    assert statuses(out, "poison") == ["ok", "failed crash", "ok"]
    assert statuses(out, "tone") == statuses(out, "shards") == ["ok"] * 3
    (tmp_path / "cure").touch()
    healed = run(recipe, out, retry=Retry("crash"), workers=1)
    assert healed.digest == run(recipe, tmp_path / "never").digest
    assert packed(out) == packed(tmp_path / "never")


def test_an_object_that_kills_whoever_draws_it_costs_itself(tmp_path):
    trimesh = pytest.importorskip("trimesh")
    root, out = tmp_path / "objects", tmp_path / "out"
    root.mkdir()
    for name, height in (("able", 1.0), ("kill", 2.0), ("zebra", 3.0)):
        trimesh.creation.box((1, 2, height)).export(root / f"{name}.glb")
    source = {"tests.plugins.trap_objects": str(root)}
    recipe = make_recipe(root, [], kind="scene", source=source, samples_per_shard=50, limits={"failure_rate": 1})
    run(recipe, out, workers=1)
    assert statuses(out, "image") == ["ok", "failed crash", "ok"]
    assert failures(out, "image") == [("kill.glb", "crash")]
    (root / "kill.glb").unlink()
    run(recipe, tmp_path / "without")
    kept = [row.key for row in rows(out, "image") if row.status == "ok"]
    assert [row.key for row in rows(tmp_path / "without", "image")] == kept
