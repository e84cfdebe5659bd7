"""What a change of recipe, source or verdict makes a build do again, and what it must ask for first."""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from onegen.config.recipe import Recipe
from onegen.errors import ConfigError
from onegen.executor.contract import Retry
from onegen.shards.manifest import Counts, Manifest
from tests.broken_stores import Crash, CrashingStore
from tests.calls import count_calls
from tests.tiny import (
    Ears,
    column_files,
    committed,
    dataset,
    encoded,
    failures,
    make_recipe,
    packed,
    picture,
    rows,
    run,
    statuses,
    strays,
    write_photos,
)

COUNT = 24
LOUD = 9
WHERE = "tone.mean > 128"


@dataclass
class Scene:
    """A built dataset of one's own, and the recipes that change it."""

    root: Path
    out: Path

    def recipe(self, stages: str = "look again", tone: Any = None, where: str | None = WHERE, **changes: Any) -> Recipe:
        calls = str(self.root / "calls")
        known = {
            "look": {"name": "look", "annotators": {"tests.plugins.tone": {"calls": calls, **(tone or {})}}},
            "again": {"name": "again", "annotators": {"tests.plugins.echo": {"calls": calls}}, "where": where},
        }
        return make_recipe(self.root / "photos", [known[name] for name in stages.split()], **changes)

    def calls(self) -> dict[str, int]:
        """Return how many items each annotator was given since this was last asked."""
        found = dict(count_calls(self.root / "calls"))
        (self.root / "calls").unlink(missing_ok=True)
        return found

    def fresh(self, recipe: Recipe) -> Path:
        """Build a recipe from nothing."""
        out = self.root / "fresh"
        run(recipe, out)
        self.calls()
        return out

    def is_like(self, recipe: Recipe) -> bool:
        """Say whether the dataset is what the recipe makes from nothing, packed bytes and all."""
        fresh = self.fresh(recipe)
        assert strays(self.out) == []
        return dataset(self.out).digest() == dataset(fresh).digest() and packed(self.out) == packed(fresh)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("columns")
    scene = Scene(root, root / "out")
    write_photos(root / "photos", COUNT, {LOUD: "hello", 10: "a cat"})
    run(scene.recipe(), root / "out")
    return root


@pytest.fixture
def scene(built: Path) -> Scene:
    """The built dataset anew: photos and log stay where the recipe says, so only one test uses them at a time."""
    scene = Scene(built, built / "copy")
    for folder in ("copy", "fresh"):
        shutil.rmtree(built / folder, ignore_errors=True)
    shutil.copytree(built / "out", built / "copy")
    scene.calls()
    return scene


def change_photo(scene: Scene, number: int, data: bytes) -> Callable[[], None]:
    """Write other bytes into a photo and return what puts the planned ones back, size and time and all."""
    (path,) = (scene.root / "photos").glob(f"{number:05d}.[pj]*")
    before, state = path.read_bytes(), path.stat()
    path.write_bytes(data)

    def put_back() -> None:
        path.write_bytes(before)
        os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))

    return put_back


def test_a_new_column_leaves_all_others_alone(scene: Scene) -> None:
    shutil.rmtree(scene.out)
    run(scene.recipe("look"), scene.out)
    before = {column: column_files(scene.out, column) for column in ("image", "select", "tone")}
    manifests = {name: state for name, state in committed(scene.out).items() if name.startswith("columns")}
    assert scene.calls() == {"tone": COUNT}
    run(scene.recipe(), scene.out)
    assert {column: column_files(scene.out, column) for column in before} == before
    assert {name: committed(scene.out)[name] for name in manifests} == manifests
    assert scene.calls() == {"echo": sum(row.status == "ok" for row in rows(scene.out, "echo"))}
    assert scene.is_like(scene.recipe())


def test_a_changed_option_is_named_and_nothing_is_touched(scene: Scene) -> None:
    before = {path: path.read_bytes() for path in scene.out.rglob("*") if path.is_file() and path.name != ".lease"}
    with pytest.raises(ConfigError) as refused:
        run(scene.recipe(tone={"gain": 2.0}, image={"max_side": 32}), scene.out)
    message = str(refused.value)
    assert "tone: options.gain: 1.0 -> 2.0 (3 shard(s))" in message
    assert "image: options.max_side: 1024 -> 32 (3 shard(s))" in message
    assert "--recompute tone" in message
    assert {path: path.read_bytes() for path in before} == before
    assert scene.calls() == {}


def test_recompute_goes_on_and_what_is_made_from_it_follows(scene: Scene) -> None:
    ears = Ears()
    recipe = scene.recipe(tone={"gain": 2.0})
    images = column_files(scene.out, "image")
    run(recipe, scene.out, ears, recompute=("tone",))
    assert any("recompute tone; echo follows" in note for note in ears.notes)
    assert scene.calls() == {"tone": COUNT, "echo": sum(row.status == "ok" for row in rows(scene.out, "echo"))}
    assert column_files(scene.out, "image") == images
    assert scene.is_like(recipe)


def test_only_rows_whose_inputs_changed_follow(scene: Scene) -> None:
    recipe = scene.recipe(tone={"loud": "hello"}, where=None)
    shutil.rmtree(scene.out)
    run(scene.recipe(where=None), scene.out)
    scene.calls()
    run(recipe, scene.out, recompute=("look",))
    assert scene.calls() == {"tone": COUNT, "echo": 1}
    assert scene.is_like(recipe)


def test_a_recompute_that_was_stopped_goes_on_where_it_stopped(scene: Scene) -> None:
    recipe = scene.recipe(tone={"gain": 2.0})
    store = CrashingStore(str(scene.out))
    store.at = 1 + 2 * 7 + 3  # the card, two shards of tone with the files they replace, and into the third
    with pytest.raises(Crash):
        run(recipe, store, recompute=("tone",))
    half = committed(scene.out)
    scene.calls()
    with pytest.raises(ConfigError, match=r"tone: options\.gain: 1\.0 -> 2\.0 \(1 shard\(s\)\)"):
        run(recipe, scene.out)
    run(recipe, scene.out, recompute=("tone",))
    assert scene.calls()["tone"] == COUNT // 3
    done = [f"columns/tone/{shard:06d}.json" for shard in (0, 1)]
    assert {name: committed(scene.out)[name] for name in done} == {name: half[name] for name in done}
    assert scene.is_like(recipe)


def test_recompute_of_what_did_not_change_makes_it_again(scene: Scene) -> None:
    before = dataset(scene.out).digest(), packed(scene.out)
    ears = Ears()
    run(scene.recipe(), scene.out, ears, recompute=("tone", "pack"))
    assert scene.calls() == {"tone": COUNT}
    assert {step: shards - done for step, (shards, done) in ears.begun.items() if shards != done} == {
        "look": 3,
        "pack": 3,
    }
    assert (dataset(scene.out).digest(), packed(scene.out)) == before


def test_a_source_that_changed_after_the_plan_fails_by_name_and_can_be_retried(scene: Scene) -> None:
    photos = scene.root / "photos"
    shutil.rmtree(scene.out)
    undo: list[Callable[[], None]] = []

    class Meddler(Ears):
        def note(self, text: str) -> None:
            if text.startswith("planned"):
                undo.append(change_photo(scene, 2, encoded(picture(99))))
                undo.append(change_photo(scene, 11, b""))
                (photos / "00011.jpg").unlink()
                (photos / "00001a.png").write_bytes(encoded(picture(100)))

    run(scene.recipe(), scene.out, Meddler())
    assert failures(scene.out, "image") == [("00002.png", "source_changed"), ("00011.jpg", "source_gone")]
    gone = rows(scene.out, "image")[11]
    assert (gone.key, gone.values["sha256"]) == (None, None)
    assert statuses(scene.out, "tone")[11] == "skipped image:failed"
    assert len(rows(scene.out, "image")) == COUNT
    for put_back in undo:
        put_back()
    (photos / "00001a.png").unlink()
    scene.calls()
    again = Ears()
    run(scene.recipe(), scene.out, again)
    assert again.commits == []
    run(scene.recipe(), scene.out, retry=Retry("source_*"))
    assert scene.calls()["tone"] == 2
    assert scene.is_like(scene.recipe())


def test_a_source_that_changes_once_it_is_ingested_changes_nothing(scene: Scene) -> None:
    put_back = change_photo(scene, 2, encoded(picture(99)))
    ears = Ears()
    run(scene.recipe(), scene.out, ears)
    put_back()
    assert ears.commits == []


def test_a_changed_verdict_of_select_refreshes_what_follows_without_leave(scene: Scene) -> None:
    """A near duplicate is dropped and comes back: only its own rows are made again, the second time."""
    (scene.root / "photos" / "00099.png").write_bytes(encoded(picture(4) // 2 + 60))
    near = scene.recipe(select={"near_duplicates": {"distance": 8}})
    try:
        shutil.rmtree(scene.out)
        run(scene.recipe(where=None), scene.out)
        scene.calls()
        with pytest.raises(ConfigError, match=r"select: options\.near_duplicates: None -> \{'distance': 8\}"):
            run(near, scene.out)
        near = scene.recipe(select={"near_duplicates": {"distance": 8}}, where=None)
        run(near, scene.out, recompute=("select",))
        assert scene.calls() == {}
        assert statuses(scene.out, "select")[COUNT] == "filtered near_duplicate"
        assert rows(scene.out, "select")[COUNT].values["duplicate_of"] == rows(scene.out, "image")[4].key
        assert statuses(scene.out, "tone")[COUNT] == "skipped select:filtered"
        assert scene.is_like(near)
        run(scene.recipe(where=None), scene.out, recompute=("select",))
        assert scene.calls() == {"tone": 1, "echo": 1}
    finally:
        (scene.root / "photos" / "00099.png").unlink()


def test_a_where_that_lets_fewer_pass_needs_leave(scene: Scene) -> None:
    means = sorted(row.values["mean"] for row in rows(scene.out, "tone") if row.values["mean"] > 128)
    narrow = scene.recipe(where=f"tone.mean > {means[len(means) // 2]}")
    before = committed(scene.out)
    with pytest.raises(ConfigError, match=r"echo: inputs changed in \d shard.*--recompute echo"):
        run(narrow, scene.out)
    assert committed(scene.out) == before
    run(narrow, scene.out, recompute=("echo",))
    assert scene.calls() == {}
    assert scene.is_like(narrow)


@pytest.mark.parametrize("where", ["tone.mean > 100", None])
def test_a_where_that_lets_more_pass_computes_what_is_new(scene: Scene, where: str | None) -> None:
    wide = scene.recipe(where=where)
    before = sum(row.status == "ok" for row in rows(scene.out, "echo"))
    run(wide, scene.out)
    after = sum(row.status == "ok" for row in rows(scene.out, "echo"))
    assert after > before
    assert scene.calls() == {"echo": after - before}
    assert scene.is_like(wide)


def test_only_one_stage_needs_what_it_is_made_from(scene: Scene) -> None:
    shutil.rmtree(scene.out)
    with pytest.raises(ConfigError, match="column 'image' must be made before what is made from it"):
        run(scene.recipe(), scene.out, only=("look",))
    run(scene.recipe(), scene.out, only=("image", "select", "tone"))
    card = dataset(scene.out).require_card()
    assert (card.state, card.digest) == ("building", None)
    assert set(dataset(scene.out).columns()) == {"image", "select", "tone"}
    summary = run(scene.recipe(), scene.out)
    card = dataset(scene.out).require_card()
    assert (card.state, card.digest) == ("complete", summary.digest)


def test_rows_in_equal_rows_out_at_every_commit(scene: Scene) -> None:
    (scene.root / "photos" / "broken.jpg").write_text("no image")
    (scene.root / "photos" / "small.png").write_bytes(encoded(picture(7, (5, 5))))
    shutil.copy(scene.root / "photos" / "00003.jpg", scene.root / "photos" / "twice.jpg")
    shutil.rmtree(scene.out)
    planned = [8, 8, 8, 3]
    seen: list[str] = []

    class Auditor(Ears):
        def committed(self, step: str, manifest: Manifest) -> None:
            found = dataset(scene.out).rows(manifest)
            counts = manifest.counts
            assert counts.rows == planned[manifest.shard] == len(found)
            assert counts.rows == counts.ok + counts.skipped + counts.filtered + counts.failed
            for status in ("ok", "skipped", "filtered", "failed"):
                assert getattr(counts, status) == sum(row.status == status for row in found)
            assert [row.position for row in found] == list(range(counts.rows))
            assert [f.position for f in manifest.run.failures] == [
                row.position for row in found if row.status == "failed"
            ] or manifest.column == "shards"
            seen.append(manifest.column)

    try:
        summary = run(scene.recipe(image={"min_side": 8}), scene.out, Auditor())
    finally:
        for name in ("broken.jpg", "small.png", "twice.jpg"):
            (scene.root / "photos" / name).unlink()
    assert sorted(seen) == sorted(["image", "select", "tone", "echo", "shards"] * 4)
    assert summary.counts["image"] == Counts(rows=27, ok=25, filtered=1, failed=1)
    assert summary.counts["select"] == Counts(rows=27, ok=24, skipped=2, filtered=1)
    assert summary.packed == Counts(rows=27, ok=24, filtered=2, failed=1)


def test_counts_that_do_not_balance_are_refused(scene: Scene) -> None:
    with pytest.raises(ValueError, match="rows in must equal"):
        Counts(rows=3, ok=1, failed=1)
    name = scene.out / "columns" / "tone" / "000001.json"
    name.write_text(name.read_text().replace('"ok": 8', '"ok": 7'))
    with pytest.raises(
        ConfigError, match=r"tone/000001.json is not a manifest[\s\S]*rows in must equal[\s\S]*Delete it"
    ):
        run(scene.recipe(), scene.out)
    name.unlink()
    run(scene.recipe(), scene.out)
    assert scene.calls() == {"tone": 8}
    assert scene.is_like(scene.recipe())
