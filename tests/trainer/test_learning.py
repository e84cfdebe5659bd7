"""Two minutes of training: the loss falls, and what is drawn follows what was given.

PYTHONPATH=. python -m pytest tests/trainer/test_learning.py
"""

import json

import pytest

pytest.importorskip("torch")

from onegen.config.recipe import load_recipe
from onegen.config.shipped import recipe_path
from onegen.config.training import TrainConfig, load_training, training_path
from onegen.demo import scenes
from onegen.eval.generate import Drawing, generate
from onegen.eval.sampling import Sampling
from onegen.eval.solids import Solids
from onegen.trainer.trainer import train
from onegen.weights.fetch import fetch
from tests.tiny import run

FALL = 3.0
"""By what the loss on fixed noise falls at least between the first validation and the last."""
GAP = 0.2
"""Decibels that a picture from its own depth is nearer to the truth than one from another scene's (0.4 were seen)."""


def build(root, count, seed):
    (root / "scenes").mkdir(parents=True)
    for number in range(count):
        scenes.write_scene(root / "scenes", 32, seed, number)
    recipe = load_recipe(recipe_path("solids"))
    source = {**recipe.source, "folder": str(root / "scenes")}
    run(recipe.model_copy(update={"source": source}), root / "out", workers=0)
    return root / "out"


def small() -> TrainConfig:
    """The shipped recipe on pictures of four tokens, by a network of a third of a million weights."""
    shipped = load_training(training_path("reproduce_32")).model_dump()
    shipped["network"] |= {"hidden_size": 96, "depth": 3, "num_heads": 2}
    shipped["data"] |= {"resolution": 16, "tokens": 512, "bins": 1}
    changes = {"steps": 300, "validate_every": 30, "validation_examples": 8, "checkpoint_every": 300}
    return TrainConfig.model_validate(shipped | changes | {"grid_examples": 0})


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_two_minutes_of_training_learn_to_follow_the_condition(tmp_path):
    fetch(("minilm",))
    dataset, unseen = build(tmp_path / "seen", 200, 0), build(tmp_path / "unseen", 12, 1)
    model = train(small(), [str(dataset)], tmp_path / "run", say=lambda _: None)
    lines = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    losses = [line["validation/loss"] for line in lines if "validation/loss" in line]
    assert losses[0] > FALL * losses[-1], losses
    protocol = Solids(data=unseen, train=dataset, size=16, samples=12)
    assert generate(protocol, Drawing(model=str(model), sampling=Sampling(steps=4)), tmp_path / "drawn") == []
    rows = [row for unit in protocol.units() for row in protocol.score(unit, tmp_path / "drawn/pictures")]
    got = {metric.name: metric.value for metric in protocol.summarise(rows)}
    assert got["psnr"] > got["psnr_other"] + GAP, got
    assert got["rmse"] < got["rmse_other"], got
    print(losses[0] / losses[-1], got)
