"""Whole builds of captures in every layout they are published in, written by the test as their makers do.

PYTHONPATH=. python -m pytest tests/end_to_end/test_captures.py
"""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from onegen.audit.verify import verify
from onegen.config.recipe import Recipe
from onegen.errors import ConfigError
from onegen.executor.contract import Retry
from onegen.geometry.cameras import DEFAULT_FOCAL, Camera, from_record, orbit
from onegen.geometry.lens import Lens, straighten
from onegen.geometry.rays import camera_rays
from onegen.geometry.rigs import RENDER_FOCAL, ZERO123_FOCAL
from onegen.shards.column import ColumnReader
from onegen.shards.views import DROPPED
from onegen.sources.captures import Captures
from tests.geometry.test_rays import PRINTED, RIG
from tests.pictures import decode
from tests.scenes.captures import layouts
from tests.scenes.captures.layouts import HEIGHT, WIDTH, rig
from tests.tiny import dataset, encoded, failures, make_recipe, picture, rows, run, statuses, strays

SQUARE = (64, 64)


def recipe(root: Path, *stages: dict[str, Any], **changes: Any) -> Recipe:
    source = {"captures": str(root), **changes.pop("source", {})}
    base = {"kind": "scene", "source": source, "limits": {"failure_rate": 1}, "samples_per_shard": 100}
    return make_recipe(root, [*stages], **{**base, **changes})


def lost(out: Path, column: str = "image") -> list[list[tuple[int, str]]]:
    return [[(e["image"], e["reason"]) for e in row.values.get(DROPPED) or ()] for row in rows(out, column)]


def views(row: Any) -> list[dict[str, Any]]:
    return [row.values, *(row.values["others"] or [])]


def paint(root: Path) -> None:
    """Give every picture below a folder pixels of its own, at the size it has."""
    for number, path in enumerate(sorted(root.rglob("*.png"))):
        height, width = cv2.imread(str(path)).shape[:2]
        path.write_bytes(encoded(picture(700 + number, (height, width))))


def colmap(folder: Path, cameras: list[Camera], binary: bool) -> None:
    layouts.colmap(folder, cameras, binary)


WRITE = {
    "nerfstudio": lambda root: layouts.nerfstudio(root / "room", rig()),
    "colmap text": lambda root: colmap(root / "room", rig(), False),
    "colmap binary": lambda root: colmap(root / "room", rig(), True),
    "co3d": lambda root: layouts.co3d(root, rig()),
    "gobjaverse": lambda root: layouts.gobjaverse(root / "0" / "10005", rig(RENDER_FOCAL)),
    "gso30": lambda root: layouts.gso30(root / "mug" / "model", rig(ZERO123_FOCAL)),
}
ITEMS = {
    "nerfstudio": "room",
    "colmap": "room/sparse/0",
    "co3d": "apple/110_1",
    "gobjaverse": "0/10005",
    "gso30": "mug/model",
}
NAMES = {
    "nerfstudio": ["9.png", "8.png", "7.png", "6.png"],
    "colmap": ["a.png", "b c.png", "d.png", "c.png"],
    "co3d": [f"frame{number:06d}.png" for number in range(4)],
    "gobjaverse": [f"{number:05d}.png" for number in range(4)],
    "gso30": [f"{number:03d}.png" for number in range(4)],
}
FOCAL = {"gobjaverse": RENDER_FOCAL, "gso30": ZERO123_FOCAL}


@pytest.mark.parametrize("written", WRITE)
def test_every_layout_gives_its_cameras_back_in_its_order(written, tmp_path):
    root, out = tmp_path / "root", tmp_path / "out"
    root.mkdir()
    WRITE[written](root)
    paint(root)
    run(recipe(root), out)
    layout = written.partition(" ")[0]
    (row,) = rows(out, "image")
    assert row.status == "ok"
    assert row.values["item"] == ITEMS[layout]
    assert [Path(view["uri"]).name for view in views(row)] == NAMES[layout]
    cameras = rig(FOCAL.get(layout, 1.2))
    if layout == "colmap":
        cameras = [cameras[number] for number in sorted(range(4), key=lambda n: layouts.NAMES[n])]
    for view, camera in zip(views(row), cameras, strict=True):
        back = from_record(view["camera"])
        np.testing.assert_allclose(back.camera_to_world, camera.camera_to_world, atol=1e-6)
        np.testing.assert_allclose(back.focal, camera.focal, atol=1e-6)
    reader = ColumnReader(dataset(out), dataset(out).require_manifest("image", 0))
    for part, view in zip(row.parts, views(row), strict=True):
        assert reader.part(part) == (root / view["uri"]).read_bytes(), "a straight picture keeps its bytes"
    (capture,) = rows(out, "capture")
    assert (capture.values["format"], capture.values["num_frames"], capture.values["num_refused"]) == (layout, 4, 0)
    assert capture.values["inward"]
    assert list(verify(dataset(out), full=True)) == []
    assert strays(out) == []


def test_layouts_lie_beside_one_another_and_a_scene_is_taken_once(tmp_path):
    root = tmp_path / "root"
    for written in ("co3d", "gobjaverse", "gso30", "nerfstudio"):
        WRITE[written](root)
    layouts.colmap(root / "street", rig(), True)
    layouts.colmap(root / "room", rig(), False)  # beside its transforms.json
    paint(root)
    run(recipe(root), tmp_path / "out")
    items = {row.values["item"] for row in rows(tmp_path / "out", "image")}
    assert items == {"0/10005", "apple/110_1", "mug/model", "room", "street/sparse/0"}
    source = Captures(str(root))
    list(source.listing())
    assert source.passed_over() == {"they are further cameras of a scene that has some already": 1}
    run(recipe(root, source={"format": "colmap"}), tmp_path / "colmap")
    assert [row.values["item"] for row in rows(tmp_path / "colmap", "image")] == ["room/sparse/0", "street/sparse/0"]


@pytest.mark.parametrize("written", ["nerfstudio", "colmap"])
def test_stored_cameras_become_the_printed_rays(written, tmp_path):
    if written == "colmap":
        side = DEFAULT_FOCAL * HEIGHT
        layouts.colmap(tmp_path / "root/room", RIG, True, parameters=(side, side, WIDTH / 2, HEIGHT / 2))
    else:
        layouts.nerfstudio(tmp_path / "root/room", RIG)
    paint(tmp_path / "root")
    run(recipe(tmp_path / "root"), tmp_path / "out")
    stored = {view["uri"]: from_record(view["camera"]) for view in views(rows(tmp_path / "out", "image")[0])}
    names = layouts.NAMES if written == "colmap" else [f"{9 - number}.png" for number in range(4)]
    rays = camera_rays([stored[f"room/images/{name}"] for name in names], 64, 64)
    for camera, row, column, expected in PRINTED:
        np.testing.assert_allclose(rays[camera, :, row, column], expected, atol=1e-5)


BENT = {"k1": -0.2, "k2": 0.05, "p1": 0.001}


def bent(tmp_path: Path, **source: Any) -> tuple[Path, Path]:
    root, out = tmp_path / "root", tmp_path / "out"
    layouts.nerfstudio(root / "room", rig(), **BENT)
    paint(root)
    (root / "room/mask.png").write_bytes(encoded_mask())
    document = json.loads((root / "room/transforms.json").read_text())
    for frame in document["frames"]:
        frame["mask_path"] = "mask.png"
    (root / "room/transforms.json").write_text(json.dumps(document))
    run(recipe(root, source={"bring": {"masks": "mask"}, **source}), out)
    return root, out


def encoded_mask() -> bytes:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[10:30, 5:40] = 255
    ok, data = cv2.imencode(".png", mask)
    assert ok
    return bytes(data.tobytes())


LENS = Lens(WIDTH, HEIGHT, 1.2 * HEIGHT, 1.2 * HEIGHT, WIDTH / 2, HEIGHT / 2, "brown", (-0.2, 0.05, 0.001, 0, 0))


def test_a_bent_picture_is_stored_straight_and_its_mask_with_it(tmp_path):
    root, out = bent(tmp_path)
    (row,) = rows(out, "image")
    reader = ColumnReader(dataset(out), dataset(out).require_manifest("image", 0))
    masks = ColumnReader(dataset(out), dataset(out).require_manifest("segmentation", 0))
    for view, part, mask in zip(views(row), row.parts, masks.rows[0].parts, strict=True):
        original = decode((root / view["uri"]).read_bytes())
        np.testing.assert_array_equal(decode(reader.part(part)), straighten(original, LENS))
        np.testing.assert_allclose(from_record(view["camera"]).focal, LENS.focal)
        stored = np.asarray(cv2.imdecode(np.frombuffer(masks.part(mask), np.uint8), cv2.IMREAD_UNCHANGED))
        grey = stored.max(axis=2) if stored.ndim == 3 else stored
        expected = straighten(cv2.imdecode(np.frombuffer(encoded_mask(), np.uint8), cv2.IMREAD_GRAYSCALE), LENS, True)
        np.testing.assert_array_equal(grey > 0, expected > 0)
    assert list(verify(dataset(out), full=True)) == []
    straight_key = row.key
    run(recipe(root, source={"distortion": "keep"}), tmp_path / "kept")
    (kept,) = rows(tmp_path / "kept", "image")
    assert kept.key != straight_key
    assert kept.values["sha256"] is None
    reader = ColumnReader(dataset(tmp_path / "kept"), dataset(tmp_path / "kept").require_manifest("image", 0))
    assert reader.part(kept.parts[0]) == (root / kept.values["uri"]).read_bytes()
    np.testing.assert_allclose(from_record(kept.values["camera"]).focal, (1.2, 1.2))


def test_a_recipe_may_refuse_bent_lenses(tmp_path):
    _, out = bent(tmp_path, distortion="refuse")
    assert statuses(out, "image") == ["failed unsupported_lens"]


def test_each_bad_frame_is_lost_with_its_reason_and_its_neighbours_stay(tmp_path):
    root, out = tmp_path / "root", tmp_path / "out"
    layouts.colmap(root / "a", rig(), False)
    layouts.save(root / "a/images/later.png")
    (root / "a/images/d.png").unlink()
    layouts.co3d(root / "b", rig())
    entries, sequences = layouts.co3d(root / "b", rig())
    entries[1]["viewpoint"] = None
    entries[2]["viewpoint"]["T"] = [0, float("nan"), 0]
    layouts.write_jgz(root / "b", entries, sequences)
    layouts.gobjaverse(root / "c", rig(RENDER_FOCAL))
    (root / "c/00001/00001.json").write_text("{}")
    layouts.gso30(root / "d", rig(ZERO123_FOCAL))
    (root / "d/001.npy").unlink()
    document, path = layouts.nerfstudio(root / "e", rig())
    document["frames"][0]["w"] = 48
    document["frames"][0]["h"] = 64
    document["frames"][1]["transform_matrix"][0][0] = float("nan")
    document["frames"].append(dict(document["frames"][3]))
    path.write_text(json.dumps(document))
    paint(root)
    run(recipe(root), out)
    assert set(statuses(out, "image")) == {"ok"}
    assert dict(zip([row.values["item"] for row in rows(out, "image")], lost(out), strict=True)) == {
        "a/sparse/0": [(2, "source_gone"), (3, "unregistered")],
        "b/apple/110_1": [(1, "unregistered"), (2, "bad_pose")],
        "c": [(1, "bad_frame")],
        "d": [(1, "unregistered")],
        "e": [(0, "unsupported_lens"), (1, "bad_pose"), (4, "bad_frame")],
    }
    kept = {row.values["item"]: [from_record(view["camera"]) for view in views(row)] for row in rows(out, "image")}
    np.testing.assert_allclose(kept["c"][1].camera_to_world, rig(RENDER_FOCAL)[2].camera_to_world, atol=1e-6)
    np.testing.assert_allclose(kept["d"][1].camera_to_world, rig(ZERO123_FOCAL)[2].camera_to_world, atol=1e-6)
    run(recipe(root, incomplete="fail"), tmp_path / "whole")
    assert set(statuses(tmp_path / "whole", "image")) == {
        "failed source_gone",
        "failed unregistered",
        "failed bad_frame",
        "failed unsupported_lens",
    }


def test_cameras_that_do_not_read_fail_their_scene_alone(tmp_path):
    root, out = tmp_path / "root", tmp_path / "out"
    solved = layouts.colmap(root / "a", rig(), True)
    (solved / "images.bin").write_bytes((solved / "images.bin").read_bytes()[:60])
    layouts.co3d(root / "b", rig())
    (root / "b/apple/frame_annotations.jgz").write_bytes(b"no gzip")
    layouts.gso30(root / "c", rig(ZERO123_FOCAL))
    document, path = layouts.nerfstudio(root / "d", rig())
    path.write_text(json.dumps({**document, "frames": []}))
    document, path = layouts.nerfstudio(root / "e", rig())
    for frame in document["frames"]:
        del frame["fl_x"], frame["fl_y"]
    path.write_text(json.dumps(document))
    paint(root)
    run(recipe(root), out)
    assert failures(out, "image") == [
        ("a/sparse/0", "unreadable_cameras"),
        ("b/apple", "unreadable_cameras"),
        ("d", "unreadable_cameras"),
        ("e", "no_intrinsics"),
    ]
    assert statuses(out, "image")[2] == "ok"


def test_cameras_mended_after_the_plan_ask_for_another(tmp_path):
    root, out = tmp_path / "root", tmp_path / "out"
    document, path = layouts.nerfstudio(root / "room", rig())
    paint(root)
    path.write_text("{")
    (root / "features").mkdir()
    np.save(root / "features/000.npy", np.zeros(3))  # of no layout
    run(recipe(root), out)
    assert failures(out, "image") == [("room", "unreadable_cameras")]
    path.write_text(json.dumps(document))
    run(recipe(root), out, retry=Retry())
    assert failures(out, "image") == [("room", "source_changed")]
    run(recipe(root), tmp_path / "anew")
    assert statuses(tmp_path / "anew", "image") == ["ok"]


def test_depth_and_masks_of_co3d_are_brought_along(tmp_path):
    root, out = tmp_path / "root", tmp_path / "out"
    entries, sequences = layouts.co3d(root, rig())
    far = np.linspace(1, 4, HEIGHT * WIDTH).reshape(HEIGHT, WIDTH).astype(np.float16)
    far[:5] = 0
    for number, entry in enumerate(entries):
        for part, data in (("depth", far.view(np.uint16)), ("mask", np.where(far > 2, 255, 0).astype(np.uint8))):
            path = f"apple/110_1/{part}s/{number}.png"
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            assert cv2.imwrite(str(root / path), data)
            entry[part] = {"path": path, "scale_adjustment": 2.0}
    layouts.write_jgz(root, entries, sequences)
    (root / "apple/110_1/masks/2.png").unlink()
    for path in (root / "apple/110_1/images").iterdir():
        path.write_bytes(encoded(picture(int(path.stem[-1]), (HEIGHT, WIDTH))))
    bring = {"depth": {"from": "depth", "near": "dark"}, "masks": "mask"}
    run(recipe(root, source={"bring": bring, "captions": str(table(tmp_path))}), out)
    (depth,) = rows(out, "depth")
    assert abs(1 / depth.values["maximum"] - 2 * float(far[far > 0].min())) < 1e-3
    assert abs(1 / depth.values["minimum"] - 8) < 1e-2
    (row,) = rows(out, "image")
    assert row.values["caption"] == "a red apple"
    assert statuses(out, "segmentation") == ["failed source_gone"]
    (capture,) = rows(out, "capture")
    assert capture.values["quality"] == 1.2


def table(folder: Path) -> Path:
    path = folder / "captions.csv"
    path.write_text("110_1,a red apple\n")
    return path


def test_the_cover_of_a_render_is_its_mask(tmp_path):
    root, out = tmp_path / "root", tmp_path / "out"
    layouts.gso30(root / "mug", rig(ZERO123_FOCAL))
    for number in range(4):
        pixels = np.dstack([picture(number, SQUARE), np.zeros(SQUARE, np.uint8)])
        pixels[20:40, 10:30, 3] = 255
        assert cv2.imwrite(str(root / f"mug/{number:03d}.png"), pixels)
    run(recipe(root, source={"bring": {"masks": "mask"}}), out)
    reader = ColumnReader(dataset(out), dataset(out).require_manifest("segmentation", 0))
    (row,) = reader.rows
    assert len(row.parts) == 4
    for part in row.parts:
        stored = cv2.imdecode(np.frombuffer(reader.part(part), np.uint8), cv2.IMREAD_UNCHANGED)
        grey = stored.max(axis=2) if stored.ndim == 3 else stored
        assert (grey > 0).sum() == 400
        assert (grey[20:40, 10:30] > 0).all()


def test_depth_of_gobjaverse_is_brought_along_where_it_lies(tmp_path):
    root, out = tmp_path / "root", tmp_path / "out"
    cameras = rig(RENDER_FOCAL)
    layouts.gobjaverse(root / "a", cameras)
    layouts.gobjaverse(root / "b", cameras)
    away = np.array([np.linalg.norm(camera.center) for camera in cameras])
    for number in range(4):
        depth = np.full(SQUARE, away[number])
        depth[:, :32] = away[number] - 0.5
        depth[:9] = 0
        layouts.depth_of_gobjaverse(root / "b", number, depth)
    paint(root)
    run(recipe(root, source={"bring": {"depth": {"from": "depth", "near": "dark"}}}), out)
    assert statuses(out, "depth") == ["filtered absent", "ok"]
    for view, distance in zip(views(rows(out, "depth")[1]), away, strict=True):
        assert abs(1 / view["maximum"] - (distance - 0.5)) < 1e-3
        assert abs(1 / view["minimum"] - distance) < 1e-2


def test_masks_beside_colmap_are_brought_along(tmp_path):
    root, out = tmp_path / "root", tmp_path / "out"
    layouts.colmap(root / "room", rig(), True)
    paint(root)
    for number, name in enumerate(sorted(layouts.NAMES)):
        path = root / "room/masks" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.zeros((HEIGHT, WIDTH), np.uint8)
        pixels[: 10 + number] = 255
        assert cv2.imwrite(str(path), pixels)
    run(recipe(root, source={"bring": {"masks": "mask"}}), out)
    reader = ColumnReader(dataset(out), dataset(out).require_manifest("segmentation", 0))
    (row,) = reader.rows
    stored = [cv2.imdecode(np.frombuffer(reader.part(part), np.uint8), cv2.IMREAD_UNCHANGED) for part in row.parts]
    masks = [pixels.max(axis=2) if pixels.ndim == 3 else pixels for pixels in stored]
    assert [int((mask > 0).sum()) for mask in masks] == [(10 + number) * WIDTH for number in range(4)]
    assert [row.status for row in rows(out, "image")] == ["ok"]


def test_of_many_frames_those_with_a_camera_are_thinned(tmp_path):
    root, out = tmp_path / "root", tmp_path / "out"
    document, path = layouts.nerfstudio(root / "room", rig())
    document["frames"][0]["transform_matrix"] = "no"
    path.write_text(json.dumps(document))
    paint(root)
    run(recipe(root, source={"max_views": 2}), out)
    (row,) = rows(out, "image")
    assert [Path(view["uri"]).name for view in views(row)] == ["8.png", "6.png"]
    assert lost(out) == [[]]
    source = Captures(str(root), max_views=2)
    list(source.listing())
    assert list(source.passed_over().values()) == [1]


def test_rules_take_out_blurred_and_dark_views_and_scenes_that_stand_still(tmp_path):
    root, out = tmp_path / "root", tmp_path / "out"
    layouts.nerfstudio(root / "good", rig())
    still = [orbit(azimuth, 10, focal=1.2) for azimuth in (0, 1, 2, 3)]
    layouts.nerfstudio(root / "still", still)
    paint(root)
    for name, spoil in (("9.png", lambda p: cv2.GaussianBlur(p, (0, 0), 9)), ("8.png", lambda p: p // 16)):
        path = root / "good/images" / name
        path.write_bytes(encoded(spoil(decode(path.read_bytes()))))
    keep = {
        "exposed": "scores.brightness BETWEEN 0.08 AND 0.97",
        "sharp": "scores.sharpness > 15",
        "around": "capture.coverage >= 20",
    }
    look = {"name": "look", "annotators": {"scores": {}}}
    run(recipe(root, look, select={"keep": keep, "min_images": 2}), out)
    assert lost(out, "select")[0] == [(0, "rule:sharp"), (1, "rule:exposed")]
    assert statuses(out, "select")[0] == "ok"
    assert statuses(out, "select")[1].startswith("filtered")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"format": "colmapp"}, "format"),
        ({"distortion": "ignore"}, "distortion"),
        ({"bring": {"depth": "depths"}}, "must be depth or mask of a capture, got 'depths'"),
        ({"captions": "nowhere.csv"}, "captions must be a CSV"),
    ],
)
def test_what_a_recipe_gets_wrong_is_said(tmp_path, source, message):
    layouts.nerfstudio(tmp_path / "root/room", rig())
    with pytest.raises(ConfigError, match=message):
        run(recipe(tmp_path / "root", source=source), tmp_path / "out")
