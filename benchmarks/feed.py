"""Feed a trainer: how long it waits for examples, how full its bins are, and how evenly ranks are busy.

    python -m benchmarks feed

The first table trains a small network on generated scenes with one process that reads ahead, and takes the share of a
step in which the trainer waits; the first lines of metrics, in which that process starts, are left out. The second
takes the share of the trainer's CPU time that products of matrices and attention have in steps of the proof's
network, once all prompts are encoded; the profiler's own cost counts against it. The third packs the mixture of the
paper, as far as it is told: equal parts of one view, two, identities of two to five, scenes of four to twelve, 1,024
tokens a view, for eight ranks of 32,768 tokens. Useful tokens are those of views among all that the network is given;
work counts attention.
"""

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.process import run_child
from benchmarks.table import Row, Table, version
from onegen.config.parse import parse
from onegen.config.recipe import load_recipe
from onegen.config.shipped import recipe_path
from onegen.config.training import TrainConfig, load_training, training_path
from onegen.demo import scenes
from onegen.loader.bins import cut, dealt, most_work, whole_steps, work_of

BAR_WAIT, BAR_MATRIX, BAR_USEFUL, BAR_BALANCE = 0.05, 0.7, 1.0, 0.9
RANKS, TOKENS, VIEW = 8, 32_768, 1024


@dataclass(frozen=True)
class Size:
    """How many scenes there are and steps are trained, steps a line of metrics; examples of the mixture, rounds."""

    scenes: int = 200
    steps: int = 40
    a_line: int = 10
    examples: int = 20_000
    rounds: int = 3


TINY = Size(scenes=24, steps=4, a_line=2, examples=800, rounds=1)


def run(size: Size = Size()) -> list[Table]:
    """Train, pack, and return the tables."""
    with tempfile.TemporaryDirectory(prefix="onegen-bench-") as scratch:
        folder = Path(scratch)
        _build(folder, size)
        return [_waiting(folder, size), _multiplying(folder, size), _packing(size)]


def _waiting(folder: Path, size: Size) -> Table:
    waits = _waits(folder, size)
    middle = float(np.median(waits))
    row = Row(
        arm="cpu_tiny, 1 loader worker",
        values=waits,
        bar=f"< {BAR_WAIT:.0%}",
        is_met=middle < BAR_WAIT,
        versions=version("torch"),
    )
    notes = [f"{size.scenes} scenes of 64 pixels, {size.steps} steps; a value is that of {size.a_line} steps"]
    return Table("feed: share of a step in which the trainer waits for data", "share", "", [row], notes)


def _build(folder: Path, size: Size) -> None:
    """Make the scenes, and a dataset of them."""
    pictures = folder / "scenes"
    pictures.mkdir()
    for number in range(size.scenes):
        scenes.write_scene(pictures, 64, 0, number)
    recipe = load_recipe(recipe_path("solids")).model_dump(mode="json")
    recipe["source"]["folder"] = str(pictures)
    run_child("benchmarks.build", {"recipe": recipe, "out": str(folder / "data"), "options": {"workers": 0}})


def _waits(folder: Path, size: Size) -> list[float]:
    """Return the share of waiting of each line of metrics but the first."""
    from onegen.trainer.trainer import train

    described = load_training(training_path("cpu_tiny")).model_dump(mode="json")
    described |= {"steps": size.steps, "log_every": size.a_line, "validation_examples": 0}
    config = parse(TrainConfig, described, "cpu_tiny")
    train(config, [str(folder / "data")], folder / "run", workers=1, device="cpu", say=lambda line: None)
    lines = [json.loads(line) for line in (folder / "run" / "metrics.jsonl").read_text().splitlines()]
    return [float(line["waited"]) for line in lines[1:]]


def _multiplying(folder: Path, size: Size) -> Table:
    import torch

    from benchmarks.matrix_share import Profile
    from onegen.trainer.trainer import train

    described = load_training(training_path("reproduce_32")).model_dump(mode="json")
    described |= {"steps": 2 * size.a_line, "validation_examples": 0}
    config = parse(TrainConfig, described, "reproduce_32")
    shares = []
    threads = torch.get_num_threads()
    # Of an operation on several threads the profiler knows the time of one.
    torch.set_num_threads(1)
    for number in range(size.rounds):
        profile = Profile(size.a_line)
        train(config, [str(folder / "data")], folder / f"profiled-{number}", workers=1, device="cpu", watch=profile)
        shares.append(profile.share)
    torch.set_num_threads(threads)
    row = Row(
        arm="reproduce_32, bins of 32 examples",
        values=shares,
        bar=f">= {BAR_MATRIX:.0%}",
        is_met=float(np.median(shares)) >= BAR_MATRIX,
        versions=version("torch"),
    )
    notes = [f"one thread; a value is that of {size.a_line} steps after as many"]
    return Table("feed: share of a trainer's CPU time in products of matrices and attention", "share", "", [row], notes)


def _packing(size: Size) -> Table:
    useful, balance, full = zip(*(_packed(number, size.examples) for number in range(size.rounds)), strict=True)
    rows = [
        Row("useful tokens", useful, bar=f">= {BAR_USEFUL:.0%}", is_met=min(useful) >= BAR_USEFUL),
        Row(
            f"mean over busiest of {RANKS} ranks",
            balance,
            bar=f">= {BAR_BALANCE:.0%}",
            is_met=min(balance) >= BAR_BALANCE,
        ),
        Row("tokens of a bin over its most", full),
    ]
    notes = [f"{size.examples:,} examples, another order each time; none is dropped"]
    return Table("feed: the paper's mixture, packed", "share", "", rows, notes)


def _packed(seed: int, examples: int) -> tuple[float, float, float]:
    """Return shares: useful tokens, the mean work of ranks over the busiest's, tokens over what bins could hold."""
    rng = np.random.default_rng(seed)
    part = examples // 4
    views = [np.ones(part), np.full(part, 2), rng.integers(2, 6, part), 2 * rng.integers(2, 7, part)]
    tokens = rng.permutation(np.concatenate(views).astype(np.int64) * VIEW)
    work = work_of(tokens)
    bins = whole_steps(cut(tokens, TOKENS, work, most_work(tokens, TOKENS)), RANKS, work)
    given = np.array([tokens[bin_].sum() for bin_ in bins])
    costs = [float(work[bin_].sum()) for bin_ in bins]
    busy = [
        [sum(costs[start + own] for own in rank) for rank in dealt(costs[start : start + RANKS], RANKS)]
        for start in range(0, len(bins), RANKS)
    ]
    mean = sum(float(np.mean(step)) for step in busy)
    total = float(given.sum())
    return float(tokens.sum()) / total, mean / sum(max(step) for step in busy), total / (len(bins) * TOKENS)
