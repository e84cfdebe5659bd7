"""Whole builds of scenes from mesh files: every view with its camera, depth and mask beside it.

PYTHONPATH=. python -m pytest tests/end_to_end/test_objects.py
"""

import importlib.util
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
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
        calls["draw", options.samples] += 1
        return render(self, scene, cameras, options)

    def loaded(*given):
        calls["load"] += 1
        return load(*given)

    monkeypatch.setattr(EmbreeRenderer, "render", counted)
    monkeypatch.setattr(reading, "load_mesh", loaded)
    run(recipe(meshes), tmp_path / "out")
    assert calls == {("draw", 4): 2, ("draw", 1): 2, "load": 5}  # one of the three is broken, and is not asked again
    assert statuses(tmp_path / "out", "depth")[1:] == statuses(tmp_path / "out", "segmentation")[1:] == ["ok", "ok"]


def test_views_that_show_nothing_are_lost(meshes, tmp_path):
    run(recipe(meshes, options={"distance": 40, "views": 2}), tmp_path / "out")
    assert statuses(tmp_path / "out", "image")[1:] == ["failed blank_view"] * 2


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
