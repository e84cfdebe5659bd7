"""Plans and cards that are damaged, and what the rest of the dataset makes of them again.

PYTHONPATH=. python -m pytest tests/build/test_repair.py
"""

import hashlib
import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from onegen.audit.verify import verify
from onegen.build.repair import repair
from onegen.config.recipe import Recipe
from onegen.errors import ConfigError, LeaseHeld
from onegen.shards.dataset import CARD, Dataset
from onegen.shards.plan import plan_name
from onegen.storage.lease import lease
from onegen.storage.local import LocalStore
from tests.broken_stores import Crash, CrashingStore
from tests.tiny import dataset, make_recipe, run, write_photos

STAGES = [{"name": "look", "annotators": {"tests.plugins.tone": {}}}]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of the annotators of onegen alone, beside its photos, whose recipe starts from here."""
    root = tmp_path_factory.mktemp("repair")
    write_photos(root / "photos", 7, {1: "a caption"})
    run(recipe(root), root / "out")
    return root


@pytest.fixture
def root(sound: Path, tmp_path: Path) -> Path:
    """A copy to damage; its photos are those of the original."""
    shutil.copytree(sound / "out", tmp_path / "out")
    return tmp_path


def recipe(root: Path, **changes: Any) -> Recipe:
    return make_recipe(
        root / "photos", [{"name": "look", "annotators": {"scores": {}}}], samples_per_shard=3, **changes
    )


def files(out: Path) -> dict[str, str]:
    return {
        str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in out.rglob("*")
        if path.is_file() and path.name != ".lease"
    }


def repaired(root: Path, given: Recipe | None = None) -> list[str]:
    return list(repair(dataset(root / "out"), given))


def change_card(out: Path, **changes: Any) -> None:
    card = json.loads((out / CARD).read_text())
    (out / CARD).write_text(json.dumps({**card, **changes}))


def test_a_sound_dataset_is_left_as_it_is(root: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in (root / "out").rglob("*") if path.name != ".lease"}
    assert repaired(root) == []
    assert {path: path.stat().st_mtime_ns for path in (root / "out").rglob("*") if path.name != ".lease"} == before


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"PAR1"), lambda path: path.touch()])
def test_a_plan_is_made_again_byte_for_byte(root: Path, damage: Callable[[Path], Any]) -> None:
    before = files(root / "out")
    for shard in (0, 2):
        path = root / "out" / plan_name(shard)
        if damage is Path.unlink:
            path.unlink()
        else:
            path.write_bytes(b"")
            damage(path)
    assert repaired(root) == [f"{plan_name(n)}: made again from the source, as it was" for n in (0, 2)]
    assert files(root / "out") == before


def test_any_flip_in_a_plan_is_repaired(root: Path) -> None:
    rng, before = random.Random(1), files(root / "out")
    for _ in range(20):
        path = root / "out" / plan_name(rng.randrange(3))
        data = bytearray(path.read_bytes())
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        path.write_bytes(data)
        assert len(repaired(root)) == 1
        assert files(root / "out") == before


def test_a_plan_whose_source_has_changed_is_not_guessed(sound: Path, root: Path) -> None:
    path, photo = root / "out" / plan_name(0), sound / "photos/00000.png"
    path.write_bytes(b"")
    stat = photo.stat()
    os.utime(photo, ns=(0, 0))
    try:
        assert repaired(root) == []
        assert path.read_bytes() == b""
        assert "build into a new OUT" in str(next(iter(verify(dataset(root / "out")))))
    finally:
        os.utime(photo, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert repaired(root) == [f"{plan_name(0)}: made again from the source, as it was"]


CARDS: dict[str, dict[str, Any]] = {
    "name": {"name": "another"},
    "kind": {"kind": "pair"},
    "no kind": {"kind": "nonsense"},
    "source": {"source": {"folder": "/elsewhere"}},
    "root": {"source_root": "/elsewhere"},
    "state": {"state": "building"},
    "digest": {"digest": "0" * 64},
    "no digest": {"digest": None},
    "no columns": {"columns": {}},
    "columns of another type": {"columns": 5},
    "columns": {"columns": {"image": {"counts": {"rows": 1}, "producer": "nobody"}}},
    "plan": {"plan": {"shards": 9, "items": 9, "digest": "0" * 64}},
    "no plan": {"plan": 5},
    "version": {"schema_version": "one"},
}


@pytest.mark.parametrize("name", CARDS)
def test_a_card_is_made_again_from_recipe_plans_and_manifests(root: Path, name: str) -> None:
    before = json.loads((root / "out" / CARD).read_text())
    change_card(root / "out", **CARDS[name])
    (line,) = repaired(root)
    assert next(iter(CARDS[name])) in line
    after = json.loads((root / "out" / CARD).read_text())
    if name in ("plan", "no plan"):
        # What was passed over, and the types that were pinned, only the card said.
        before["plan"] |= {"passed_over": {}, "provides": None}
    if name == "no digest" or (name == "columns" and after["digest"] is None):
        before |= {"digest": after["digest"], "state": after["state"]}
    assert after == before
    assert list(verify(dataset(root / "out"), full=True)) == []


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"\xff", None])
def test_a_card_that_does_not_read_needs_the_recipe(sound: Path, root: Path, data: bytes | None) -> None:
    before = dataset(root / "out").require_card()
    if data is None:
        (root / "out" / CARD).unlink()
    else:
        (root / "out" / CARD).write_bytes(data)
    with pytest.raises(ConfigError, match="Add --recipe with that recipe"):
        repaired(root)
    (line,) = repaired(root, recipe(sound))
    assert line.endswith("run `onegen build` to finish it")
    assert list(verify(dataset(root / "out"), full=True)) == []
    assert run(recipe(sound), root / "out").digest == before.digest
    after = dataset(root / "out").require_card()
    assert (after.columns, after.plan.digest, after.recipe_digest) == (
        before.columns, before.plan.digest, before.recipe_digest,
    )  # fmt: skip


def test_a_recipe_that_does_not_prove_itself_is_not_taken(sound: Path, root: Path) -> None:
    card = json.loads((root / "out" / CARD).read_text())
    change_card(root / "out", recipe={**card["recipe"], "samples_per_shard": 5})
    with pytest.raises(ConfigError, match="must say which recipe"):
        repaired(root)
    (line,) = repaired(root, recipe(sound))
    assert "recipe" in line
    assert json.loads((root / "out" / CARD).read_text()) == card


def test_a_stranger_s_recipe_imports_nothing(tmp_path: Path) -> None:
    write_photos(tmp_path / "photos", 2)
    run(make_recipe(tmp_path / "photos", STAGES), tmp_path / "out")
    change_card(tmp_path / "out", name="another")
    with pytest.raises(ConfigError, match="names modules outside onegen"):
        repaired(tmp_path)


def test_a_folder_that_is_no_dataset_is_left_alone(sound: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(ConfigError, match="must hold a dataset"):
        repaired(tmp_path, recipe(sound))
    assert list((tmp_path / "out").iterdir()) == []


def test_a_dataset_that_is_being_built_is_left_alone(root: Path) -> None:
    (root / "out" / plan_name(0)).unlink()
    with lease(LocalStore(str(root / "out"))), pytest.raises(LeaseHeld):
        repaired(root)
    assert not (root / "out" / plan_name(0)).exists()


def test_a_relative_source_whose_folder_is_not_here_is_not_guessed(tmp_path: Path, monkeypatch: Any) -> None:
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    elsewhere.mkdir()
    write_photos(home / "photos", 2)
    monkeypatch.chdir(home)
    run(recipe(Path()), tmp_path / "out")
    home.rename(tmp_path / "moved")
    monkeypatch.chdir(elsewhere)
    before = files(tmp_path / "out")
    assert repaired(tmp_path) == []
    assert files(tmp_path / "out") == before
    (tmp_path / "out" / plan_name(0)).unlink()
    assert repaired(tmp_path) == []


def test_a_plan_beside_a_damaged_index_waits_for_it(root: Path) -> None:
    before = files(root / "out")
    (index,) = (root / "out/columns/image").glob("000001-*.parquet")
    data = index.read_bytes()
    index.write_bytes(b"PAR1")
    for shard in (0, 1):
        (root / "out" / plan_name(shard)).unlink()
    assert repaired(root) == [f"{plan_name(0)}: made again from the source, as it was"]
    index.write_bytes(data)
    assert repaired(root) == [f"{plan_name(1)}: made again from the source, as it was"]
    assert files(root / "out") == before


@pytest.mark.parametrize("shard", [0, 1, 2])
def test_a_plan_that_is_lost_for_good_takes_nothing_along(sound: Path, root: Path, shard: int) -> None:
    (root / "out" / plan_name(shard)).unlink()
    before = files(root / "out")
    (sound / "photos").rename(sound / "unmounted")
    try:
        assert repaired(root) == []
    finally:
        (sound / "unmounted").rename(sound / "photos")
    assert files(root / "out") == before


def test_plans_that_nothing_was_made_from_are_proved_by_the_card_alone(tmp_path: Path) -> None:
    write_photos(tmp_path / "photos", 7)
    run(recipe(tmp_path), tmp_path / "out")
    for manifest in (tmp_path / "out").rglob("000002.json"):
        manifest.unlink()
    change_card(tmp_path / "out", name="another")
    assert len(repaired(tmp_path)) == 1
    (tmp_path / "out" / plan_name(2)).unlink()
    before = files(tmp_path / "out")
    assert repaired(tmp_path) == []
    assert files(tmp_path / "out") == before


def test_a_repair_that_is_killed_is_done_again(root: Path) -> None:
    before = files(root / "out")
    for at in (1, 2):
        (root / "out" / plan_name(1)).unlink()
        change_card(root / "out", name="another")
        with pytest.raises(Crash):
            list(repair(Dataset(CrashingStore(str(root / "out"), at))))
        assert len(repaired(root)) == 3 - at
        assert files(root / "out") == before
