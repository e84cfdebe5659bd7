"""Whatever stops a build, wherever: the same command again ends with the bytes of a build that was never stopped."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from onegen.build.build import Summary
from onegen.config.recipe import Recipe
from tests.broken_stores import Crash, CrashingStore, KillingStore
from tests.calls import count_calls
from tests.tiny import (
    committed,
    damaged,
    dataset,
    encoded,
    make_recipe,
    manifest_json,
    packed,
    picture,
    run,
    strays,
    write_photos,
)

SHARDS = 3
COLUMNS = ("image", "select", "tone", "echo")


@dataclass(frozen=True)
class Undisturbed:
    """A build that nothing stopped, and what it was made from."""

    out: Path
    recipe: Recipe
    calls: Path
    summary: Summary
    changes: tuple[tuple[str, str], ...]

    def computed(self, column: str, shard: int) -> int:
        """Return how many rows of a shard were computed."""
        return int(manifest_json(self.out, column, shard)["run"]["computed"])


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """3 shards of 8 images: failed, filtered, duplicate and skipped rows; a part, values, a `where`; packed."""
    root = tmp_path_factory.mktemp("crash")
    photos = write_photos(root / "photos", 24)
    photos[3].write_text("no image")
    photos[9].write_bytes(encoded(picture(9, (5, 5))))
    shutil.copy(photos[4], photos[20])
    calls = root / "calls"
    stages = [
        {"name": "look", "annotators": {"tests.plugins.tone": {"calls": str(calls)}}, "batch_size": 3},
        {"name": "again", "annotators": {"tests.plugins.echo": {"calls": str(calls)}}, "where": "tone.mean > 128"},
    ]
    recipe = make_recipe(root / "photos", stages, image={"min_side": 8})
    store = CrashingStore(str(root / "out"))
    summary = run(recipe, store)
    return Undisturbed(root / "out", recipe, calls, summary, tuple(store.changes))


def test_the_undisturbed_build_has_rows_of_every_kind(undisturbed: Undisturbed) -> None:
    found = undisturbed.summary.counts
    assert found["image"].model_dump() == {"rows": 24, "ok": 22, "skipped": 0, "filtered": 1, "failed": 1}
    assert found["select"].model_dump() == {"rows": 24, "ok": 21, "skipped": 2, "filtered": 1, "failed": 0}
    assert found["tone"].ok == 21
    assert 0 < found["echo"].ok < 21
    assert set(Counter(kind for kind, _ in undisturbed.changes)) == {"write", "spool", "publish", "rename", "delete"}
    assert strays(undisturbed.out) == []


def test_a_crash_at_every_change_loses_and_repeats_nothing(
    undisturbed: Undisturbed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # An exception is no power cut: waiting for the disk thousands of times would prove nothing here.
    monkeypatch.setattr("os.fsync", lambda descriptor: None)
    for at in range(1, len(undisturbed.changes) + 1):
        out = tmp_path / str(at)
        with pytest.raises(Crash):
            run(undisturbed.recipe, CrashingStore(str(out), at))
        where = f"crash at change {at}, {' '.join(undisturbed.changes[at - 1])}"
        assert damaged(out) == [], where
        before = committed(out)
        undisturbed.calls.unlink(missing_ok=True)
        summary = run(undisturbed.recipe, out)
        assert summary.digest == undisturbed.summary.digest, where
        assert packed(out) == packed(undisturbed.out), where
        after = committed(out)
        assert {name: after[name] for name in before} == before, f"{where}: committed work was done again"
        expected = {
            column: sum(
                undisturbed.computed(column, shard)
                for shard in range(SHARDS)
                if f"columns/{column}/{shard:06d}.json" not in before
            )
            for column in ("tone", "echo")
        }
        assert count_calls(undisturbed.calls) == +Counter(expected), where
        assert strays(out) == [], where
        shutil.rmtree(out)


@pytest.mark.slow
def test_a_crash_at_every_other_change_of_a_recompute_leaves_whole_shards_and_goes_on(
    undisturbed: Undisturbed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Replacing is where a manifest could name bytes that are not there: files go, and plain names change hands."""
    monkeypatch.setattr("os.fsync", lambda descriptor: None)
    plain = undisturbed.recipe.model_dump(mode="json")
    plain["stages"][0]["annotators"]["tests.plugins.tone"]["gain"] = 2.0
    recipe = Recipe.model_validate(plain)
    fresh = run(recipe, tmp_path / "fresh")
    shutil.copytree(undisturbed.out, tmp_path / "0")
    whole = CrashingStore(str(tmp_path / "0"))
    assert run(recipe, whole, recompute=("tone",)) == fresh
    assert {kind for kind, _ in whole.changes} == {"write", "spool", "publish", "rename", "delete"}
    for at in range(1, len(whole.changes) + 1, 2):
        out = tmp_path / str(at)
        shutil.copytree(undisturbed.out, out)
        with pytest.raises(Crash):
            run(recipe, CrashingStore(str(out), at), recompute=("tone",))
        where = f"crash at change {at}, {' '.join(whole.changes[at - 1])}"
        assert damaged(out) == [], where
        assert run(recipe, out, recompute=("tone",)) == fresh, where
        assert packed(out) == packed(tmp_path / "fresh"), where
        assert strays(out) == [], where
        shutil.rmtree(out)


def test_a_finished_build_is_left_alone(undisturbed: Undisturbed, tmp_path: Path) -> None:
    shutil.copytree(undisturbed.out, tmp_path / "out")
    before = committed(tmp_path / "out")
    store = CrashingStore(str(tmp_path / "out"))
    undisturbed.calls.unlink(missing_ok=True)
    assert run(undisturbed.recipe, store) == undisturbed.summary
    assert committed(tmp_path / "out") == before
    assert {name for _, name in store.changes} == {"dataset.json"}
    assert not undisturbed.calls.exists()


def drive_to_death(orders: dict[str, Any], tmp_path: Path) -> None:
    """Run a build that kills itself, with a folder of its own for the temporary files it cannot delete."""
    (tmp_path / "temporary").mkdir()
    environment = {**os.environ, "TMPDIR": str(tmp_path / "temporary")}
    ended = subprocess.run([sys.executable, "-m", "tests.driver"], input=json.dumps(orders), text=True, env=environment)
    assert ended.returncode == -signal.SIGKILL


DRIVER_POINTS = [
    ("write", "plan/000001"),
    ("write", "columns/tone/000001.json"),
    ("spool", "columns/image/000001.tar"),
    ("publish", "columns/tone/000001"),
    ("rename", "shards/000001.tar"),
    ("rename", "shards/000001.parquet"),
    ("delete", "shards/000001.json"),
    ("append", "log/commits"),
]


@pytest.mark.parametrize(("kind", "part"), DRIVER_POINTS)
def test_a_driver_killed_at_each_kind_of_change_goes_on(
    undisturbed: Undisturbed, tmp_path: Path, kind: str, part: str
) -> None:
    store = KillingStore(str(tmp_path / "out"), kind, part, str(tmp_path / "marker"))
    orders = {"recipe": undisturbed.recipe.model_dump(mode="json"), "store": store.__reduce__()[1], "ears": "log"}
    drive_to_death(orders, tmp_path)
    assert (tmp_path / "marker").exists()
    before = committed(tmp_path / "out")
    summary = run(undisturbed.recipe, tmp_path / "out")
    assert summary.digest == undisturbed.summary.digest
    assert packed(tmp_path / "out") == packed(undisturbed.out)
    after = committed(tmp_path / "out")
    assert {name: after[name] for name in before} == before
    assert [name for name in strays(tmp_path / "out") if not name.startswith("log/")] == []


def test_a_driver_killed_while_it_deletes_a_replaced_file_goes_on(undisturbed: Undisturbed, tmp_path: Path) -> None:
    """Replacing a shard deletes what only its predecessor named; the predecessor here is a shard with a failure."""
    out = tmp_path / "out"
    shutil.copytree(undisturbed.out, out)
    store = KillingStore(str(out), "delete", "columns/image/000000", str(tmp_path / "marker"))
    orders = {
        "recipe": undisturbed.recipe.model_copy(
            update={"image": undisturbed.recipe.image.model_copy(update={"min_side": 1})}
        ).model_dump(mode="json"),
        "store": [*store.__reduce__()[1][:2], "columns/image/000001", *store.__reduce__()[1][3:]],
        "options": {"recompute": ["image"]},
    }
    drive_to_death(orders, tmp_path)
    recipe = Recipe.model_validate(orders["recipe"])
    summary = run(recipe, out, recompute=("image",))
    fresh = run(recipe, tmp_path / "fresh")
    assert summary.digest == fresh.digest
    assert packed(out) == packed(tmp_path / "fresh")
    assert strays(out) == []


@pytest.mark.parametrize(
    ("kind", "part"),
    [("spool", "tone/000001.tar"), ("spool", "tone/000001.parquet"), ("publish", ".tar"), ("publish", ".parquet")],
)
def test_a_worker_killed_at_each_kind_of_change_is_replaced(
    undisturbed: Undisturbed, tmp_path: Path, kind: str, part: str
) -> None:
    out = tmp_path / "out"
    shutil.copytree(undisturbed.out, out)
    for column in ("tone", "echo"):
        shutil.rmtree(out / "columns" / column)
    store = KillingStore(str(out), kind, f"tone/000001{part}" if "/" not in part else part, str(tmp_path / "m"), True)
    if "/" not in part:
        store.part = "columns/tone/000001-"
    summary = run(undisturbed.recipe, store, workers=1, only=("look",))
    assert (tmp_path / "m").exists()
    assert dataset(out).digest(("image", "select", "tone")) == dataset(undisturbed.out).digest(
        ("image", "select", "tone")
    )
    assert summary.counts["tone"] == undisturbed.summary.counts["tone"]
