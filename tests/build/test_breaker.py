"""The breaker at its exact boundaries: how many rows of a shard may fail for one reason nobody foresaw.

PYTHONPATH=. python -m pytest tests/build/test_breaker.py
"""

from pathlib import Path

import pytest

from onegen.config.recipe import Recipe
from onegen.errors import Stopped
from tests.tiny import make_recipe, run, statuses, write_photos


def recipe(folder: Path, captions: list[str], count: int, rate: float) -> Recipe:
    """Return the recipe of one shard, a photo for each caption; `raise` and `sample` fail."""
    write_photos(folder / "photos", len(captions), dict(enumerate(captions)))
    stages = [{"name": "risk", "annotators": {"tests.plugins.poison": {"cure": str(folder / "cure")}}}]
    limits = {"breaker_count": count, "breaker_rate": rate, "failure_rate": 1}
    return make_recipe(folder / "photos", stages, samples_per_shard=len(captions), limits=limits, pack=None)


@pytest.mark.parametrize(
    ("failing", "rows", "count", "rate"),
    [(1, 5, 1, 0.2), (2, 5, 2, 0.4), (4, 5, 5, 0.0), (1, 5, 2, 0.0), (5, 5, 1, 1.0), (4, 5, 20, 0.0), (1, 1, 20, 0.0)],
)
def test_a_stage_goes_on(tmp_path: Path, failing: int, rows: int, count: int, rate: float) -> None:
    """Either too few failed, or no more than the share that may."""
    captions = ["raise"] * failing + ["fine"] * (rows - failing)
    run(recipe(tmp_path, captions, count, rate), tmp_path / "out")
    assert statuses(tmp_path / "out", "poison") == ["failed runtime_error"] * failing + ["ok"] * (rows - failing)


@pytest.mark.parametrize(
    ("failing", "rows", "count", "rate"),
    [
        (1, 5, 1, 0.19),
        (2, 5, 1, 0.2),
        (2, 5, 2, 0.0),
        (5, 5, 5, 0.0),
        (5, 5, 5, 0.99),
        (2, 2, 20, 0.2),
        (5, 5, 20, 0.2),
    ],
)
def test_a_stage_is_broken(tmp_path: Path, failing: int, rows: int, count: int, rate: float) -> None:
    """As many failed as the count, or all of a shard that has fewer, and more than the share."""
    captions = ["raise"] * failing + ["fine"] * (rows - failing)
    with pytest.raises(Stopped, match=f"must not fail most of a shard: .* of {rows} rows of shard 000000"):
        run(recipe(tmp_path, captions, count, rate), tmp_path / "out")
    assert statuses(tmp_path / "out", "poison") == []


def test_a_failure_the_annotator_foresaw_breaks_nothing(tmp_path: Path) -> None:
    run(recipe(tmp_path, ["sample"] * 5, 1, 0.0), tmp_path / "out")
    assert statuses(tmp_path / "out", "poison") == ["failed bad_sample"] * 5


def test_each_shard_is_counted_alone(tmp_path: Path) -> None:
    asked = recipe(tmp_path, ["raise", "fine", "raise", "fine"], 2, 0.0).model_copy(update={"samples_per_shard": 2})
    run(asked, tmp_path / "out")
    assert statuses(tmp_path / "out", "poison") == ["failed runtime_error", "ok"] * 2


def test_rows_that_are_skipped_are_none_of_a_small_shard(tmp_path: Path) -> None:
    asked = recipe(tmp_path, ["raise", "raise", "fine"], 20, 0.0)
    stage = asked.stages[0].model_copy(update={"where": "image.caption = 'raise'"})
    with pytest.raises(Stopped, match="2 of 2 rows of shard 000000"):
        run(asked.model_copy(update={"stages": [stage]}), tmp_path / "out")
