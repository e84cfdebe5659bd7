"""The proof that it learns: scenes made, built, trained on and scored on others by the commands that anyone types.

    python -m onegen.eval.reproduce [--long] [--out reproduce] [--scenes 4000] [--unseen 200] [--steps N]

Every command is printed before it runs and can be typed alone; what is done already stays. At the end stand a table,
ours beside the mean map of the training scenes, the wrong condition and chance, and a picture of the first unseen
scenes. Fewer scenes and steps try the way, and prove nothing.
`make reproduce` is this command. docs/training.md.
"""

import argparse
import itertools
import os
import resource
import shlex
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml
from PIL import Image, ImageDraw

from onegen.config.training import load_training, training_path
from onegen.demo.scenes import PAINTS
from onegen.errors import ConfigError
from onegen.eval.records import DRAWINGS, RESULT, Result, read_result
from onegen.eval.solids import Solids
from onegen.eval.table import make_protocol
from onegen.executor.machine import count_cores
from onegen.storage.whole import whole

STEPS = 12
"""Solver steps."""
_MADE, _MADE_UNSEEN = "demo/solids", "demo/solids_unseen"
_SCORES = ("rmse", "abs_rel", "delta1", "psnr", "right_colour")
_HEADS = ("depth RMSE", "AbsRel", "delta1", "PSNR, dB", "right colour")
_FORMS = ("{:.3f}", "{:.3f}", "{:.3f}", "{:.1f}", "{:.1%}")
"""Scores of the table, what they are called there, and how each is written."""
_SHOWN, _SIDE, _GAP, _HEAD = 8, 96, 4, 14


@dataclass(frozen=True)
class Proof:
    """How much there is to it: its folder, the sizes in pixels of its parts, scenes trained on, scenes scored, steps.

    Each part has its training recipe, named `reproduce_SIZE`; `steps` of None are those of the recipe. A step has two
    bins, so two `cores` share it, and one takes as many CPU minutes for the same model.
    """

    out: Path = Path("reproduce")
    sizes: tuple[int, ...] = (32,)
    scenes: int = 4000
    unseen: int = 200
    steps: int | None = None
    cores: int = 2

    @property
    def dataset(self) -> Path:
        """The dataset trained on."""
        return self.out / "dataset"

    def commands(self) -> list[list[str]]:
        """Return the command lines in order, each without the interpreter."""
        parts = (self.part(size, _name(size), self.recipe(size), self.out) for size in self.sizes)
        return [*self.making(), *itertools.chain(*parts)]

    def making(self) -> list[list[str]]:
        """Return the command lines that make scenes and datasets."""
        return [
            ["onegen", "models", "fetch", "minilm"],
            ["onegen.demo.scenes", _MADE, "--count", str(self.scenes)],
            ["onegen.demo.scenes", _MADE_UNSEEN, "--count", str(self.unseen), "--seed", "1"],
            ["onegen", "build", "solids", str(self.dataset)],
            ["onegen", "build", "solids_unseen", str(self.out / "unseen")],
        ]

    def part(self, size: int, name: str, recipe: str, folder: Path) -> list[list[str]]:
        """Return the command lines that train by a recipe at a size, draw and score; results are called `name`."""
        words = [recipe, "--data", str(self.dataset), "--out", str(folder / name)]
        ranks = ["torch.distributed.run", "--standalone", "--nproc-per-node", str(self.cores), "-m", "onegen.trainer"]
        drawn = ["--model", str(folder / name / "model"), "--data", str(self.out / "unseen"), "--steps", str(STEPS)]
        named = ["--out", str(folder / "results"), "--name", name, "--workers", str(self.cores)]
        options = ["-O", f"train={self.dataset.absolute()}", "-O", f"size={size}", "-O", f"samples={self.unseen}"]
        return [
            [*(["onegen", "train"] if self.cores == 1 else ranks), *words],
            ["onegen", "eval", "solids", *drawn, *named, *options],
        ]

    def recipe(self, size: int) -> str:
        """Return the training recipe of a part: the shipped one, or where it says otherwise a file written beside."""
        shipped = load_training(training_path(_name(size)))
        start = None if size == self.sizes[0] else str(self.out / _name(self.sizes[0]) / "model")
        own = shipped.model_copy(update={"steps": self.steps or shipped.steps, "start": start})
        if own == shipped:
            return own.name
        path = self.out / f"{own.name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole(path) as file:
            file.write_text(yaml.safe_dump(own.model_dump(mode="json"), sort_keys=False), encoding="utf-8")
        return str(path)

    def show(self, size: int) -> None:
        """Print the table of a part and write its picture."""
        folder = self.out / "results" / f"solids-{size}" / _name(size)
        scores = table(read_result(folder / RESULT))
        print(f"\n{size} x {size} pixels, {self.unseen} scenes never looked at:\n{scores}")
        options = {"data": self.out / "unseen", "train": self.dataset, "size": size, "samples": self.unseen}
        protocol = make_protocol("solids", options)
        assert isinstance(protocol, Solids), "named so"
        path = self.out / f"{_name(size)}.png"
        with whole(path) as file:
            grid(protocol, folder / DRAWINGS).save(file, "PNG", optimize=True)
        print(f"the first of them: {path}")


def _name(size: int) -> str:
    """Return the name of a part's recipe and of its run."""
    return f"reproduce_{size}"


def run(line: Sequence[str]) -> float:
    """Run a command line, one thread a process; return the CPU seconds it took. Raises ConfigError if it fails."""
    print(f"$ {shlex.join(line if line[0] == 'onegen' else ['python', '-m', *line])}", flush=True)
    before = _cpu_seconds()
    done = subprocess.run([sys.executable, "-m", *line], env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False)
    if done.returncode:
        raise ConfigError(f"command above must end well, got exit code {done.returncode}. The same command goes on.")
    return _cpu_seconds() - before


def _cpu_seconds() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return children.ru_utime + children.ru_stime


def table(result: Result) -> str:
    """Return the scores of a part as text: ours beside what needs no model."""
    rows = [
        (f"ours, {STEPS} steps", scores_of(result)),
        ("mean depth of the training scenes", scores_of(result, "_mean")),
        ("another scene's condition", scores_of(result, "_other")),
        ("chance", [*[None] * 4, 1 / len(PAINTS)]),
    ]
    return lines_of(rows)


def scores_of(result: Result, suffix: str = "") -> list[float | None]:
    """Return what a table shows of a result, None where it has no such score."""
    values = {metric.name: metric.value for metric in result.metrics}
    return [values.get(f"{name}{suffix}") for name in _SCORES]


def lines_of(rows: Iterable[tuple[str, Sequence[float | None]]]) -> str:
    """Return named scores as a table."""
    lines = [f"{'':40s}" + "".join(f"{head:>14s}" for head in _HEADS)]
    for name, row in rows:
        cells = ["" if value is None else form.format(value) for form, value in zip(_FORMS, row, strict=True)]
        lines.append(f"{name:40s}" + "".join(f"{cell:>14s}" for cell in cells))
    return "\n".join(lines)


def grid(protocol: Solids, folder: Path, count: int = _SHOWN) -> Image.Image:
    """Return the first scenes as a picture, a row each: what was given, what was drawn, the truth."""
    rows = []
    for unit in protocol.units()[:count]:
        rows.append(protocol.illustrate({"unit": unit.name}, folder))
    labels = [label for label, _ in rows[0]]
    step = _SIDE + _GAP
    page = Image.new("RGB", (_GAP + step * len(labels), _HEAD + step * len(rows)), (240, 240, 240))
    pen = ImageDraw.Draw(page)
    for column, label in enumerate(labels):
        pen.text((_GAP + step * column, 1), label, fill=(20, 20, 20), font_size=9)
        for number, row in enumerate(rows):
            shown = row[column][1].resize((_SIDE, _SIDE), Image.Resampling.NEAREST)
            page.paste(shown, (_GAP + step * column, _HEAD + step * number))
    return page


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m onegen.eval.reproduce", description=__doc__.split("\n\n")[0])
    parser.add_argument("--out", type=Path, default=Path("reproduce"), help="folder of all that is made (reproduce)")
    parser.add_argument("--long", action="store_true", help="the second part too, at 64 pixels")
    parser.add_argument("--scenes", type=int, default=Proof.scenes, help="scenes trained on (4000)")
    parser.add_argument("--unseen", type=int, default=Proof.unseen, help="scenes scored (200)")
    parser.add_argument("--steps", type=int, help="training steps of each part (those of its recipe)")
    options = parser.parse_args(arguments)
    if min(options.scenes, options.unseen) < 2 or (options.steps is not None and options.steps < 1):
        parser.error("--scenes and --unseen must be 2 or more, --steps 1 or more")
    sizes = (32, 64) if options.long else (32,)
    cores = min(Proof.cores, count_cores())
    proof = Proof(options.out, sizes, options.scenes, options.unseen, options.steps, cores)
    spent: list[tuple[str, float]] = []
    try:
        for line in proof.commands():
            spent.append((" ".join(line[:3]), run(line)))
        for size in proof.sizes:
            proof.show(size)
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print("\nCPU minutes, of all processes:")
    for name, seconds in spent:
        print(f"  {name:48s}{seconds / 60:8.1f}")
    print(f"  {'together':48s}{sum(seconds for _, seconds in spent) / 60:8.1f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
