"""What each switch of the trainer gives on a CPU: the proof's recipe with one thing changed, trained and scored alike.

    python -m onegen.eval.ablate [NAME ...] [--out reproduce] [--scenes 4000] [--unseen 60] [--steps 400]

Without a name, all of VARIANTS. Scenes and datasets are those of `onegen.eval.reproduce`, and what is done stays: the
minutes told are those of this command. Each variant has one seed: what differs by a few per cent says nothing. TREAD is
not among them: it routes tokens of single pictures alone, and pays where they are many. docs/training.md.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from onegen.config.training import TrainConfig, load_training, training_path
from onegen.errors import ConfigError, nearest
from onegen.eval.records import RESULT, read_result
from onegen.eval.reproduce import Proof, lines_of, run, scores_of
from onegen.executor.machine import count_cores
from onegen.storage.whole import whole

SIZE = 32
"""Pixels of a side."""
_SHIPPED = f"reproduce_{SIZE}"


@dataclass(frozen=True)
class Variant:
    """What is changed in the recipe, section by section, and what a table calls it."""

    title: str
    changes: Mapping[str, Any]


VARIANTS: Mapping[str, Variant] = {
    "shipped": Variant("as it ships", {}),
    "velocity": Variant("network.prediction: velocity", {"network": {"prediction": "velocity"}}),
    "paper-noise": Variant("noise: mean 0, std 1, shift 3", {"noise": {"mean": 0.0, "std": 1.0, "shift": 3.0}}),
    "noisy": Variant("noise.clean: 0", {"noise": {"clean": 0.0}}),
    "told": Variant("noise.clean_sigma: 0.05", {"noise": {"clean_sigma": 0.05}}),
    "worded": Variant("noise.wordless: 0", {"noise": {"wordless": 0.0}}),
    "dropout": Variant("data.text_dropout: 0.1", {"data": {"text_dropout": 0.1}}),
    "constant": Variant("optimizer.schedule: constant", {"optimizer": {"schedule": "constant"}}),
    "muon": Variant("optimizer.name: muon", {"optimizer": {"name": "muon"}}),
    "no-ramp": Variant("ema.ramp: false", {"ema": {"ramp": False}}),
    "repa": Variant("repa: {block: 2, until: all steps}", {"repa": {"block": 2, "until": 1_000_000}}),
}


def recipe_of(variant: Variant, steps: int) -> TrainConfig:
    """Return the shipped recipe with a variant's changes, for so many steps and without what only watches."""
    config = load_training(training_path(_SHIPPED)).model_dump()
    for name, own in variant.changes.items():
        config[name] = {**(config[name] or {}), **own}
    quiet = {"validate_every": steps, "checkpoint_every": steps, "keep": 1, "grid_examples": 0}
    return TrainConfig.model_validate({**config, "steps": steps, **quiet})


def measure(proof: Proof, name: str, steps: int) -> tuple[str, list[float | None]]:
    """Train, draw and score a variant; return its title, with the CPU minutes of training it now, and its scores."""
    folder = proof.out / "ablations" / str(steps)
    path = folder / f"{name}.yaml"
    folder.mkdir(parents=True, exist_ok=True)
    with whole(path) as file:
        said = recipe_of(VARIANTS[name], steps).model_dump(mode="json")
        file.write_text(yaml.safe_dump(said, sort_keys=False), encoding="utf-8")
    training, scoring = proof.part(SIZE, name, str(path), folder)
    minutes = run(training) / 60
    run(scoring)
    scores = scores_of(read_result(folder / "results" / f"solids-{SIZE}" / name / RESULT))
    return f"{VARIANTS[name].title} ({minutes:.1f} min)", scores


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m onegen.eval.ablate", description=__doc__.split("\n\n")[0])
    parser.add_argument("names", metavar="NAME", nargs="*", help=f"of {', '.join(VARIANTS)} (all)")
    parser.add_argument("--out", type=Path, default=Proof.out, help="folder of the proof (reproduce)")
    parser.add_argument("--scenes", type=int, default=Proof.scenes, help="scenes trained on (4000)")
    parser.add_argument("--unseen", type=int, default=60, help="scenes scored (60)")
    parser.add_argument("--steps", type=int, default=400, help="training steps of each (400)")
    options = parser.parse_args(arguments)
    for name in options.names:
        if name not in VARIANTS:
            parser.error(f"NAME must be one of the variants, got {name!r}; {nearest(name, list(VARIANTS))}")
    if min(options.scenes, options.unseen) < 2 or options.steps < 1:
        parser.error("--scenes and --unseen must be 2 or more, --steps 1 or more")
    proof = Proof(options.out, (SIZE,), options.scenes, options.unseen, cores=min(Proof.cores, count_cores()))
    rows: list[tuple[str, list[float | None]]] = []
    try:
        for line in [*proof.making(), ["onegen", "models", "fetch", "features"]]:
            run(line)
        for name in options.names or VARIANTS:
            rows.append(measure(proof, name, options.steps))
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"\n{options.steps:,} steps, {options.unseen} unseen scenes, CPU minutes of the training:\n{lines_of(rows)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
