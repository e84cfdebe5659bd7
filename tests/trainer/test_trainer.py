"""Whole runs: resumed ones, broken ones, refused ones.

PYTHONPATH=. python -m pytest tests/trainer/test_trainer.py
"""

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file
from torch.distributed.checkpoint.api import CheckpointException

from onegen.config.recipe import load_recipe
from onegen.config.shipped import recipe_path
from onegen.demo import scenes
from onegen.errors import ConfigError, Stopped
from onegen.model.nextdit import NextDiT
from onegen.sampler.pipeline_onediffusion import OneDiffusionPipeline
from onegen.trainer import checkpoint, trainer
from onegen.trainer.cost import Sizes, require_memory
from onegen.trainer.lora import load_adapter
from onegen.trainer.parts import held_out
from onegen.trainer.trainer import Trainer, train
from onegen.trainer.validate import SIGMAS
from onegen.trainer.watch import Lines
from onegen.trainer.world import World
from tests.tiny import run as build

ROOT = Path(__file__).parents[2]
HERE = World(0, 1, torch.device("cpu"))
QUIET = {"say": lambda _: None, "device": "cpu"}


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "model/transformer/diffusion_pytorch_model.safetensors")


def same(one: Path, other: Path) -> bool:
    first, second = weights(one), weights(other)
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def distance(one: Path, other: Path) -> float:
    first, second = weights(one), weights(other)
    return max(float((first[name] - second[name]).abs().max()) for name in first)


def apart(one: Path, other: Path, begun: dict[str, torch.Tensor]) -> float:
    """Return how far two runs ended from each other, as a part of how far they went."""
    first, second = weights(one), weights(other)
    between = sum(float((first[name] - second[name]).square().sum()) for name in first)
    went = sum(float((first[name] - begun[name]).square().sum()) for name in first)
    return (between / went) ** 0.5


def lines(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def start(config, data: str, run: Path, *words: str, ranks: int = 1) -> subprocess.Popen[str]:
    """Start a run in processes of its own."""
    file = run.with_suffix(".yaml")
    file.write_text(yaml.safe_dump(config.model_dump(mode="json")))
    head = [sys.executable, "-m"]
    if ranks > 1:
        head += ["torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks), "-m"]
    command = [*head, "onegen.trainer", str(file), "--data", data, "--out", str(run), "--device", "cpu", *words]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str]) -> str:
    _, told = process.communicate()
    assert process.returncode == 0, told
    return told


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_a_run_writes_metrics_checkpoints_grids_and_a_model_that_samples(recipe, solids, out):
    changes = {"checkpoint_every": 3, "keep": 1, "validate_every": 3, "validation_examples": 4, "grid_examples": 1}
    config = recipe(**changes, grid_steps=2, sampling_shift=6.0, network={"prediction": "data"})
    model = train(config, [solids], out, **QUIET)
    assert [path.name for path in checkpoint.checkpoints(out)] == ["step-00000006"]
    told = lines(out)
    assert [line["step"] for line in told if "loss" in line] == [1, 2, 3, 4, 5, 6]
    assert [line["step"] for line in told if "validation/loss" in line] == [3, 6]
    assert all(line["samples_per_second"] > 0 and line["mfu"] > 0 for line in told if "loss" in line)
    assert any(name.startswith("loss_at/") for name in told[0])
    validated = next(line for line in told if "validation/loss" in line)
    assert {f"validation_at/{sigma}" for sigma in SIGMAS} <= set(validated)
    assert validated["validation/loss"] == pytest.approx(np.mean([validated[f"validation_at/{s}"] for s in SIGMAS]))
    assert list((out / "grids").glob("*.png"))
    pipe = OneDiffusionPipeline.from_pretrained(model)
    assert pipe.scheduler.config.shift == 6.0
    assert pipe.transformer.config.prediction == "data"
    assert pipe("text2image", prompt="a red ball", num_inference_steps=1).images[0].size == (16, 16)
    assert len(pipe("text2image", prompt="a red ball", height=16, width=16, num_inference_steps=2).images) == 1


@pytest.mark.parametrize("workers", [0, 2])
def test_a_run_that_was_killed_ends_with_the_weights_of_one_that_was_not(recipe, solids, tmp_path, workers):
    config = recipe(steps=20, checkpoint_every=10)
    train(config, [solids], tmp_path / "whole", workers=workers, **QUIET)
    killed = start(config, solids, tmp_path / "killed", "--loader-workers", str(workers))
    assert killed.stderr is not None
    for line in killed.stderr:
        if line.startswith("step 13/"):
            killed.send_signal(signal.SIGKILL)
            break
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL
    assert [path.name for path in checkpoint.checkpoints(tmp_path / "killed")] == ["step-00000010"]
    train(config, [solids], tmp_path / "killed", workers=workers, **QUIET)
    assert same(tmp_path / "whole", tmp_path / "killed")
    losses = [[line["loss"] for line in lines(tmp_path / name)] for name in ("whole", "killed")]
    assert losses[0] == losses[1]
    assert len(losses[0]) == 20


def test_loader_workers_change_nothing(recipe, solids, tmp_path):
    for workers in (0, 2):
        train(recipe(steps=3), [solids], tmp_path / str(workers), workers=workers, **QUIET)
    assert same(tmp_path / "0", tmp_path / "2")


def test_one_bin_of_eight_is_eight_bins_of_one(recipe, solids, tmp_path):
    ends = []
    for number, split in enumerate((lambda all_: [all_], lambda all_: [[one] for one in all_])):
        made = Trainer(recipe(data={"bins": 8}), [solids], tmp_path / str(number), HERE, 0, Lines(lambda _: None))
        examples = [example for bins in made.loader for bin_ in bins for example in bin_][:8]
        made._take(split(examples), trainer.Pace())
        ends.append({name: weight.detach().clone() for name, weight in made.network.named_parameters()})
    moved = max(float((ends[0][name] - ends[1][name]).abs().max()) for name in ends[0])
    # AdamW's first step is the sign of the gradient times the rate, so that what is near 0 may differ by twice that.
    assert moved <= 2e-3
    apart = sum(int(((ends[0][name] - ends[1][name]).abs() > 1e-6).sum()) for name in ends[0])
    assert apart <= 0.002 * sum(weight.numel() for weight in ends[0].values())


def test_additions_are_trained_resumed_and_exported(recipe, solids, tmp_path):
    # Gates begin at zero, and what is behind them moves once they have.
    train(recipe(steps=6, optimizer={"warmup": 0}), [solids], tmp_path / "base", **QUIET)
    start_of = str(tmp_path / "base/model")
    config = recipe(steps=4, checkpoint_every=2, start=start_of, lora={"rank": 2}, optimizer={"lr": 1e-2, "warmup": 0})
    train(config, [solids], tmp_path / "whole", **QUIET)
    train(config.model_copy(update={"steps": 2}), [solids], tmp_path / "resumed", **QUIET)
    train(config, [solids], tmp_path / "resumed", **QUIET)
    assert same(tmp_path / "whole", tmp_path / "resumed")
    assert distance(tmp_path / "whole", tmp_path / "base") > 1e-4
    plain = NextDiT.from_pretrained(tmp_path / "base/model/transformer")
    load_adapter(tmp_path / "whole/lora", plain)
    merged = weights(tmp_path / "whole")
    assert all(torch.allclose(value, merged[name], atol=1e-6) for name, value in plain.state_dict().items())


def test_a_model_trained_further_says_its_new_size(recipe, solids, tmp_path):
    train(recipe(steps=1), [solids], tmp_path / "small", **QUIET)
    larger = recipe(steps=1, start=str(tmp_path / "small/model"), data={"resolution": 32, "tokens": 64})
    pipe = OneDiffusionPipeline.from_pretrained(train(larger, [solids], tmp_path / "large", **QUIET))
    assert pipe("text2image", prompt="a red ball", num_inference_steps=1).images[0].size == (32, 32)


def test_other_data_and_a_folder_of_something_else_are_refused(recipe, solids, tmp_path):
    config = recipe(steps=2, checkpoint_every=2)
    train(config, [solids], tmp_path / "run", **QUIET)
    photos = tmp_path / "scenes"
    photos.mkdir()
    for number in range(100, 120):
        scenes.write_scene(photos, 32, 0, number)
    described = load_recipe(recipe_path("solids"))
    build(
        described.model_copy(update={"source": described.source | {"folder": str(photos)}}),
        tmp_path / "other",
        workers=0,
    )
    with pytest.raises(ConfigError, match=r"must go on with the data that it began with.*other samples.*another --out"):
        train(config.model_copy(update={"steps": 3}), [str(tmp_path / "other")], tmp_path / "run", **QUIET)
    with pytest.raises(ConfigError, match="--out must be empty or the folder of a run"):
        train(config, [solids], tmp_path / "other", **QUIET)


@pytest.mark.slow
def test_two_ranks_that_share_a_network_draw_its_grids(recipe, solids, tmp_path):
    changes = {"validation_examples": 2, "grid_examples": 1, "grid_steps": 2, "validate_every": 2}
    config = recipe(steps=2, parallel="fsdp2", **changes)
    finish(start(config, solids, tmp_path / "two", ranks=2))
    train(config.model_copy(update={"parallel": "ddp"}), [solids], tmp_path / "one", **QUIET)
    numbers = [next(line for line in lines(tmp_path / n) if "validation/loss" in line) for n in ("one", "two")]
    assert numbers[0]["validation/loss"] == pytest.approx(numbers[1]["validation/loss"], rel=1e-3)
    drawn = [
        {path.name: np.array(Image.open(path)) for path in (tmp_path / n / "grids").iterdir()} for n in ("one", "two")
    ]
    assert drawn[0].keys() == drawn[1].keys() != set()
    for name, pixels in drawn[0].items():
        assert np.abs(pixels.astype(int) - drawn[1][name]).mean() < 2, name


@pytest.mark.slow
@pytest.mark.parametrize("parallel", ["ddp", "fsdp2"])
def test_two_ranks_are_as_one_and_one_goes_on_from_two(recipe, solids, tmp_path, parallel):
    config = recipe(steps=4, checkpoint_every=4, parallel=parallel, optimizer={"warmup": 0})
    train(config, [solids], tmp_path / "one", **QUIET)
    finish(start(config, solids, tmp_path / "two", ranks=2))
    begun = Trainer(config, [solids], tmp_path / "begun", HERE, 0, Lines(lambda _: None)).network.state_dict()
    assert apart(tmp_path / "one", tmp_path / "two", begun) < 0.02
    losses = [[line["loss"] for line in lines(tmp_path / name)] for name in ("one", "two")]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    longer = config.model_copy(update={"steps": 6})
    for name in ("one", "two"):
        train(longer, [solids], tmp_path / name, **QUIET)
    assert apart(tmp_path / "one", tmp_path / "two", begun) < 0.02


def test_a_half_written_checkpoint_is_not_taken_up(recipe, solids, out):
    config = recipe(steps=4, checkpoint_every=2)
    train(config, [solids], out, **QUIET)
    before = weights(out)
    (out / "checkpoints/step-00000009").mkdir()
    (out / "checkpoints/.part-step-00000008").mkdir()
    told: list[str] = []
    train(config.model_copy(update={"steps": 4}), [solids], out, device="cpu", say=told.append)
    assert told[0].endswith("step-00000004")
    assert all(torch.equal(before[name], value) for name, value in weights(out).items())


def test_a_damaged_checkpoint_is_one_line_with_the_way_out(recipe, solids, out):
    config = recipe(steps=2, checkpoint_every=2)
    train(config, [solids], out, **QUIET)
    (file,) = (out / "checkpoints/step-00000002").glob("*.distcp")
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(ConfigError, match=r"must be whole and of this network, got .*step-00000002.*Remove it"):
        train(config.model_copy(update={"steps": 3}), [solids], out, **QUIET)


def test_a_loss_that_is_not_finite_names_step_and_samples_and_keeps_the_checkpoint(recipe, solids, out, monkeypatch):
    config = recipe(steps=4, checkpoint_every=2)
    real, calls = trainer.squared_errors, []

    def spoiled(network, batch, prediction):
        calls.append(batch)
        return real(network, batch, prediction) * (float("nan") if len(calls) > 4 else 1.0)

    monkeypatch.setattr(trainer, "squared_errors", spoiled)
    with pytest.raises(
        Stopped, match=r"got loss nan.* at step 3, of .*/[0-9a-f]{20}.*the last good checkpoint is step-00000002"
    ):
        train(config, [solids], out, **QUIET)
    assert [path.name for path in checkpoint.checkpoints(out)] == ["step-00000002"]


def test_a_full_disk_is_one_line_and_the_last_checkpoint_stays(recipe, solids, out, monkeypatch):
    config = recipe(steps=4, checkpoint_every=2)
    real = checkpoint.state_dict_saver.save

    def full(state, *, checkpoint_id, **options):
        if checkpoint_id.endswith("4"):
            # As DCP tells it: by rank, with its stack.
            raise CheckpointException("", {0: (OSError(errno.ENOSPC, "No space left on device"), None)})
        return real(state, checkpoint_id=checkpoint_id, **options)

    monkeypatch.setattr(checkpoint.state_dict_saver, "save", full)
    with pytest.raises(Stopped, match=r"step-00000004 could not be written: the disk is full. The checkpoint before"):
        train(config, [solids], out, **QUIET)
    assert [path.name for path in checkpoint.checkpoints(out)] == ["step-00000002"]
    monkeypatch.undo()
    train(config, [solids], out, **QUIET)
    assert not list((out / "checkpoints").glob(".part-*"))


def test_another_recipe_is_refused_and_named(recipe, solids, out):
    train(recipe(steps=1), [solids], out, **QUIET)
    with pytest.raises(ConfigError, match=r"began with another recipe: optimizer: .*Put it back"):
        train(recipe(steps=1, optimizer={"lr": 2e-3}), [solids], out, **QUIET)
    with pytest.raises(ConfigError, match="seed: 0 -> 1"):
        train(recipe(steps=1, seed=1), [solids], out, **QUIET)
    pinned = json.loads((out / trainer.CONFIG).read_text())
    del pinned["noise"]["images"], pinned["tread"]
    (out / trainer.CONFIG).write_text(json.dumps(pinned))
    train(recipe(steps=2, log_every=2), [solids], out, **QUIET)  # fields of later versions have their defaults


def test_weights_stay_in_full_precision(recipe, solids, out):
    made = Trainer(recipe(precision="bf16"), [solids], out, HERE, 0, Lines(lambda _: None))
    made._take(next(iter(made.loader)), trainer.Pace())
    assert {weight.dtype for weight in made.network.parameters()} == {torch.float32}
    assert {weight.dtype for weight in made.ema.shadow.values()} == {torch.float32}


def test_muon_and_checkpointing_train_too(recipe, solids, tmp_path):
    train(recipe(steps=2, checkpointing=True), [solids], tmp_path / "checkpointed", **QUIET)
    train(recipe(steps=2), [solids], tmp_path / "plain", **QUIET)
    assert distance(tmp_path / "checkpointed", tmp_path / "plain") < 1e-5
    train(recipe(steps=2, optimizer={"name": "muon"}), [solids], tmp_path / "muon", **QUIET)
    assert distance(tmp_path / "muon", tmp_path / "plain") > 1e-4


def test_a_run_that_cannot_fit_is_refused(recipe, solids, out, monkeypatch):
    monkeypatch.setattr("onegen.trainer.cost._memory_of", lambda _: 10**6)
    with pytest.raises(ConfigError, match=r"must fit its device, got about .* GB for 0.0 GB. Use less data.tokens"):
        Trainer(recipe(), [solids], out, HERE, 0, Lines(lambda _: None))
    monkeypatch.undo()
    made = Trainer(recipe(), [solids], out, HERE, 0, Lines(lambda _: None))
    require_memory(made.config, made.network, Sizes.of(made.network), HERE.device, 1)


def test_data_without_the_columns_of_a_task_is_refused(recipe, solids, out):
    with pytest.raises(ConfigError, match="hed2img"):
        train(recipe(data={"mixture": {"hed2img": 1}}), [solids], out, **QUIET)


def test_a_small_validation_split_serves_every_task_and_tells_cycles(recipe, solids, out):
    tasks = {"text2image": 1, "depth2image": 1, "canny2image": 1}
    changes = {"validation_examples": 12, "grid_examples": 2, "grid_steps": 1, "validate_every": 1}
    config = recipe(steps=1, data={"mixture": tasks, "validation": 0.3, "resolution": 32, "tokens": 128}, **changes)
    held = held_out(config, [solids], 4)
    assert {example.task for example in held} == set(tasks)
    assert len({(example.key, example.task) for example in held}) == len(held) == 12
    train(config, [solids], out, **QUIET)
    told = next(line for line in lines(out) if "validation/loss" in line)
    for name in ("cycle/canny2image/edge_f1", "cycle/depth2image/spearman"):
        assert {name, f"{name}.shuffled"} <= set(told)


def test_the_loss_on_fixed_noise_falls(recipe, solids, out):
    """Forty steps of a network of 90,000 weights: it has learned that pictures are no noise."""
    config = recipe(
        steps=40,
        network={"prediction": "data"},
        noise={"mean": 1.5, "shift": 1.0, "clean": 0.5},
        optimizer={"lr": 3e-3, "warmup": 5},
        ema={"decay": 0.9, "ramp": True},
        data={"tokens": 64},
        validate_every=20,
        validation_examples=8,
    )
    first = Trainer(config, [solids], out.with_name("first"), HERE, 0, Lines(lambda _: None))
    before = trainer.fixed_loss(first.network, first._held_out(), first.encoders, config)["validation/loss"]
    train(config, [solids], out, **QUIET)
    after = [line["validation/loss"] for line in lines(out) if "validation/loss" in line]
    assert after[-1] < 0.6 * before
