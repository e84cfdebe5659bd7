"""Ranks that Ray Train starts: the run is that of torchrun, and what breaks is said in our words.

PYTHONPATH=. python -m pytest tests/trainer/test_ray.py
"""

import pytest
from typer.testing import CliRunner

pytest.importorskip("ray.train.torch")

from onegen.cli.app import app
from onegen.errors import ConfigError, Stopped
from onegen.trainer import checkpoint
from onegen.trainer.ray import _cause, train_on_ray
from onegen.trainer.watch import Lines
from tests.trainer.test_trainer import finish, lines, same, start

pytestmark = pytest.mark.usefixtures("ray_session")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_ranks_of_ray_end_with_the_bits_of_torchrun_and_go_on(recipe, solids, tmp_path):
    config = recipe(steps=4, checkpoint_every=2)
    finish(start(config, solids, tmp_path / "torchrun", ranks=2))
    told: list[str] = []
    on_ray = {"ranks": 2, "address": None, "device": "cpu", "watch": Lines(told.append)}
    train_on_ray(config.model_copy(update={"steps": 2}), [solids], tmp_path / "ray", **on_ray)
    model = train_on_ray(config, [solids], tmp_path / "ray", **on_ray)
    assert model == tmp_path / "ray/model"
    assert any(line.startswith("going on from") and line.endswith("step-00000002") for line in told)
    assert same(tmp_path / "torchrun", tmp_path / "ray")
    losses = [[line["loss"] for line in lines(tmp_path / name)] for name in ("torchrun", "ray")]
    assert losses[0] == losses[1]
    assert [path.name for path in checkpoint.checkpoints(model.parent)] == ["step-00000002", "step-00000004"]
    assert not (model.parent / ".launcher").exists()
    # What a rank refuses comes back in its words.
    with pytest.raises(ConfigError, match="hed2img"):
        train_on_ray(recipe(data={"mixture": {"hed2img": 1}}), [solids], tmp_path / "refused", **on_ray)


def test_more_ranks_than_a_cluster_has_are_refused(recipe, solids, out):
    with pytest.raises(ConfigError, match=r"must be at most the CPUs of the Ray cluster, got 5 for 4"):
        train_on_ray(recipe(), [solids], out, ranks=5, address=None, device="cpu", watch=Lines(print))
    with pytest.raises(ConfigError, match=r"must be at most the GPUs of the Ray cluster, got 1 for 0"):
        train_on_ray(recipe(), [solids], out, ranks=1, address=None, device="cuda", watch=Lines(print))
    assert not out.exists()


def test_what_broke_is_what_is_said():
    from ray.train.v2._internal.exceptions import UserExceptionWithTraceback
    from ray.train.v2.api.exceptions import WorkerGroupError

    lost = UserExceptionWithTraceback(RuntimeError("Connection closed by peer"), "stack")
    full = UserExceptionWithTraceback(Stopped("the disk is full."), "stack")
    said = _cause(WorkerGroupError("", {0: lost, 1: full}))
    assert (type(said), str(said)) == (Stopped, "the disk is full.")
    died = _cause(WorkerGroupError("", {0: lost}))
    assert (
        str(died) == "a rank broke: Connection closed by peer. The last checkpoint is whole; the same command goes on."
    )


def test_an_address_needs_workers(solids, out):
    answer = CliRunner().invoke(app, ["train", "cpu_tiny", "--data", solids, "--out", str(out), "--address", "auto"])
    assert answer.exit_code == 2
    assert "--address must stand with --workers" in answer.output
