"""The recipes with the paper's annotators: every repository they name, tiny, from a hub of the test, built on a CPU.

PYTHONPATH=. python -m pytest tests/end_to_end/test_paper_recipes.py
"""

from collections.abc import Iterator
from pathlib import Path

import cv2
import pytest
import yaml

from onegen.config.collection import load_collection, shipped_recipes
from onegen.config.recipe import Recipe, load_recipe
from onegen.config.registry import find
from onegen.config.shipped import recipe_path
from onegen.demo import rooms
from onegen.shards.dataset import Dataset
from onegen.storage.local import LocalStore
from tests import hub as hubs
from tests.checkpoints import CHECKPOINTS, checkpoint, further
from tests.cli.test_app import invoke
from tests.one_gen import write_pairs, write_people, write_sources
from tests.packaged import photo
from tests.tiny import run, write_photos

pytestmark = pytest.mark.torch
PAPER = sorted(name for name in shipped_recipes() if name.endswith("_paper"))


@pytest.fixture
def pictures(tmp_path) -> Path:
    """Three photos, made small; asked for before `hub`, which moves the folder that they lie beside."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in ("bus.jpg", "coffee.png", "chelsea.png"):
        small = cv2.resize(photo(name), (288, 256), interpolation=cv2.INTER_AREA)
        cv2.imwrite(str(folder / f"{name[:-4]}.png"), small[:, :, ::-1])
    return folder


@pytest.fixture
def hub(tmp_path, monkeypatch) -> Iterator[hubs.Hub]:
    with hubs.running() as server:
        for name, backend in CHECKPOINTS:
            cls = find("annotators", name, {"backend": backend})
            server.repos[cls.model] = checkpoint(name, backend)
            server.repos |= further(name, backend)
        # One model answers both questions: what it says is a list of names, and a short caption.
        for talker in ("llava-hf/llama3-llava-next-8b-hf", "allenai/Molmo2-8B"):
            server.repos[talker] = checkpoint("names", "vlm")
        # One repository holds the files of two annotators.
        server.repos["lllyasviel/Annotators"] = _both(tmp_path / "annotators")
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        monkeypatch.setenv("ONEGEN_MODELS", str(tmp_path / "models"))
        yield server


def _both(folder):
    folder.mkdir()
    for name, backend in (("hed", "controlnet"), ("pose", "openpose")):
        for file in checkpoint(name, backend).iterdir():
            (folder / file.name).symlink_to(file)
    return folder


def test_each_has_an_embedded_counterpart():
    assert {name.removesuffix("_paper") for name in PAPER} == set(shipped_recipes()) - {
        *PAPER,
        "quickstart",
        "solids",
        "solids_unseen",
        "multiview",
    }


@pytest.mark.parametrize("name", PAPER)
def test_a_dry_run_shows_the_whole_plan(hub, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_photos(tmp_path / "demo/photos", 2)
    write_pairs(tmp_path / "demo/photos")
    write_people(tmp_path / "demo/people")
    assert rooms.main([str(tmp_path / "demo/hypersim"), "--count", "1"]) == 0
    shown = invoke("build", name, tmp_path / "out", "--dry-run")
    assert shown.exit_code == 0, shown.output
    assert "nothing is done yet" in shown.stdout
    assert not (tmp_path / "out").exists()


def test_a_dry_run_of_one_gen_shows_every_dataset(hub, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_sources(tmp_path / "data")
    shown = invoke("build", "one_gen", tmp_path / "out", "--dry-run")
    assert shown.exit_code == 0, shown.output
    assert shown.stdout.count("nothing is done yet") == len(load_collection(recipe_path("one_gen")).datasets)
    assert "allenai/Molmo2-8B" in shown.stdout
    assert not (tmp_path / "out").exists()


def test_the_paper_s_image_to_image_builds_from_pictures_to_shards(pictures, hub, tmp_path):
    """On a CPU, with networks of random weights that see nothing: every row ends in one of the four ways."""
    described = yaml.safe_load(recipe_path("image_to_image_paper").read_text())
    described["source"] = {"folder": str(pictures)}
    described["select"]["keep"] = {"safe": "nsfw >= 0"}  # of random weights it says anything
    described["limits"] = {"failure_rate": 1}
    for stage in described["stages"]:
        stage |= {"num_gpus": 0, "memory": 0}
        for options in stage["annotators"].values():
            if options.get("backend") == "vlm":
                options |= {"dtype": "float32", "max_side": 56}
    summary = run(Recipe.model_validate(described), tmp_path / "out", workers=0)
    assert summary.digest is not None
    assert summary.packed is not None
    assert summary.packed.ok == 3
    dataset = Dataset(LocalStore(str(tmp_path / "out")))
    (rows,) = ([row.values for row in dataset.rows(m)] for m in dataset.manifests("grounded"))
    assert len(rows) == 3
    for column in ("caption", "caption_molmo", "names", "segmentation", "pose", "hed", "depth", "entities"):
        assert dataset.counts(column).ok == 3, column
    weights = dataset.require_manifest("depth", 0).producer.weights
    assert weights[0]["name"] == "depth-anything/Depth-Anything-V2-Large-hf"
    assert weights[0]["licence"] == "CC-BY-NC-4.0"


def test_paper_recipes_differ_from_the_others_in_annotators_alone():
    for name in PAPER:
        own, other = load_recipe(recipe_path(name)), load_recipe(recipe_path(name.removesuffix("_paper")))
        for part in ("source", "samples_per_shard", "image", "select", "kind", "where"):
            assert getattr(own, part) == getattr(other, part), f"{part} of {name}"
