"""What a benchmark returns, and how it is printed: one table, a row per arm, the bar beside what was measured."""

import importlib.metadata
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table as RichTable

from benchmarks.measure import BUSY_LOAD


@dataclass(frozen=True)
class Row:
    """One arm.

    `values` are its measurements, one a round; `ratio` compares it with the table's reference arm as the title says;
    `bar` is the requirement, `is_met` whether this run meets it (None where the arm has none); `versions` names what
    ran, `wall` is for the eye only.
    """

    arm: str
    values: Sequence[float]
    ratio: float | None = None
    bar: str = ""
    is_met: bool | None = None
    versions: str = ""
    wall: str = ""


@dataclass(frozen=True)
class Table:
    """One benchmark's rows. `unit` says what the values are, `reference` which arm the ratios are over."""

    title: str
    unit: str
    reference: str
    rows: Sequence[Row]
    notes: Sequence[str] = field(default=())
    loads: Sequence[float] = field(default=())


def show(table: Table, console: Console) -> None:
    """Print a table and its notes; a bar that is not met is printed as loudly as one that is."""
    drawn = RichTable(title=table.title, title_justify="left", caption_justify="left")
    drawn.add_column("arm")
    drawn.add_column(table.unit, justify="right")
    drawn.add_column(f"over {table.reference}", justify="right")
    drawn.add_column("bar")
    drawn.add_column("met")
    drawn.add_column("n", justify="right")
    drawn.add_column("wall", justify="right")
    drawn.add_column("versions")
    for row in table.rows:
        met = {None: "", True: "yes", False: "[bold red]NO[/]"}[row.is_met]
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}x"
        drawn.add_row(row.arm, spread(row.values), ratio, row.bar, met, str(len(row.values)), row.wall, row.versions)
    console.print(drawn)
    for note in table.notes:
        console.print(f"  {note}", highlight=False)
    if table.loads:
        busy = sum(load > BUSY_LOAD for load in table.loads)
        word = f", {busy} of {len(table.loads)} above {BUSY_LOAD}: disturbed, read ratios only" if busy else ""
        console.print(f"  load {min(table.loads):.1f} to {max(table.loads):.1f}{word}", highlight=False)
    console.print()


def spread(values: Sequence[float]) -> str:
    """Return `median [min-max]`, with as many decimals as the size asks for."""
    if not values:
        return "void"
    middle = statistics.median(values)
    decimals = 0 if abs(middle) >= 100 else 2 if abs(middle) >= 1 else 3
    if len(values) == 1:
        return f"{middle:,.{decimals}f}"
    return f"{middle:,.{decimals}f} [{min(values):,.{decimals}f}-{max(values):,.{decimals}f}]"


def version(*packages: str) -> str:
    """Return `name version` of installed packages, comma-separated."""
    return ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)
