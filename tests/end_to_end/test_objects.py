"""Whole builds of scenes from mesh files: every view with its camera, depth and mask beside it.

PYTHONPATH=. python -m pytest tests/end_to_end/test_objects.py
"""

import importlib.util
import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from onegen.audit.verify import verify
from onegen.config.recipe import Recipe, make_source
from onegen.errors import ConfigError
from onegen.geometry.cameras import from_record
from onegen.geometry.rigs import make_rig
from onegen.scenes import reading
from onegen.scenes.embree import EmbreeRenderer
from onegen.scenes.renderers import make_renderer
from onegen.scenes.scene import RenderOptions, read_scene
from onegen.shards.key import seed_of
from tests.pictures import decode
from tests.scenes import objects
from tests.tiny import column_files, dataset, failures, make_recipe, packed, rows, run, statuses, strays

trimesh = pytest.importorskip("trimesh")
SIZE, VIEWS = 48, 4


@pytest.fixture(scope="module")
def meshes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two objects, each unlike itself from the other side, one file that is no mesh, a caption and a licence."""
    root = tmp_path_factory.mktemp("objects") / "glb"
    root.mkdir()
    for name, size in (("tall_box", (1, 2, 0.5)), ("flat-box", (2, 0.3, 1))):
        box = trimesh.creation.box(size)
        box.visual.vertex_colors = [[n * 30, 255 - n * 30, n * 17, 255] for n in range(len(box.vertices))]
        box.export(root / f"{name}.glb")
    (root / "broken.glb").write_bytes(b"glTF and no more")
    (root / "tall_box.txt").write_text("A tall box.")
    (root / "LICENCE").write_text("CC0-1.0\nThis test\n")
    return root


def recipe(meshes: Path, **changes: Any) -> Recipe:
    source = {"objects": str(meshes), "views": VIEWS, "size": SIZE, "bring": BRING, **changes.pop("options", {})}
    return make_recipe(meshes, [], **{"kind": "scene", "source": source, "limits": {"failure_rate": 1}, **changes})


BRING = {"depth": {"from": "depth", "near": "dark"}, "masks": "mask"}


@pytest.fixture(scope="module")
def built(meshes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("built") / "out"
    run(recipe(meshes), out)
    return out


def members(out: Path) -> dict[str, dict[str, Any]]:
    import webdataset

    tars = sorted(str(path) for path in (out / "shards").glob("*.tar"))
    read = list(webdataset.WebDataset(tars, shardshuffle=False, empty_check=False))
    return {json.loads(sample["json"])["item"]: sample for sample in read}


def test_an_object_is_a_scene_of_its_rig(meshes, built):
    assert statuses(built, "image") == ["failed unreadable_mesh", "ok", "ok"]
    assert failures(built, "image") == [("broken.glb", "unreadable_mesh")]
    for name, sample in members(built).items():
        about = json.loads(sample["json"])
        views = [about, *about["others"]]
        cameras = make_rig("ring", {"views": VIEWS}).cameras(seed_of(name, "ring", 1))
        drawn = make_renderer().render(read_scene(meshes / name), cameras, RenderOptions(SIZE, SIZE))
        for number, (said, camera, view) in enumerate(zip(views, cameras, drawn, strict=True)):
            np.testing.assert_array_equal(from_record(said["camera"]).camera_to_world, camera.camera_to_world)
            np.testing.assert_array_equal(decode(sample[f"view{number:02d}.png"]), view.colour)
            depth = about["annotations"]["depth"]
            depth = depth["others"][number - 1] if number else depth
            nearest = view.depth[view.depth > 0].min()
            assert abs(1 / depth["maximum"] - nearest) < 1e-4 * nearest
            assert f"view{number:02d}.depth.png" in sample
        assert about["annotations"]["render"]["backend"] == "embree"
        assert (about["licence"], about["attribution"]) == ("CC0-1.0", "This test")
    assert [row.values["caption"] for row in rows(built, "image")][1:] == [
        "A 3D model called flat box.",
        "A tall box.",
    ]
    assert list(verify(dataset(built), full=True)) == []
    assert strays(built) == []


def test_the_bytes_do_not_depend_on_the_workers(meshes, built, tmp_path):
    run(recipe(meshes), tmp_path / "out", workers=4)
    assert packed(tmp_path / "out") == packed(built)
    for column in ("image", "depth", "segmentation", "render"):
        assert column_files(tmp_path / "out", column) == column_files(built, column)


def test_an_object_is_drawn_once_for_its_images_and_once_for_all_its_maps(meshes, tmp_path, monkeypatch):
    calls = Counter()
    render, load = EmbreeRenderer.render, reading.load_mesh

    def counted(self, scene, cameras, options):
        calls["draw", options.samples, options.has_colour] += 1
        return render(self, scene, cameras, options)

    def loaded(*given):
        calls["load"] += 1
        return load(*given)

    monkeypatch.setattr(EmbreeRenderer, "render", counted)
    monkeypatch.setattr(reading, "load_mesh", loaded)
    run(recipe(meshes), tmp_path / "out")
    assert calls == {
        ("draw", 4, True): 2,
        ("draw", 1, False): 2,
        "load": 5,
    }  # one of the three is broken, and is not asked again
    assert statuses(tmp_path / "out", "depth")[1:] == statuses(tmp_path / "out", "segmentation")[1:] == ["ok", "ok"]


def test_views_that_show_nothing_are_lost(meshes, tmp_path):
    run(recipe(meshes, options={"distance": 40, "views": 2}), tmp_path / "out")
    assert statuses(tmp_path / "out", "image")[1:] == ["failed blank_view"] * 2


def test_views_that_do_not_hold_it_all_are_told(meshes, built, tmp_path):
    assert [row.values["num_cropped"] for row in rows(built, "render")][1:] == [0, 0]
    keep = {"whole": "render.num_cropped = 0"}
    run(recipe(meshes, options={"distance": 0.8, "bring": {}}, select={"keep": keep}), tmp_path / "out")
    for row in rows(tmp_path / "out", "render")[1:]:
        assert row.values["num_cropped"] == VIEWS
        assert "cropped" in row.values["flags"]
    assert statuses(tmp_path / "out", "select")[1:] == ["filtered few_images"] * 2


def test_each_bad_object_has_its_reason_and_its_neighbours_stay(meshes, built, tmp_path):
    root = tmp_path / "glb"
    shutil.copytree(meshes, root)
    ball = objects.glb(objects.sphere(1))
    (root / "one").mkdir()
    (tmp_path / "secret.bin").write_bytes(b"x" * 64)

    def asking(**keys: Any) -> bytes:
        return objects.with_header(ball, lambda document: document.update(keys))

    def announce(document: dict[str, Any]) -> None:
        for accessor in document["accessors"]:
            accessor["count"] = 30_000_000

    bad = {
        "bad_index": ("obj", b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 9\n"),
        "not_finite": ("obj", b"v 0 0 0\nv inf 0 0\nv 0 1 0\nf 1 2 3\n"),
        "missing_texture": ("glb", asking(images=[{"uri": "nowhere.png"}])),
        "empty_mesh": ("obj", b"v 0 0 0\n"),
        "too_many_faces": ("glb", objects.with_header(ball, announce)),
        "external_uri": ("glb", asking(buffers=[{"byteLength": 5, "uri": "https://example.org/a.bin"}])),
        "unsafe_path": ("glb", asking(buffers=[{"byteLength": 5, "uri": "../../secret.bin"}])),
        "unsupported_feature": ("glb", asking(extensionsRequired=["EXT_meshopt_compression"])),
    }
    for reason, (ending, data) in bad.items():
        (root / "one" / f"{reason}.{ending}").write_bytes(data)
    run(recipe(root), tmp_path / "out")
    found = {row.values["item"]: f"{row.status} {row.reason or ''}".strip() for row in rows(tmp_path / "out", "image")}
    expected = {f"one/{reason}.{ending}": f"failed {reason}" for reason, (ending, _) in bad.items()}
    assert found == {"broken.glb": "failed unreadable_mesh", "flat-box.glb": "ok", "tall_box.glb": "ok", **expected}
    ours = {row.values["item"]: row.key for row in rows(built, "image") if row.status == "ok"}
    assert {row.values["item"]: row.key for row in rows(tmp_path / "out", "image") if row.status == "ok"} == ours
    assert list(verify(dataset(tmp_path / "out"), full=True)) == []


def test_a_list_in_parquet_gives_what_a_folder_gives(meshes, tmp_path):
    paths = ["glb/tall_box.glb", "../out.glb", None, "glb/flat-box.glb"]
    columns = {
        "path": paths,
        "said": ["A tall box.", None, "nothing", None],
        "by": ["CC0-1.0", "CC-BY-4.0", None, "MIT"],
    }
    shutil.copytree(meshes, tmp_path / "in/glb")
    pq.write_table(pa.table(columns), tmp_path / "in/list.parquet")
    (tmp_path / "out.glb").write_bytes((meshes / "tall_box.glb").read_bytes())
    (tmp_path / "cap3d.csv").write_text('flat-box,"A flat box of the table"\n')
    options = {
        "mesh": "path",
        "caption": "said",
        "licence": "by",
        "captions": str(tmp_path / "cap3d.csv"),
        "bring": BRING,
    }
    source = {"objects": str(tmp_path / "in/list.parquet"), "views": VIEWS, "size": SIZE, **options}
    out = tmp_path / "out"
    run(recipe(meshes, source=source), out)
    assert statuses(out, "image") == ["ok", "failed outside_root", "failed no_mesh", "ok"]
    tall, _, _, flat = rows(out, "image")
    assert (tall.values["caption"], tall.values["licence"]) == ("A tall box.", "CC0-1.0")
    assert (flat.values["caption"], flat.values["licence"]) == ("A flat box of the table", "MIT")
    assert statuses(out, "depth") == ["ok", "skipped image:failed", "skipped image:failed", "ok"]
    assert list(verify(dataset(out), full=True)) == []


def test_a_list_may_hold_the_meshes_themselves(meshes, tmp_path):
    data = (meshes / "tall_box.glb").read_bytes()
    ply = trimesh.creation.box((1, 2, 3)).export(file_type="ply")
    structs = [{"bytes": None, "path": None}, {"bytes": b"what is this", "path": "a.fbx"}]
    held = [
        {"bytes": data, "path": "tall box.glb"},
        {"bytes": data, "path": None},
        {"bytes": ply, "path": None},
        *structs,
    ]
    pq.write_table(pa.table({"mesh": held}), tmp_path / "list.parquet")
    source = {"objects": str(tmp_path / "list.parquet"), "views": VIEWS, "size": SIZE}
    run(recipe(meshes, source=source), tmp_path / "out")
    assert statuses(tmp_path / "out", "image") == ["ok", "ok", "ok", "failed no_mesh", "failed unknown_mesh_format"]
    assert rows(tmp_path / "out", "image")[0].values["caption"] == "A 3D model called tall box."


def test_captions_of_a_table_go_before_names(meshes, tmp_path):
    (tmp_path / "cap3d.csv").write_text('flat-box,"A flat, green box"\n')
    options = {"captions": str(tmp_path / "cap3d.csv"), "bring": {}, "views": 2}
    run(recipe(meshes, options=options), tmp_path / "out")
    assert [row.values["caption"] for row in rows(tmp_path / "out", "image")][1:] == [
        "A flat, green box",
        "A tall box.",
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rig": "rings"}, "rig must be a known one, got 'rings': did you mean 'ring'"),
        ({"views": 1}, "views must be at least 2"),
        ({"size": 5}, "size must be 32 to 4096 pixels"),
        ({"bring": {"depth": "depths"}}, "must be depth or mask of a render, got 'depths'"),
        ({"captions": "nowhere.csv"}, None),
        ({"licence": "by"}, "licence must stand beside a list, got it with the folder"),
    ],
)
def test_what_no_render_gives_is_refused(meshes, tmp_path, options, message):
    if message is None:
        with pytest.raises(ConfigError, match="captions must be a CSV"):
            run(recipe(meshes, options=options), tmp_path / "out")
        return
    with pytest.raises(ConfigError, match=message):
        run(recipe(meshes, options=options), tmp_path / "out")


@pytest.mark.parametrize("package", ["trimesh", "embreex"])
def test_what_draws_is_asked_for_before_anything_runs(package, tmp_path, monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == package else real(name))
    with pytest.raises(ConfigError, match=rf"objects need {package}\. Install it with: pip install 'onegen\[scenes\]'"):
        make_source({"objects": str(tmp_path)})
