"""Whole builds whose sources bring columns along with their images.

PYTHONPATH=. python -m pytest tests/end_to_end/test_bring.py
"""

import contextlib
import json
import shutil
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onegen.audit.show import show
from onegen.audit.verify import verify
from onegen.build.dry_run import describe
from onegen.build.work import Options
from onegen.config.recipe import Recipe
from onegen.errors import ConfigError
from onegen.executor.contract import Retry
from onegen.pixels.boxes import box_of
from onegen.pixels.codec import decode_image, decode_part
from onegen.sample import IMAGE
from onegen.shards.column import ColumnReader
from onegen.storage.local import LocalStore
from tests.broken_stores import Crash, CrashingStore, KillingStore
from tests.brought import COLUMNS, COUNT, ENTRIES, MAX_SIDE, SCENES, WRITE, Scene, png_of, write_folder, write_table
from tests.exports import tar_bytes, write_rows
from tests.tiny import (
    column_files,
    committed,
    damaged,
    dataset,
    failures,
    make_recipe,
    packed,
    rows,
    run,
    statuses,
    strays,
)

ENCODINGS = {"depth": "gray16", "masks": "index", "segmentation": "index"}


def recipe(source: dict[str, Any], stages: list[dict[str, Any]] | None = None, **changes: Any) -> Recipe:
    return make_recipe(
        Path(), stages or [], source=source, samples_per_shard=4, image={"max_side": MAX_SIDE}, **changes
    )


def parts(out: Path, column: str) -> list[Any]:
    """Return the only part of each row of a column, decoded; None for a row that is not ok."""
    made = dataset(out)
    found: list[Any] = []
    for manifest in made.manifests(column):
        with contextlib.closing(ColumnReader(made, manifest)) as reader:
            for row in reader.rows:
                data = reader.part(row.parts[0]) if row.status == "ok" else None
                found.append(None if data is None else _decoded(column, data))
    return found


def _decoded(column: str, data: bytes) -> np.ndarray:
    return decode_image(data) if column == IMAGE else np.asarray(decode_part(data, ENCODINGS[column]))


@pytest.fixture(scope="module", params=WRITE)
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Recipe]:
    root = tmp_path_factory.mktemp(request.param)
    made = recipe(WRITE[request.param](root / "in"))
    run(made, root / "out")
    return root / "out", made


def test_what_is_brought_lies_on_the_stored_image(built: tuple[Path, Recipe]) -> None:
    out, _ = built
    for column in (IMAGE, *COLUMNS):
        assert statuses(out, column) == ["ok"] * COUNT, column
    people, objects = rows(out, "pose"), rows(out, "detection")
    for number, (image, depth, masks) in enumerate(
        zip(*(parts(out, c) for c in (IMAGE, "depth", "masks")), strict=True)
    ):
        assert max(image.shape) <= MAX_SIDE
        assert depth.shape == masks.shape == image.shape[:2]
        red = (image[:, :, 0].astype(int) - image[:, :, 1]) > 100
        assert (red != (masks == 1)).mean() < 0.03
        assert (red != (depth == 65_535)).mean() < 0.03
        assert set(np.unique(masks)) == {0, 1}
        assert set(np.unique(depth)) == {0, 65_535}
        (thing,), (person,) = objects[number].values["objects"], people[number].values["people"]
        across, down = np.flatnonzero(masks.any(axis=0)), np.flatnonzero(masks.any(axis=1))
        edges = across[0], down[0], across[-1] + 1, down[-1] + 1
        assert np.abs(np.subtract(box_of(thing), edges)).max() <= 1.0
        assert box_of(person) == box_of(thing)
        points = np.reshape(person["keypoints"], (17, 3))
        assert sorted(points[:2, 0]) == [thing["x0"], thing["x1"]]
        assert sorted(points[:2, 1]) == [thing["y0"], thing["y1"]]
        assert points[:3, 2].tolist() == [1.0, 0.5, 0.0]


def test_it_is_stored_as_an_annotator_stores_it(built: tuple[Path, Recipe]) -> None:
    out, made = built
    (thing,) = rows(out, "detection")[0].values["objects"]
    assert (thing["label"], thing["score"], thing["x0"]) == ("person", 0.75, 6.0)
    assert rows(out, "detection")[0].values["num_people"] == 1
    assert rows(out, "depth")[0].values == {"minimum": 1000.0, "maximum": 60000.0}
    areas = rows(out, "masks")[0].values["areas"]
    assert areas == [pytest.approx(rows(out, "masks")[0].values["coverage"])]
    assert [row.values["caption"] for row in rows(out, "caption_human")] == [
        f"a red thing number {number}" for number in range(COUNT)
    ]
    assert rows(out, "caption_human")[3].values["original"] == SCENES[3].words
    assert rows(out, IMAGE)[3].values["licence"] == "CC0-1.0"
    (name,) = set(made.source) & {"folder", "webdataset", "parquet"}
    assert {dataset(out).manifest(column, 0).producer.label() for column in COLUMNS} == {f"{name}@1"}
    with tarfile.open(out / "shards/000000.tar") as tar:
        key = rows(out, IMAGE)[0].key
        names = {name for name in tar.getnames() if name.startswith(key)}
        assert names == {f"{key}.png", f"{key}.depth.png", f"{key}.masks.png", f"{key}.json"}
        about = json.load(tar.extractfile(f"{key}.json"))
    assert about["annotations"]["detection"]["num_objects"] == 1


def test_it_is_shown_and_told(built: tuple[Path, Recipe]) -> None:
    out, made = built
    assert show(dataset(out)).width > 0
    told = describe(made, LocalStore(str(out)), Options())
    assert f"source: {COUNT // 4} of {COUNT // 4} shards done" in told
    fresh = describe(made, LocalStore(str(out.parent / "none")), Options())
    assert "source: depth, masks, detection, pose, caption_human" in fresh


def test_a_build_proves_itself_and_is_the_same_on_workers(built: tuple[Path, Recipe], tmp_path: Path) -> None:
    out, made = built
    assert list(verify(dataset(out), full=True)) == []
    assert strays(out) == []
    assert run(made, tmp_path / "two", workers=2).digest == dataset(out).digest()
    assert packed(tmp_path / "two") == packed(out)


def test_columns_may_be_brought_later_without_touching_the_images(built: tuple[Path, Recipe], tmp_path: Path) -> None:
    out, made = built
    later = tmp_path / "later"
    # The maps beside the photos of a folder would be photos themselves.
    maps = {name: made.source["bring"][name] for name in ("depth", "masks")}
    run(made.model_copy(update={"source": {**made.source, "bring": maps}}), later)
    images = column_files(later, IMAGE)
    assert run(made, later).digest == dataset(out).digest()
    assert column_files(later, IMAGE) == images
    bare = tmp_path / "bare"
    if "folder" not in made.source:
        run(made.model_copy(update={"source": {**made.source, "bring": {}}}), bare)
        assert run(made, bare).digest == dataset(out).digest()


def test_a_changed_entry_is_named_and_recomputed_alone(built: tuple[Path, Recipe], tmp_path: Path) -> None:
    out, made = built
    copy = tmp_path / "copy"
    shutil.copytree(out, copy)
    before = {column: column_files(copy, column) for column in (IMAGE, "masks", "detection")}
    place = made.source["bring"]["depth"]
    entries = {**made.source["bring"], "depth": {"from": place, "near": "dark"}}
    changed = made.model_copy(update={"source": {**made.source, "bring": entries}})
    with pytest.raises(ConfigError, match=r"depth: options.near: 'bright' -> 'dark'.*--recompute depth"):
        run(changed, copy)
    run(changed, copy, recompute=("depth",))
    assert {column: column_files(copy, column) for column in before} == before
    assert rows(copy, "depth")[0].values == {"minimum": 1.66667e-05, "maximum": 0.001}
    assert parts(copy, "depth")[0].max() == 65_535


def maps_and(**entries: Any) -> dict[str, Any]:
    """Return entries beside those of the maps, which would be photos of their own if nothing brought them."""
    return {"depth": ENTRIES["depth"], "masks": ENTRIES["masks"], **entries}


def odd(root: Path) -> dict[str, Any]:
    """Write scenes of which the first have something amiss, each in one column."""
    source = write_folder(root)
    (root / "000.depth.png").write_bytes(png_of(np.zeros((7, 9), np.uint16)))
    (root / "001.depth.png").write_bytes(png_of(np.zeros((*SCENES[1].size, 3), np.uint8)))
    (root / "002.depth.png").unlink()
    (root / "003.depth.png").write_bytes(b"no picture")
    (root / "004.seg.png").write_bytes(SCENES[4].photo)
    (root / "005.json").write_text(json.dumps({**SCENES[5].about, "objects": [{**SCENES[5].objects[0], "x0": None}]}))
    about = json.dumps({**SCENES[6].about, "objects": [{**SCENES[6].objects[0], "x1": float("nan")}]})
    (root / "006.json").write_text(about)
    (root / "007.json").write_text(json.dumps({"objects": [{**SCENES[7].objects[0], "x1": 900}]}))
    (root / "008.txt").unlink()
    (root / "009.jpg").write_bytes(b"no picture")
    return source


def test_a_bad_one_fails_its_row_of_its_column_alone(tmp_path: Path) -> None:
    made, out = recipe(odd(tmp_path / "in")), tmp_path / "out"
    summary = run(made, out)
    torn, rest = "skipped image:failed", ["ok"] * 4
    assert statuses(out, "depth") == [
        "failed brought_size", "failed brought_pixels", "filtered absent", "failed not_an_image", *["ok"] * 5,
        torn, "ok", "ok",
    ]  # fmt: skip
    assert statuses(out, "masks") == [*rest, "failed brought_pixels", *rest, torn, "ok", "ok"]
    assert statuses(out, "detection") == [
        *["ok"] * 5, *["failed brought_box"] * 3, "ok", torn, "ok", "ok",
    ]  # fmt: skip
    assert statuses(out, "pose")[5:8] == ["ok", "ok", "filtered absent"]
    assert statuses(out, "caption_human")[7:10] == ["ok", "filtered absent", torn]
    assert summary.packed.ok == COUNT - 1
    assert failures(out, "depth") == [
        ("000.png", "brought_size"), ("001.jpg", "brought_pixels"), ("003.jpg", "not_an_image"),
    ]  # fmt: skip
    (failure,) = [
        f for m in dataset(out).manifests("depth") for f in m.run.failures if f.position == 0 and m.shard == 0
    ]
    assert failure.message.startswith("depth.png of 000.png must have the size of its picture, 60x40, got 9x7.")


def test_a_file_that_changed_after_the_plan_fails_and_is_retried_to_the_same_digest(tmp_path: Path) -> None:
    source = write_folder(tmp_path / "in")
    made, out = recipe(source), tmp_path / "out"
    sound = run(made, tmp_path / "sound").digest
    run(made, out, only=("image",))
    (tmp_path / "in/003.depth.png").rename(tmp_path / "away")
    run(made, out)
    assert failures(out, "depth") == [("003.jpg", "source_gone")]
    (tmp_path / "away").rename(tmp_path / "in/003.depth.png")
    assert run(made, out, retry=Retry("source_*")).digest == sound


def test_a_file_that_was_mended_is_retried_to_the_digest_of_a_build_that_never_failed(tmp_path: Path) -> None:
    source = write_folder(tmp_path / "in")
    made, out = recipe(source), tmp_path / "out"
    sound = run(made, tmp_path / "sound").digest
    path = tmp_path / "in/003.depth.png"
    path.write_bytes(b"no picture")
    run(made, out)
    assert failures(out, "depth") == [("003.jpg", "not_an_image")]
    path.write_bytes(SCENES[3].depth[:-30])
    run(made, out, retry=Retry())
    assert failures(out, "depth") == [("003.jpg", "undecodable")], "read as it is, and still no map"
    path.write_bytes(SCENES[3].depth)
    assert run(made, out, retry=Retry()).digest == sound


def test_a_map_is_never_laid_by_another_picture_than_the_one_that_was_stored(tmp_path: Path) -> None:
    source = write_folder(tmp_path / "in")
    made, out = recipe(source), tmp_path / "out"
    sound = run(made, tmp_path / "sound").digest
    photo, depth = tmp_path / "in/001.jpg", tmp_path / "in/001.depth.png"
    depth.write_bytes(b"no picture")
    run(made, out)
    depth.write_bytes(SCENES[1].depth)
    photo.write_bytes(SCENES[7].photo)
    run(made, out, retry=Retry())
    assert failures(out, "depth") == [("001.jpg", "source_changed")]
    photo.write_bytes(SCENES[1].photo)
    assert run(made, out, retry=Retry()).digest == sound


def test_what_is_brought_stands_in_for_the_annotator(tmp_path: Path) -> None:
    source = write_folder(tmp_path / "in")
    stages = [{"name": "named", "annotators": {"entities": {}}, "where": "detection.num_objects > 0"}]
    made = recipe(
        {**source, "bring": maps_and(boxes="json.objects")},
        stages,
        select={"keep": {"one": "detection.num_people = 1"}},
    )
    (tmp_path / "in/004.json").write_text(json.dumps({"objects": []}))
    out = tmp_path / "out"
    run(made, out)
    assert statuses(out, "select")[4] == "filtered rule:one"
    entities = rows(out, "entities")
    assert [row.status for row in entities].count("ok") == COUNT - 1
    assert entities[0].values["entities"][0]["label"] == "person"


def test_a_crash_at_every_change_ends_with_the_bytes_of_a_build_that_was_never_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # An exception is no power cut: waiting for the disk thousands of times would prove nothing here.
    monkeypatch.setattr("os.fsync", lambda descriptor: None)
    source = write_folder(tmp_path / "in", SCENES[:6])
    (tmp_path / "in/001.depth.png").write_bytes(b"no picture")
    (tmp_path / "in/002.depth.png").unlink()
    made = recipe({**source, "bring": maps_and(boxes=ENTRIES["boxes"])})
    whole = CrashingStore(str(tmp_path / "whole"))
    summary = run(made, whole)
    first = next(n for n, (_, name) in enumerate(whole.changes, 1) if name.startswith("columns/depth"))
    last = max(n for n, (_, name) in enumerate(whole.changes, 1) if name.startswith(("columns/depth", "columns/dete")))
    for at in range(first, last + 1):
        out = tmp_path / str(at)
        with pytest.raises(Crash):
            run(made, CrashingStore(str(out), at))
        assert damaged(out) == []
        before = committed(out)
        assert run(made, out) == summary, at
        assert packed(out) == packed(tmp_path / "whole")
        after = committed(out)
        assert {name: after[name] for name in before} == before
        assert strays(out) == []
        shutil.rmtree(out)


@pytest.mark.parametrize(("kind", "part"), [("spool", "depth/000001.tar"), ("publish", "columns/depth/000001-")])
def test_a_worker_killed_while_it_writes_is_replaced(tmp_path: Path, kind: str, part: str) -> None:
    made = recipe(write_folder(tmp_path / "in", SCENES[:6]))
    sound = run(made, tmp_path / "sound").digest
    run(made, tmp_path / "out", only=("image",))
    store = KillingStore(str(tmp_path / "out"), kind, part, str(tmp_path / "marker"), True)
    assert run(made, store, workers=1).digest == sound
    assert (tmp_path / "marker").exists()
    assert packed(tmp_path / "out") == packed(tmp_path / "sound")
    assert strays(tmp_path / "out") == []


def test_it_goes_beside_what_the_source_provides(tmp_path: Path) -> None:
    source = write_table(tmp_path / "in", SCENES[:4])
    maps = {name: source["bring"][name] for name in ("depth", "caption_human")}
    out = tmp_path / "out"
    run(recipe({**source, "keep": ["licence"], "bring": {"depth": "depth"}}), out)
    before = column_files(out, "metadata")
    run(recipe({**source, "keep": ["licence"], "bring": maps}), out)
    assert column_files(out, "metadata") == before
    assert statuses(out, "metadata") == statuses(out, "depth") == statuses(out, "caption_human") == ["ok"] * 4


def test_a_worker_that_is_killed_over_it_costs_one_row(tmp_path: Path) -> None:
    source = write_folder(tmp_path / "in", SCENES[:4])
    entries = maps_and(trap={"use": "tests.plugins.brought_trap", "from": "txt"})
    (tmp_path / "in/002.txt").write_text("die")
    run(recipe({**source, "bring": entries}), tmp_path / "out", workers=1)
    assert statuses(tmp_path / "out", "trap") == ["ok", "ok", "failed crash", "ok"]


def test_pairs_bring_a_map_of_each_picture(tmp_path: Path) -> None:
    targets, sources = SCENES[:4], [Scene(scene.number + 6) for scene in SCENES[:4]]
    table = [
        {
            "after": target.photo, "before": source.photo, "say": "make it so",
            "d1": target.depth, "d2": None if target.number == 3 else source.depth, "words": "one",
        }
        for target, source in zip(targets, sources, strict=True)
    ]  # fmt: skip
    path = write_rows(tmp_path / "in/pairs.parquet", table)
    places = {"target": "d1", "source": "d2"}
    described = {"pairs": str(path), "target": "after", "source": "before", "instruction": "say"}
    out = tmp_path / "out"
    run(recipe({**described, "bring": {"depth": {"from": places}}}, kind="pair"), out)
    assert statuses(out, "depth") == ["ok"] * 3 + ["filtered absent"]
    for row, image in zip(rows(out, "depth")[:3], rows(out, IMAGE)[:3], strict=True):
        assert [part.name for part in row.parts] == ["depth.png", "img1.depth.png"]
        assert image.values["others"][0]["height"] > 0
    with pytest.raises(ConfigError, match="bring.depth.from must name one column an image, such as {target: "):
        run(recipe({**described, "bring": {"depth": "d1"}}, kind="pair"), tmp_path / "no")


def test_pairs_of_tars_bring_a_member_for_each_picture(tmp_path: Path) -> None:
    members: list[tuple[str, bytes]] = []
    for name, target, before in (("a", SCENES[0], SCENES[6]), ("b", SCENES[2], SCENES[8])):
        members += [(f"{name}.target.png", target.photo), (f"{name}.source.png", before.photo)]
        members += [(f"{name}.txt", b"make it so"), (f"{name}.d1.png", target.depth)]
        members += [(f"{name}.d2.png", before.depth)] if name == "b" else []
    (tmp_path / "in").mkdir()
    (tmp_path / "in/pairs.tar").write_bytes(tar_bytes(members))
    described = {"pairs": str(tmp_path / "in/*.tar"), "target": "target.png", "source": "source.png"}
    brought = {"depth": {"from": {"target": "d1.png", "source": "d2.png"}}}
    out = tmp_path / "out"
    run(recipe({**described, "instruction": "txt", "bring": brought}, kind="pair"), out)
    assert statuses(out, IMAGE) == ["ok", "ok"]
    assert statuses(out, "depth") == ["filtered absent", "ok"], "the first has no map of its source"
    assert [part.name for part in rows(out, "depth")[1].parts] == ["depth.png", "img1.depth.png"]
    assert list(verify(dataset(out), full=True)) == []
