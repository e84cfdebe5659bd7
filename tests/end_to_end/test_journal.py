"""A worker that dies costs the batch it was in, not the shard: what it had computed is taken over, to the byte.

PYTHONPATH=. python -m pytest tests/end_to_end/test_journal.py
"""

from pathlib import Path

import pytest

from onegen.config.recipe import Recipe
from onegen.executor.contract import Retry
from tests.calls import count_calls
from tests.tiny import dataset, make_recipe, packed, run, statuses, strays, write_photos

COUNT, BATCH = 12, 2


def recipe_of(root: Path, words: dict[int, str]) -> Recipe:
    write_photos(root / "photos", COUNT, words)
    calls = str(root / "calls")
    stage = {
        "name": "look",
        "batch_size": BATCH,
        "annotators": {
            "tests.plugins.tone": {"calls": calls},
            "tests.plugins.poison": {"cure": str(root / "cure"), "calls": calls},
        },
    }
    return make_recipe(root / "photos", [stage], samples_per_shard=COUNT, limits={"failure_rate": 1})


@pytest.fixture(scope="module", params=["local", "ray"])
def executor(request: pytest.FixtureRequest) -> str:
    if request.param == "ray":
        request.getfixturevalue("ray_session")
    return str(request.param)


def test_a_death_costs_its_batch_alone(tmp_path, executor):
    recipe = recipe_of(tmp_path, {COUNT - 1: "kill"})
    run(recipe, tmp_path / "out", workers=1, executor=executor)
    assert statuses(tmp_path / "out", "poison") == ["ok"] * (COUNT - 1) + ["failed crash"]
    assert statuses(tmp_path / "out", "tone") == ["ok"] * COUNT
    calls = count_calls(tmp_path / "calls")
    # Of the last batch: both rows by the worker that died first, then each alone, the good one twice since the bad one
    # killed its worker too, and killed the next.
    assert calls["poison"] == COUNT + 4
    # The first column's rows of that batch were noted before the second column ran.
    assert calls["tone"] == COUNT
    assert strays(tmp_path / "out") == []


def test_the_bytes_are_those_of_a_build_in_which_nobody_died(tmp_path):
    recipe = recipe_of(tmp_path, {5: "segfault", COUNT - 1: "kill"})
    run(recipe, tmp_path / "out", workers=1)
    (tmp_path / "cure").touch()
    run(recipe, tmp_path / "undisturbed", workers=1)
    assert statuses(tmp_path / "out", "poison").count("failed crash") == 2
    tones = [dataset(tmp_path / name).digest(("tone",)) for name in ("out", "undisturbed")]
    assert tones[0] == tones[1]
    run(recipe, tmp_path / "out", workers=1, retry=Retry("crash"))
    assert packed(tmp_path / "out") == packed(tmp_path / "undisturbed")
    assert strays(tmp_path / "out") == []
