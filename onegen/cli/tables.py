"""What the command line prints when work is done: summaries and tables for people."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from onegen.audit.status import DatasetStatus
from onegen.build.build import Summary
from onegen.cli.lines import print_line
from onegen.config.recipe import Recipe
from onegen.sample import PACKED, STATUSES
from onegen.shards.manifest import Counts
from onegen.weights.fetch import ModelStatus, State

STATE_STYLES: Mapping[State, str] = {"ready": "green", "missing": "", "damaged": "red"}


NO_DIGEST = "none: something is absent, stale or under way"


def print_summary(summary: Summary, url: str, recipe: Recipe) -> None:
    """Print how a build ended: rows by status per column, where the shards are, and what to do about failures."""
    console = Console()
    table = _counts_table()
    rows = dict(summary.counts) | ({PACKED: summary.packed} if summary.packed else {})
    for column, counts in rows.items():
        table.add_row(column, *_cells(counts))
    console.print(table)
    print_line(console, f"digest {summary.digest or NO_DIGEST}")
    if summary.packed is not None:
        print_line(console, f"shards {url}/{PACKED}/*.tar")
    failed = sum(counts.failed for column, counts in rows.items() if column != PACKED)
    if failed:
        print_line(
            console, f"{failed} failed row(s): see `onegen status {url}`, mend the cause, then `onegen retry {url}`"
        )
    for column in summary.over_limit:
        rate, allowed = rows[column].failed / rows[column].rows, recipe.limits.failure_rate
        print_line(
            console,
            Text(f"{column}: {rate:.1%} of rows failed, limits.failure_rate allows {allowed:.1%}", style="red"),
        )


def print_status(status: DatasetStatus) -> None:
    """Print what a dataset holds, who builds it, and what its workers did when last heard."""
    console = Console()
    card = status.card
    size = f"{card.plan.items:,} items in {card.plan.shards:,} shards from {card.source_root}"
    print_line(console, Text.assemble((card.name, "bold"), f"  {size}"))
    table = _counts_table("shards", after=("made by", "why failed"))
    for column in status.columns:
        reasons = ", ".join(f"{reason} {number:,}" for reason, number in column.reasons)
        shards = f"{column.shards:,}/{card.plan.shards:,}"
        table.add_row(column.name, shards, *_cells(column.counts), column.producer, reasons)
    console.print(table)
    print_line(console, f"digest {status.digest or NO_DIGEST}")
    if status.driver:
        print_line(console, f"being built by {status.driver}")
    elif card.state == "building":
        print_line(console, "no driver at work: the last build did not finish. Run `onegen build` again to go on.")
    if status.last and card.state == "building":
        print_line(console, f"last heard: {status.last.get('event')} {status.last.get('step', '')}".rstrip())
        for number, doing in status.last.get("workers", {}).items():
            print_line(console, f"  worker {number}: {doing}")


def print_models(rows: Sequence[ModelStatus], folder: Path) -> None:
    """Print the weights by package: what uses them, whether they are ready, their licences and hashes."""
    console = Console()
    wide = max(len(row.file) for row in rows)
    for (package, version), files in groupby(rows, lambda row: (row.package, row.version)):
        for index, row in enumerate(files):
            if index == 0:
                optional = ", optional" if row.optional else ""
                users = f" for {', '.join(row.used_by)}{optional}"
                print_line(console, Text.assemble((f"{package} {version}", "bold"), users))
            state = (f"{row.state:7}", STATE_STYLES[row.state])
            facts = f"  {row.file:{wide}}  {row.licence:12}  sha256 {row.sha256}"
            print_line(console, Text.assemble("  ", state, facts))
    print_line(console, f"in {folder}; bring what is missing with `onegen models fetch`")


def _counts_table(*before: str, after: Sequence[str] = ()) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("column")
    for name in (*before, "rows", *STATUSES):
        table.add_column(name, justify="right")
    for name in after:
        table.add_column(name)
    return table


def _cells(counts: Counts) -> list[str]:
    cells = [f"{getattr(counts, name):,}" for name in ("rows", *STATUSES)]
    if counts.failed:
        cells[-1] = f"[red]{cells[-1]}[/]"
    return cells
