"""Whole builds of scenes: captured views with their cameras.

PYTHONPATH=. python -m pytest tests/end_to_end/test_scenes.py
"""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onegen.audit.failures import find_failures
from onegen.audit.show import show, tiles_of
from onegen.audit.verify import verify
from onegen.config.recipe import Recipe
from onegen.errors import ConfigError
from onegen.executor.contract import Retry
from onegen.geometry.cameras import Camera, from_record, orbit, to_record
from onegen.geometry.nerfstudio import to_nerfstudio
from onegen.shards.key import sample_key
from onegen.shards.views import DROPPED
from tests.pictures import decode
from tests.tiny import (
    Ears,
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
)

TONE: dict[str, Any] = {"name": "look", "annotators": {"tests.plugins.tone": {}}}
SCENES = {"1K/aaa": 4, "1K/bbb": 3, "2K/ccc": 3}
SIZE = (40, 64)


def cameras(scene: str, count: int) -> dict[str, Camera]:
    first = 10 * sorted(SCENES).index(scene) if scene in SCENES else 0
    return {f"images/{n:03d}.png": orbit(first + 30 * n, 5.0 * n, 2.0 + n / 7, focal=1.1) for n in range(count)}


def view(scene: str, number: int) -> np.ndarray:
    return picture(50 * sorted(SCENES).index(scene) + number, SIZE)


def write(root: Path, scenes: dict[str, int] = SCENES, images: str = "images") -> Path:
    """Write captures as DL3DV lays them out."""
    for scene, count in scenes.items():
        folder = root / scene
        (folder / images).mkdir(parents=True)
        document = to_nerfstudio(cameras(scene, count), SIZE[1], SIZE[0])
        (folder / "transforms.json").write_text(json.dumps(document))
        (folder / "caption.json").write_text(json.dumps({"long": f"A long look at {scene}.", "short": scene}))
        for number in range(count):
            (folder / images / f"{number:03d}.png").write_bytes(encoded(view(scene, number)))
    (root / "LICENSE").write_text("CC-BY-NC-4.0\nDL3DV\n")
    return root


def edit(root: Path, scene: str, change: Any) -> None:
    path = root / scene / "transforms.json"
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def recipe(root: Path, *stages: dict[str, Any], **changes: Any) -> Recipe:
    base = {"kind": "scene", "source": {"captures": str(root)}, "limits": {"failure_rate": 1}}
    return make_recipe(root, [*stages], **{**base, **changes})


def lost(out: Path, column: str) -> list[list[tuple[int, str, str]]]:
    return [[tuple(e.values()) for e in row.values.get(DROPPED) or ()] for row in rows(out, column)]


def samples(out: Path) -> list[dict[str, Any]]:
    import webdataset

    tars = sorted(str(path) for path in (out / "shards").glob("*.tar"))
    return list(webdataset.WebDataset(tars, shardshuffle=False, empty_check=False))


def sound(out: Path) -> None:
    assert list(verify(dataset(out), full=True)) == []
    assert strays(out) == []


def test_a_scene_is_one_sample_of_posed_views(tmp_path):
    root, out = write(tmp_path / "dl3dv"), tmp_path / "out"
    run(recipe(root, TONE), out)
    for row, sample, (scene, count) in zip(rows(out, "image"), samples(out), SCENES.items(), strict=True):
        assert sample["__key__"] == row.key
        about = json.loads(sample["json"])
        views = [about, *about["others"]]
        assert [each["uri"] for each in views] == [f"{scene}/images/{n:03d}.png" for n in range(count)]
        for number, (each, camera) in enumerate(zip(views, cameras(scene, count).values(), strict=True)):
            np.testing.assert_array_equal(decode(sample[f"view{number:02d}.png"]), view(scene, number))
            grey = view(scene, number).mean(axis=2).astype(np.uint8)
            np.testing.assert_array_equal(decode(sample[f"view{number:02d}.tone.png"])[:, :, 0], grey)
            back = from_record(each["camera"])
            np.testing.assert_allclose(back.camera_to_world, camera.camera_to_world, atol=1e-12)
            np.testing.assert_allclose(back.focal, camera.focal, atol=1e-12)
            assert each["caption"] == f"A long look at {scene}."
            assert (each["licence"], each["attribution"]) == ("CC-BY-NC-4.0", "DL3DV")
        assert about["kind"] == "scene"
        assert row.key == sample_key("scene", row.values["members"], cameras=[each["camera"] for each in views])
    sound(out)
    assert show(dataset(out)).width > 500
    assert show(dataset(out), columns=["tone"]).height <= show(dataset(out)).height
    with pytest.raises(ConfigError, match="column must be one of the dataset, got 'tine'; did you mean 'tone'"):
        show(dataset(out), columns=["tine"])
    first, *others = tiles_of(dataset(out), ["tone"], 0, 0)[0]
    assert [tile.label for tile in (first, *others)] == ["image", "image 2", "image 3", "image 4", "cameras"]
    said = [line for row in tiles_of(dataset(out), ["tone"], 0, 0) for tile in row for line in tile.lines]
    assert said.count("A long look at 1K/aaa.") == 1, "what all views share stands once"


def test_keys_change_with_the_order_and_with_a_camera(tmp_path):
    root = write(tmp_path / "dl3dv", {"1K/aaa": 4})
    keys = []

    def build(change: Any) -> None:
        edit(root, "1K/aaa", change)
        run(recipe(root), tmp_path / f"out{len(keys)}")
        keys.append(rows(tmp_path / f"out{len(keys)}", "image")[0].key)

    build(lambda document: None)
    build(lambda document: document["frames"].reverse())
    build(lambda document: document["frames"].reverse())
    build(lambda document: document["frames"][2]["transform_matrix"][0].__setitem__(3, 9.0))
    build(lambda document: document["frames"][2].__setitem__("fl_x", 99.0))
    assert keys[0] == keys[2]
    assert len(set(keys)) == 4
    digests = {
        sample_key("scene", ["a", "b"], cameras=[to_record(orbit(a)) for a in pair]) for pair in ((0, 9), (9, 0))
    }
    assert len(digests) == 2


def test_a_view_that_fails_is_left_out_and_named(tmp_path):
    root, out = write(tmp_path / "dl3dv"), tmp_path / "out"
    (root / "1K/aaa/images/001.png").write_bytes(b"no picture")
    (root / "1K/bbb/images/000.png").unlink()
    edit(root, "2K/ccc", lambda document: document["frames"][2]["transform_matrix"][0].__setitem__(0, float("nan")))
    edit(root, "2K/ccc", lambda document: document["frames"].append({**document["frames"][0], "file_path": "../../x"}))
    run(recipe(root, TONE), out)
    assert statuses(out, "select") == ["ok"] * 3
    assert lost(out, "image") == [
        [(1, "failed", "not_an_image")],
        [(0, "failed", "source_gone")],
        [(2, "failed", "bad_pose"), (3, "failed", "unsafe_path")],
    ]
    told = [(f.item, f.reason) for f in find_failures(dataset(out))]
    assert told[0] == ("1K/aaa", "not_an_image")
    first = json.loads(samples(out)[0]["json"])
    assert [each["uri"] for each in (first, *first["others"])] == [f"1K/aaa/images/{n:03d}.png" for n in (0, 2, 3)]
    back = from_record(first["others"][0]["camera"])
    np.testing.assert_allclose(back.center, cameras("1K/aaa", 4)["images/002.png"].center, atol=1e-12)
    sound(out)


def test_a_scene_may_be_asked_to_be_whole(tmp_path):
    root, out = write(tmp_path / "dl3dv"), tmp_path / "out"
    (root / "1K/aaa/images/001.png").write_bytes(b"no picture")
    (root / "1K/bbb/images/000.png").unlink()
    run(recipe(root, TONE, incomplete="fail"), out)
    assert statuses(out, "image") == ["failed not_an_image", "failed source_gone", "ok"]
    sound(out)


def test_what_is_no_capture_fails_alone_with_its_reason(tmp_path):
    root, out = write(tmp_path / "dl3dv"), tmp_path / "out"
    edit(root, "1K/aaa", lambda document: [document.pop("w")])
    (root / "1K/bbb/transforms.json").write_text("{")
    run(recipe(root, TONE), out)
    assert statuses(out, "image") == ["failed no_intrinsics", "failed unreadable_cameras", "ok"]
    assert "must have fl_x with w and h" in next(find_failures(dataset(out))).message
    sound(out)


def test_smaller_pictures_stand_for_the_originals(tmp_path):
    root, out = write(tmp_path / "dl3dv", {"1K/aaa": 4}, images="images_4"), tmp_path / "out"
    run(recipe(root), out)
    assert next(o["uri"] for o in rows(out, "image")[0].values["others"]) == "1K/aaa/images_4/001.png"
    np.testing.assert_allclose(rows(out, "image")[0].values["camera"]["focal"], (1.1, 1.1))


def test_frames_are_taken_at_even_distances(tmp_path):
    root, out = write(tmp_path / "dl3dv", {"1K/aaa": 9}), tmp_path / "out"
    run(recipe(root, source={"captures": str(root), "max_views": 3, "caption_key": "short"}), out)
    (row,) = rows(out, "image")
    assert [row.values["uri"], *(other["uri"] for other in row.values["others"])] == [
        f"1K/aaa/images/{n:03d}.png" for n in (0, 4, 8)
    ]
    assert row.values["caption"] == "1K/aaa"


def test_the_bytes_do_not_depend_on_the_workers(tmp_path):
    root = write(tmp_path / "dl3dv")
    (root / "1K/aaa/images/001.png").write_bytes(b"no picture")
    for workers in (1, 4):
        run(recipe(root, TONE), tmp_path / str(workers), workers=workers)
    assert packed(tmp_path / "1") == packed(tmp_path / "4")
    before = committed(tmp_path / "1")
    run(recipe(root, TONE), tmp_path / "1")
    assert committed(tmp_path / "1") == before


def test_a_view_that_came_back_is_retried_to_the_bytes_of_a_sound_build(tmp_path):
    root, out = write(tmp_path / "dl3dv"), tmp_path / "out"
    run(recipe(root, TONE), tmp_path / "sound")
    picture_file = root / "1K/aaa/images/001.png"
    data = picture_file.read_bytes()

    class Steal(Ears):
        def note(self, text: str) -> None:
            super().note(text)
            if text.startswith("planned"):
                picture_file.unlink()

    run(recipe(root, TONE), out, Steal())
    assert failures(out, "image") == [("1K/aaa", "source_gone")]
    picture_file.write_bytes(data)
    run(recipe(root, TONE), out, retry=Retry("source_*"))
    assert packed(out) == packed(tmp_path / "sound")
    sound(out)


def test_the_same_scene_twice_is_one(tmp_path):
    root, out = write(tmp_path / "dl3dv", {"1K/aaa": 4}), tmp_path / "out"
    shutil.copytree(root / "1K/aaa", root / "1K/copy")
    run(recipe(root), out)
    assert statuses(out, "select") == ["ok", "filtered duplicate"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"source": {"captures": "nowhere"}}, "source captures must exist, got"),
        ({"source": {"captures": ".", "max_views": 1}}, "max_views must be at least 2"),
        ({"select": {"near_duplicates": {"distance": 3}}}, "near_duplicates must be null for kind 'scene'"),
    ],
)
def test_what_a_capture_cannot_be_is_refused(tmp_path, changes, message):
    with pytest.raises((ConfigError, ValueError), match=message):
        run(recipe(write(tmp_path / "dl3dv", {"1K/aaa": 3}), **changes), tmp_path / "out")
