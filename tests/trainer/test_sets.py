"""What is built of scenes and identities is trained on, and sampled from, as it is.

PYTHONPATH=. python -m pytest tests/trainer/test_sets.py
"""

import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner

from onegen.cli.app import app
from onegen.geometry.cameras import from_record
from onegen.geometry.nerfstudio import to_nerfstudio
from tests.end_to_end import test_identities as identities
from tests.end_to_end import test_scenes as scenes
from tests.tiny import run as build
from tests.trainer.conftest import SMALLEST

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A dataset by the task it serves."""
    root = tmp_path_factory.mktemp("sets")
    people = identities.write(root / "people", {"ada": 5, "bob": 4})
    build(identities.recipe(people), root / "identities")
    build(scenes.recipe(scenes.write(root / "captures")), root / "scenes")
    return {"faceid": root / "identities", "multiview": root / "scenes"}


def invoke(*arguments: Any) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)


def first_sample(out: Path) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Return what the packed view says of its first sample, and its files by the part of their name."""
    with tarfile.open(min((out / "shards").glob("*.tar"))) as tar:
        members = {info.name: tar.extractfile(info).read() for info in tar}
    key = next(iter(members)).partition(".")[0]
    parts = {name.partition(".")[2]: data for name, data in members.items() if name.startswith(key)}
    return json.loads(parts.pop("json")), parts


@pytest.mark.parametrize("task", ["faceid", "multiview"])
def test_a_model_is_trained_on_them(sets, task, tmp_path):
    data = {**SMALLEST["data"], "mixture": {task: 1}, "tokens": 128, "validation": 0}
    recipe = {**SMALLEST, "steps": 2, "data": data}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    words = ["--data", sets[task], "--out", tmp_path / "run", "--device", "cpu"]
    result = invoke("train", tmp_path / "recipe.yaml", *words)
    assert result.exit_code == 0, result.output
    told = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert np.isfinite([line["loss"] for line in told if "loss" in line]).all()
    assert (tmp_path / "run/model/transformer/diffusion_pytorch_model.safetensors").exists()


def test_views_are_sampled_from_the_cameras_of_a_scene(sets, model_folder, tmp_path):
    about, parts = first_sample(sets["multiview"])
    views = [about, *about["others"]]
    cameras = {f"{number}.png": from_record(view["camera"]) for number, view in enumerate(views)}
    (tmp_path / "transforms.json").write_text(json.dumps(to_nerfstudio(cameras, scenes.SIZE[1], scenes.SIZE[0])))
    (tmp_path / "first.png").write_bytes(parts["view00.png"])
    given = ["--image", tmp_path / "first.png", "--cameras", tmp_path / "transforms.json"]
    drawn = sample(model_folder, tmp_path, "multiview", *given)
    assert len(drawn) == len(views) - 1


def test_a_subject_is_sampled_from_its_pictures(sets, model_folder, tmp_path):
    about, parts = first_sample(sets["faceid"])
    for name in ("png", "img1.png"):
        (tmp_path / f"reference-{name.removesuffix('.png')}.png").write_bytes(parts[name])
    given = ["--reference", tmp_path / "reference-png.png", "--reference", tmp_path / "reference-img1.png"]
    assert len(sample(model_folder, tmp_path, "faceid", *given, "--prompt", about["caption"])) == 1


def sample(model: Path, folder: Path, task: str, *given: Any) -> list[Path]:
    (folder / "drawn").mkdir()
    fast = ["--height", 32, "--width", 32, "--steps", 2, "--device", "cpu"]
    result = invoke("sample", "--model", model, "--task", task, "--out", folder / "drawn/out.png", *fast, *given)
    assert result.exit_code == 0, result.output
    drawn = sorted((folder / "drawn").glob("*.png"))
    assert all(np.asarray(Image.open(path)).std() > 1 for path in drawn)
    return drawn
