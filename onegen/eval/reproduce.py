"""The proof that it learns: scenes made, built, trained on and scored on others by the commands that anyone types.

    python -m onegen.eval.reproduce [--long] [--out reproduce]

Every command is printed before it runs and can be typed alone; what is done already stays. At the end stand a table,
ours beside the mean map of the training scenes, the wrong condition and chance, and a picture of the first unseen
scenes.
`make reproduce` is this command. docs/training.md.
"""

import argparse
import os
import resource
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw

from onegen.demo.scenes import PAINTS
from onegen.errors import ConfigError
from onegen.eval.records import DRAWINGS, RESULT, Result, read_result
from onegen.eval.solids import Solids
from onegen.eval.table import make_protocol
from onegen.storage.whole import whole

SCENES, UNSEEN, STEPS = 4000, 200, 12
"""Scenes that are trained on, scenes that are scored, and solver steps."""
_MADE, _MADE_UNSEEN = "demo/solids", "demo/solids_unseen"
_FORMS = ("{:.3f}", "{:.3f}", "{:.3f}", "{:.1f}", "{:.1%}")
_SHOWN, _SIDE, _GAP, _HEAD = 8, 96, 4, 14


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the proof: its training recipe, named `reproduce_SIZE`, at a size in pixels."""

    size: int

    @property
    def name(self) -> str:
        """Name of the recipe and of its run."""
        return f"reproduce_{self.size}"


def commands(out: Path, parts: Sequence[Part]) -> list[list[str]]:
    """Return the command lines of a proof in order, each without the interpreter."""
    dataset, unseen = out / "dataset", out / "unseen"
    lines = [
        ["onegen", "models", "fetch", "minilm"],
        ["onegen.demo.scenes", _MADE, "--count", str(SCENES)],
        ["onegen.demo.scenes", _MADE_UNSEEN, "--count", str(UNSEEN), "--seed", "1"],
        ["onegen", "build", "solids", str(dataset)],
        ["onegen", "build", "solids_unseen", str(unseen)],
    ]
    for part in parts:
        lines.append(["onegen", "train", part.name, "--data", str(dataset), "--out", str(out / part.name)])
        drawn = ["--model", str(out / part.name / "model"), "--data", str(unseen), "--steps", str(STEPS)]
        named = ["--out", str(out / "results"), "--name", part.name]
        options = ["-O", f"train={dataset.absolute()}", "-O", f"size={part.size}", "-O", f"samples={UNSEEN}"]
        lines.append(["onegen", "eval", "solids", *drawn, *named, *options])
    return lines


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
    values = {metric.name: metric.value for metric in result.metrics}
    columns = ("rmse", "abs_rel", "delta1", "psnr", "right_colour")
    rows: list[tuple[str, list[float | None]]] = [
        (f"ours, {STEPS} steps", [values.get(name) for name in columns]),
        ("mean depth of the training scenes", [values.get(f"{name}_mean") for name in columns]),
        ("another scene's condition", [values.get(f"{name}_other") for name in columns]),
        ("chance", [*[None] * 4, 1 / len(PAINTS)]),
    ]
    heads = ("depth RMSE", "AbsRel", "delta1", "PSNR, dB", "right colour")
    lines = [f"{'':40s}" + "".join(f"{head:>14s}" for head in heads)]
    for name, row in rows:
        cells = [
            "" if v is None else f"{v:.1%}" if i == 4 else f"{v:.{1 if i == 3 else 3}f}" for i, v in enumerate(row)
        ]
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


def show(out: Path, part: Part) -> None:
    """Print the table of a part and write its picture."""
    folder = out / "results" / f"solids-{part.size}" / part.name
    scores = table(read_result(folder / RESULT))
    print(f"\n{part.size} x {part.size} pixels, {UNSEEN} scenes never looked at:\n{scores}")
    options = {"data": out / "unseen", "train": out / "dataset", "size": part.size, "samples": UNSEEN}
    protocol = make_protocol("solids", options)
    assert isinstance(protocol, Solids), "named so"
    path = out / f"{part.name}.png"
    with whole(path) as file:
        grid(protocol, folder / DRAWINGS).save(file, "PNG", optimize=True)
    print(f"the first {_SHOWN} of them: {path}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m onegen.eval.reproduce", description=__doc__.split("\n\n")[0])
    parser.add_argument("--out", type=Path, default=Path("reproduce"), help="folder of all that is made (reproduce)")
    parser.add_argument("--long", action="store_true", help="the second part too, at 64 pixels")
    options = parser.parse_args(arguments)
    parts = [Part(32), *([Part(64)] if options.long else [])]
    spent: list[tuple[str, float]] = []
    try:
        for line in commands(options.out, parts):
            spent.append((" ".join(line[:3]), run(line)))
        for part in parts:
            show(options.out, part)
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print("\nCPU minutes, of all processes:")
    for name, seconds in spent:
        print(f"  {name:40s}{seconds / 60:8.1f}")
    print(f"  {'together':40s}{sum(seconds for _, seconds in spent) / 60:8.1f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
