"""`onegen sizes`: what more of the same would take, reckoned from a dataset that is there."""

import re
from typing import TYPE_CHECKING, Annotated, Any

import typer

from onegen.cli.data import DatasetArgument, reading

if TYPE_CHECKING:
    from onegen.build.sizes import Facts

DEFAULT_ITEMS = (1_000_000, 10_000_000, 75_000_000)
_UNITS = {"": 1, "k": 1_000, "m": 1_000_000}


def parse_items(text: str) -> Any:
    """Return a number of items such as 250000, 250k or 75M."""
    match = re.fullmatch(r"(\d+)([kKmM]?)", text.replace(",", "").replace("_", ""))
    if match is None or not int(match[1]):
        raise typer.BadParameter(f"must be a number of items such as 250000, 250k or 75M, got {text!r}.")
    return int(match[1]) * _UNITS[match[2].lower()]


def sizes(
    dataset: DatasetArgument,
    items: Annotated[
        list[Any] | None,
        typer.Option(
            metavar="N", parser=parse_items, help="Items to reckon for. Repeat it.", show_default="1M, 10M, 75M"
        ),
    ] = None,
    per_shard: Annotated[
        int | None,
        typer.Option("--per-shard", min=1, metavar="N", help="Items a shard.", show_default="as in DATASET"),
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Workers each step would have.")] = 1,
) -> None:
    """Say what more of the same would take: shards, manifests, bytes, the driver's memory, and hours of each step.

    A straight line through what the manifests of DATASET say: build a few thousand items first, on a machine like
    those that are to do the work. Bytes and rates depend on the pictures.

    \b
      onegen sizes demo/dataset
      onegen sizes demo/dataset --items 75M --per-shard 1000 --workers 64
    """
    from onegen.build.sizes import read_facts

    with reading(dataset) as opened:
        _print(read_facts(opened), tuple(items or DEFAULT_ITEMS), per_shard, workers)


def _print(facts: "Facts", counts: tuple[int, ...], per_shard: int | None, workers: int) -> None:
    from rich.table import Table
    from rich.text import Text

    from onegen.build.sizes import size_of
    from onegen.cli.lines import make_console, print_line

    console = make_console()
    reckoned = [size_of(facts, count, per_shard) for count in counts]
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("for so many items", overflow="fold")
    for size in reckoned:
        table.add_column(f"{size.items:,}", justify="right")
    table.add_row("shards", *(f"{size.shards:,}" for size in reckoned))
    table.add_row("manifests", *(f"{size.manifests:,}" for size in reckoned))
    table.add_row("stored GB", *(f"{size.stored_bytes / 1e9:,.1f}" for size in reckoned))
    table.add_row("driver GB more", *(f"{size.driver_bytes / 1e9:,.2f}" for size in reckoned))
    for rate in facts.rates:
        hours = [size.worker_hours.get(rate.step, 0.0) / workers for size in reckoned]
        table.add_row(Text(f"hours of {rate.step}"), *(f"{hour:,.1f}" for hour in hours))
    console.print(table)
    print_line(console, f"hours are those of {workers:,} worker(s) a step, at what one did here:")
    for rate in facts.rates:
        per_second = f"{rate.rows_per_second:,.1f} rows/s" if rate.rows_per_second else "not told"
        print_line(console, f"  {rate.step} ({', '.join(rate.columns)}): {per_second}")
    each = ", ".join(f"{column} {size:,.0f}" for column, size in sorted(facts.bytes_per_item.items()))
    print_line(console, f"bytes an item: {each}; manifests {facts.manifest_bytes:,.0f} a shard")
