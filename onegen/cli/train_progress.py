"""How a training run shows itself: a live table on a terminal, a line for every line of metrics elsewhere."""

import time
from collections.abc import Mapping
from typing import TextIO

from rich.console import Group
from rich.table import Table
from rich.text import Text

from onegen.cli.lines import duration, print_line
from onegen.cli.live import LiveTable


class TrainProgress(LiveTable):
    """Watches a run (`onegen.trainer.watch.Watch`) on a console. A context manager: the live table closes with it.

    Where the console is no terminal, notes and numbers are lines.
    """

    def __init__(self, output: TextIO | None = None) -> None:
        super().__init__(output)
        self._step = self._steps = 0
        self._numbers: dict[str, float] = {}

    def note(self, line: str) -> None:
        """Print a line, above the table where there is one."""
        print_line(self._console, line)

    def step(self, step: int, steps: int) -> None:
        """Know that a step of so many is done."""
        self._step, self._steps = step, steps

    def numbers(self, step: int, steps: int, numbers: Mapping[str, float], line: str) -> None:
        """Take the numbers of some steps, or of a validation; `line` says them in one."""
        self.step(step, steps)
        self._numbers.update(numbers)
        if self._live is None:
            print_line(self._console, line)

    def _table(self) -> Group:
        """Return the table as it stands: losses by task, and below it pace and the time that is left."""
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
        table.add_column("loss")
        for name in ("training", "validation"):
            table.add_column(name, justify="right")
        tasks = {name.partition("/")[2]: None for name in self._numbers if name.startswith(("loss/", "validation/"))}
        for task in ["loss", *sorted(set(tasks) - {"loss"})]:
            training = self._numbers.get("loss" if task == "loss" else f"loss/{task}")
            cells = [_number(training), _number(self._numbers.get(f"validation/{task}"))]
            table.add_row(Text("all" if task == "loss" else task), *cells)
        return Group(table, Text(self._pace(), style="dim"))

    def _pace(self) -> str:
        """Return how far the run is, its pace, and the time that is left."""
        own = self._numbers
        facts = [f"step {self._step:,}/{self._steps:,}", f"{duration(time.monotonic() - self._began)} elapsed"]
        if "samples_per_second" in own:
            facts.append(f"{own['samples_per_second']:,.1f} samples/s")
            facts.append(f"{own['tokens_per_second']:,.0f} tokens/s")
        if own.get("mfu"):
            facts.append(f"MFU {own['mfu']:.1%}")
        if "eta_seconds" in own:
            facts.append(f"{duration(own['eta_seconds'])} left")
        return ", ".join(facts)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
