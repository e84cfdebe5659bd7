"""PYTHONPATH=. python -m pytest tests/build/test_tune.py"""

from pathlib import Path

import pytest

from onegen.build import tune as tuning
from onegen.build.steps import Step
from onegen.build.tune import Advice, Setting, Trial
from onegen.build.work import Options, prepare
from onegen.errors import ConfigError
from onegen.storage.local import LocalStore
from tests.cli.test_app import invoke, write_recipe
from tests.tiny import make_recipe, write_photos

STAGES = [{"name": "look", "annotators": {"tests.plugins.tone": {}}, "batch_size": 2}]
GB = 10**9


@pytest.fixture
def recipe(tmp_path: Path):
    write_photos(tmp_path / "photos", 12)
    return make_recipe(tmp_path / "photos", STAGES)


@pytest.fixture
def step(recipe, tmp_path: Path) -> Step:
    return prepare(recipe, LocalStore(str(tmp_path / "none")), Options()).steps[1]


def trial(batch: int, rate: float, busy: float = 0.5, gpu: int = 0, halved: bool = False) -> Trial:
    return Trial(Setting(batch, 1.0), rate, busy, GB, gpu, halved)


def advised(step: Step, *trials: Trial, monkeypatch: pytest.MonkeyPatch, cores: int = 16, gpus: int = 0) -> Advice:
    monkeypatch.setattr(tuning, "count_cores", lambda: cores)
    monkeypatch.setattr(tuning, "count_gpus", lambda: gpus)
    monkeypatch.setattr(tuning, "gpu_bytes", lambda: 80 * GB)
    return tuning._advice(step, trials, 36_000)


def test_a_larger_batch_is_taken_where_it_is_much_faster(step, monkeypatch):
    best = advised(step, trial(2, 100), trial(4, 103), trial(8, 120), monkeypatch=monkeypatch)
    assert (best.best.setting.batch_size, best.num_gpus, best.workers) == (8, 0, 16)
    assert best.worker_hours == pytest.approx(36_000 / 120 / 3600)
    assert best.hours == pytest.approx(best.worker_hours / 16)
    assert (best.gpu_hours, best.core_hours) == (0, best.worker_hours)


def test_a_batch_that_did_not_fit_is_not_taken(step, monkeypatch):
    assert (
        advised(step, trial(2, 100), trial(4, 200, halved=True), monkeypatch=monkeypatch).best.setting.batch_size == 2
    )


@pytest.mark.parametrize(
    ("gigabytes", "busy", "share"),
    [(10, 0.1, 1 / 6), (3, 0.1, 1 / 8), (30, 0.2, 1 / 2), (40, 0.1, 1.0), (10, 0.97, 1.0), (10, 0.4, 1 / 2)],
)
def test_the_share_of_a_gpu_leaves_room_for_memory_and_for_work(step, monkeypatch, gigabytes, busy, share):
    advice = advised(step, trial(8, 100, busy, gigabytes * GB), monkeypatch=monkeypatch, gpus=2)
    assert advice.num_gpus == pytest.approx(share)
    assert advice.workers == min(16, round(2 / share))
    assert advice.gpu_hours == pytest.approx(advice.worker_hours * share)


def test_it_measures_every_step_and_tries_larger_batches(recipe, tmp_path):
    heard: list[str] = []
    store = LocalStore(str(tmp_path / "scratch"))
    advice = list(tuning.tune(recipe, store, 8, None, heard.append))
    assert [step.step for step in advice] == ["image", "look", "pack"]
    assert all(step.rows == 12 and step.best.rate > 0 for step in advice)
    assert heard[0] == "building 8 items once"
    assert heard[1] == "look: batches of 4 on 1 core(s)"
    (look,) = (step for step in advice if step.step == "look")
    assert [tried.setting.batch_size for tried in look.trials][:2] == [2, 4]


def test_a_sample_without_rows_for_a_step_is_refused(tmp_path):
    write_photos(tmp_path / "photos", 2)
    recipe = make_recipe(tmp_path / "photos", [STAGES[0] | {"where": "image.width < 1"}])
    with pytest.raises(ConfigError, match="must leave rows for every step, got none for 'look'"):
        list(tuning.tune(recipe, LocalStore(str(tmp_path / "scratch")), 2, None, lambda _: None))


def test_the_command_proposes_lines_and_leaves_nothing(recipe, tmp_path):
    (tmp_path / "work").mkdir()
    path = write_recipe(tmp_path, recipe)
    told = invoke("tune", path, "--sample", 4, "--items", 1000, "--folder", tmp_path / "work")
    assert told.exit_code == 0, told.output
    assert "for all 1,000 items: " in told.stdout
    assert "- {name: look, batch_size: " in told.stdout
    assert not list((tmp_path / "work").iterdir())
