"""A small dataset of ray-cast scenes, and the smallest recipe that trains on it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

from onegen.config.parse import parse
from onegen.config.recipe import load_recipe
from onegen.config.shipped import recipe_path
from onegen.config.training import TrainConfig
from onegen.demo import scenes
from onegen.weights.fetch import fetch
from tests.tiny import run

SMALLEST: dict[str, Any] = {
    "name": "smallest",
    "steps": 6,
    "network": {"hidden_size": 48, "depth": 2, "num_heads": 2, "num_kv_heads": 1, "multiple_of": 16},
    "encoders": {"downscale": 4},
    "data": {
        "mixture": {"text2image": 1, "depth2image": 1, "semanticmap2image": 1},
        "resolution": 16,
        "tokens": 32,
        "bins": 2,
        "validation": 0.1,
    },
    "optimizer": {"lr": 1e-3, "warmup": 2},
    "ema": {"decay": 0.5},
    "validation_examples": 0,
    "grid_examples": 0,
    "log_every": 1,
}


@pytest.fixture(scope="session")
def solids(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A dataset of 40 scenes of 32 pixels, with depth, masks and boxes."""
    fetch(("minilm",))
    root = tmp_path_factory.mktemp("solids")
    for number in range(40):
        (root / "scenes").mkdir(exist_ok=True)
        scenes.write_scene(root / "scenes", 32, 0, number)
    recipe = load_recipe(recipe_path("solids"))
    source = {**recipe.source, "folder": str(root / "scenes")}
    run(recipe.model_copy(update={"source": source, "samples_per_shard": 16}), root / "out", workers=0)
    return str(root / "out")


@pytest.fixture
def recipe() -> Callable[..., TrainConfig]:
    """Return the smallest recipe with changes, parts of a part merged."""

    def make(**changes: Any) -> TrainConfig:
        merged = dict(SMALLEST)
        for name, change in changes.items():
            merged[name] = {**merged.get(name, {}), **change} if isinstance(change, dict) else change
        return parse(TrainConfig, merged, "recipe")

    return make


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "run"
