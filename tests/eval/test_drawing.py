"""Every protocol from data to summary with a tiny model, as a user types it: on the stand-ins that `make eval` uses.

PYTHONPATH=. python -m pytest tests/eval/test_drawing.py
"""

import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

pytest.importorskip("torch")

from onegen.cli.app import app
from onegen.eval.synthetic import write_diode, write_nyuv2, write_people, write_pie, write_subjects
from tests.packaged import bring_models, photo
from tests.tiny import make_recipe, write_photos
from tests.tiny import run as build

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
WRITE = {
    "nyuv2": write_nyuv2,
    "diode": write_diode,
    "pie": write_pie,
    "people": write_people,
    "subjects": write_subjects,
}
PHOTOS = ("coffee.png", "rocket.jpg", "chelsea.png", "obama.jpg", "obama2.jpg", "biden.jpg")


@pytest.fixture(scope="module")
def data(objects, tmp_path_factory):
    bring_models()
    root = tmp_path_factory.mktemp("benchmarks")
    (root / "photos").mkdir()
    for name in PHOTOS:
        Image.fromarray(photo(name)).save(root / "photos" / name)
    for name, write in WRITE.items():
        (root / name).mkdir()
        write(root / name, root / "photos")
    (root / "objects").symlink_to(objects, target_is_directory=True)
    write_photos(root / "sources", 3)
    build(make_recipe(root / "sources", []), root / "dataset")
    return root


CASES = [
    ("geneval", "", ["prompts=1", "images=1"], 6),
    ("nvs", "objects", [], 30),
    ("nvs", "objects", ["views=2", "poses=known"], 30),
    ("nvs", "objects", ["views=2", "poses=unknown"], 30),
    ("nvs", "objects", ["views=3", "poses=known"], 30),
    ("nvs", "objects", ["views=3", "poses=unknown"], 30),
    ("identity", "people", ["images=1", "clip_prompts=false"], 2),
    ("depth", "nyuv2", [], 2),
    ("depth", "diode", ["dataset=diode"], 1),
    ("cameras", "objects", [], 12),
    ("pie", "pie", [], 2),
    ("dreambench", "subjects", ["images=1", "prompts=1"], 2),
    ("cycle", "dataset", ["samples=2"], 8),
]


@pytest.mark.parametrize(("protocol", "folder", "options", "items"), CASES, ids=lambda value: str(value))
def test_a_model_is_drawn_scored_and_told_of(data, model_folder, tmp_path, protocol, folder, options, items):
    size = ["--height", "96", "--width", "128"] if protocol == "depth" else ["--height", "64", "--width", "64"]
    size = [] if protocol == "pie" else size
    words = ["--model", model_folder, "--steps", 1, *size, "--out", tmp_path, "--name", "tiny"]
    words += ["--data", data / folder] if folder else []
    words += [word for option in options for word in ("-O", option)]
    done = CliRunner().invoke(app, ["eval", protocol, *map(str, words)])
    assert done.exit_code == 0, done.output
    (path,) = tmp_path.glob("*/tiny/result.json")
    result = json.loads(path.read_text())
    assert result["items"] == items
    assert result["left_out"] == 0
    # each result names metric, version, data, items, weights, sampler settings, seed rule, approximations
    assert all(metric["name"] and "exact" in metric for metric in result["metrics"])
    assert result["version"] == result["generation"]["version"]
    assert len(result["data_digest"]) == 64
    assert result["generation"]["data_digest"] == result["data_digest"]
    assert result["generation"]["sampling"]["steps"] == 1
    assert "SHA-256" in result["generation"]["seed_rule"]
    assert len(result["generation"]["model"]["sha256"]) == 64
    assert all(weights["sha256"] or weights["name"] == "colour_rule" for weights in result["metric_models"])
    assert isinstance(result["approximations"], list)
    assert f"{protocol}" in done.stdout
    for metric, way in result["skipped"].items():
        assert f"skipped: {way}" in done.stdout, metric
        assert "needs " in way
    # a second command draws and scores nothing, and says the same
    pictures = {p: p.stat().st_mtime_ns for p in path.parent.rglob("*") if "pictures" in p.parts or "scores" in p.parts}
    again = CliRunner().invoke(app, ["eval", protocol, *map(str, words)])
    assert again.exit_code == 0, again.output
    assert json.loads(path.read_text()) == result
    assert {p: p.stat().st_mtime_ns for p in pictures if p.is_file()} == {
        p: stamp for p, stamp in pictures.items() if p.is_file()
    }
    # and any folder of such pictures is scored alike, whoever drew them
    scored = CliRunner().invoke(
        app,
        ["eval", protocol, "score", str(path.parent / "pictures"), "--out", str(tmp_path / "other"), "--name", "it"]
        + (["--data", str(data / folder)] if folder else []),
    )
    assert scored.exit_code == 0, scored.output
    (other,) = (tmp_path / "other").glob("*/it/result.json")
    assert json.loads(other.read_text())["metrics"] == result["metrics"]


def test_views_of_unknown_pose_change_what_is_drawn(data, model_folder, tmp_path):
    drawn = {}
    for poses in ("known", "unknown"):
        words = ["--model", model_folder, "--steps", 1, "--height", 64, "--width", 64, "--out", tmp_path, "--no-score"]
        words += ["--data", data / "objects", "-O", "views=2", "-O", f"poses={poses}", "--name", "tiny"]
        done = CliRunner().invoke(app, ["eval", "nvs", *map(str, words)])
        assert done.exit_code == 0, done.output
        drawn[poses] = np.asarray(Image.open(tmp_path / f"nvs-2-{poses}" / "tiny" / "pictures" / "cube" / "010.png"))
    assert drawn["known"].shape == (256, 256, 3)
    assert (drawn["known"] != drawn["unknown"]).any()
