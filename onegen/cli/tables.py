"""What the command line prints when work is done: summaries and tables for people."""

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from rich.console import Console
from rich.table import Table

from onegen.audit.status import DatasetStatus
from onegen.build.build import Summary
from onegen.config.recipe import Recipe
from onegen.sample import PACKED, STATUSES
from onegen.shards.manifest import Counts
from onegen.weights.fetch import ModelStatus


def print_summary(summary: Summary, url: str, recipe: Recipe) -> None:
    """Print how a build ended: rows by status per column, where the shards are, and what to do about failures."""
    console = Console()
    table = _counts_table()
    rows = dict(summary.counts) | ({PACKED: summary.packed} if summary.packed else {})
    for column, counts in rows.items():
        table.add_row(column, *_cells(counts))
    console.print(table)
    console.print(f"digest {summary.digest}", highlight=False, soft_wrap=True)
    if summary.packed is not None:
        console.print(f"shards {url}/{PACKED}/*.tar", highlight=False, soft_wrap=True)
    failed = sum(counts.failed for column, counts in rows.items() if column != PACKED)
    if failed:
        console.print(
            f"{failed} failed row(s): see `onegen status {url}`, mend the cause, then `onegen retry {url}`",
            highlight=False,
            soft_wrap=True,
        )
    for column in summary.over_limit:
        rate = rows[column].failed / rows[column].rows
        console.print(
            f"[red]{column}: {rate:.1%} of rows failed, limits.failure_rate allows {recipe.limits.failure_rate:.1%}[/]",
            highlight=False,
            soft_wrap=True,
        )


def print_status(status: DatasetStatus) -> None:
    """Print what a dataset holds."""
    console = Console()
    card = status.card
    console.print(
        f"[bold]{card.name}[/]  {card.plan.items:,} items in {card.plan.shards:,} shards from {card.source_root}",
        highlight=False,
        soft_wrap=True,
    )
    table = _counts_table("shards", after=("made by", "why failed"))
    for column in status.columns:
        reasons = ", ".join(f"{reason} {number:,}" for reason, number in column.reasons)
        shards = f"{column.shards:,}/{card.plan.shards:,}"
        table.add_row(column.name, shards, *_cells(column.counts), column.producer, reasons)
    console.print(table)
    console.print(f"digest {status.digest}", highlight=False, soft_wrap=True)
    if status.driver:
        console.print(f"being built by {status.driver}", highlight=False, soft_wrap=True)
    elif card.state == "building":
        console.print(
            "no driver at work: the last build did not finish. Run `onegen build` again to go on.", highlight=False
        )
    if status.last and card.state == "building":
        workers = status.last.get("workers", {})
        console.print(
            f"last heard: {status.last.get('event')} {status.last.get('step', '')}", highlight=False, soft_wrap=True
        )
        for number, doing in workers.items():
            console.print(f"  worker {number}: {doing}", highlight=False, soft_wrap=True)


def print_models(rows: Sequence[ModelStatus], folder: Path) -> None:
    """Print the weights by package: what uses them, whether they are ready, their licences and hashes."""
    console = Console()
    wide = max(len(row.file) for row in rows)
    for (package, version), files in groupby(rows, lambda row: (row.package, row.version)):
        for index, row in enumerate(files):
            if index == 0:
                optional = ", optional" if row.optional else ""
                console.print(
                    f"[bold]{package} {version}[/] for {', '.join(row.used_by)}{optional}",
                    highlight=False,
                    soft_wrap=True,
                )
            state = {"ready": "[green]ready  [/]", "missing": "missing", "damaged": "[red]damaged[/]"}[row.state]
            line = f"  {state}  {row.file:{wide}}  {row.licence:12}  sha256 {row.sha256}"
            console.print(line, highlight=False, soft_wrap=True)
    console.print(f"in {folder}; bring what is missing with `onegen models fetch`", highlight=False, soft_wrap=True)


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
