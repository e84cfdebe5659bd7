"""Training recipes that ship: what each would be, from the indexes of a small One-Gen, without a weight.

PYTHONPATH=. python -m pytest tests/trainer/test_recipes.py
"""

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from onegen.cli.app import app
from onegen.config.shipped import shipped
from tests.loader.street import write_sets, write_street


@pytest.fixture(scope="module")
def one_gen(tmp_path_factory) -> Path:
    """The folder of a collection with every kind of sample."""
    root = tmp_path_factory.mktemp("one_gen")
    write_street(root / "photos", 12, "photos")
    write_sets(root / "edits", "pair", [2] * 24, name="edits", instruction="make it red")
    write_sets(root / "subjects", "pair", [2] * 24, name="subjects", subject="cup")
    write_sets(root / "people", "identity", [2, 3, 5] * 8, name="people", subject="Ada")
    write_sets(root / "scenes", "scene", [2, 4, 9] * 8, name="scenes")
    names = ("photos", "edits", "subjects", "people", "scenes")
    datasets = {name: {"recipe": "r", "group": "all"} for name in names}
    (root / "collection.json").write_text(json.dumps({"name": "one", "groups": {"all": 1}, "datasets": datasets}))
    return root


@pytest.mark.parametrize("name", sorted(path.stem for path in (shipped() / "train").glob("*.yaml")))
def test_a_recipe_says_what_it_would_be(one_gen, tmp_path, name):
    words = [
        "train",
        name,
        "--data",
        str(one_gen),
        "--out",
        str(tmp_path / "run"),
        "--dry-run",
        "--workers",
        "2",
    ]
    answer = CliRunner().invoke(app, words)
    assert answer.exit_code == 0, answer.output
    trained = int(re.search(r"parameters, ([\d,]+) trained", answer.output)[1].replace(",", ""))
    assert trained > 10_000
    assert "memory of a rank, of 2: about" in answer.output
    assert re.search(r"a step: up to [\d,]+ tokens, [\d.,]+ TFLOP", answer.output)
    assert not (tmp_path / "run").exists()
