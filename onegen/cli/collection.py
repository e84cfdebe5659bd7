"""The verbs that take a dataset, for a collection of them: build each, show all, check all."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.table import Table
from rich.text import Text

from onegen.audit.collection import MemberStatus, read_members
from onegen.cli.exit_codes import ExitCode
from onegen.cli.lines import command, make_console, print_line
from onegen.config.collection import Collection, load_collection, recipe_of
from onegen.config.recipe import Recipe
from onegen.errors import ConfigError
from onegen.shards.collection import dataset_of, write_collection
from onegen.storage.store import Store

if TYPE_CHECKING:
    from onegen.build.work import Options

Build = Callable[[Recipe, Store, "Options"], ExitCode]
"""How one dataset is built, told about, and ends."""


def build_collection(path: Path, store: Store, options: "Options", names: tuple[str, ...], build: Build) -> ExitCode:
    """Build the datasets of a collection one after the other, those of `names` alone where there are any.

    What can be refused before the work begins is, for all of them at once. A dataset whose source turns out not to be
    there is named and the others go on; the exit code is that of the worst end.
    """
    collection = load_collection(path)
    ready = _ready(collection, path, store, options, names)
    write_collection(store, collection)
    worst = ExitCode.DONE
    for number, (name, recipe) in enumerate(ready.items(), 1):
        typer.echo(f"{name} ({number} of {len(ready)})", err=True)
        try:
            code = build(recipe, dataset_of(store, name).store, options)
        except ConfigError as error:
            code = _refused(name, error)
        worst = max(worst, code)
    print_collection(collection, store)
    return worst


def dry_run_collection(path: Path, store: Store, options: "Options", names: tuple[str, ...]) -> ExitCode:
    """Print what building each dataset would do, and whose source is not there; raises ConfigError as a build does."""
    from onegen.build.dry_run import describe

    collection = load_collection(path)
    shares, worst = collection.shares(), ExitCode.DONE
    for name, recipe in _ready(collection, path, store, options, names).items():
        member = collection.datasets[name]
        target = f", target {member.target:,} samples" if member.target else ""
        typer.echo(f"# {name}: {member.group}, {shares[name]:.1%} of training{target}. {member.origin}".rstrip())
        try:
            typer.echo(describe(recipe, dataset_of(store, name).store, options))
        except ConfigError as error:
            worst = _refused(name, error)
        typer.echo()
    return worst


def _refused(name: str, error: ConfigError) -> ExitCode:
    """Say why a dataset cannot be built, and return the exit code of that."""
    typer.echo(f"error: {name}: {error}", err=True)
    return ExitCode.USAGE


def _ready(
    collection: Collection, path: Path, store: Store, options: "Options", names: tuple[str, ...]
) -> dict[str, Recipe]:
    """Return the recipes of the datasets to build; raises ConfigError naming all of them that cannot be."""
    from onegen.build.work import check_committed, prepare

    chosen = collection.pick(names)
    one_dataset = [f"--{flag}" for flag in ("only", "recompute", "drop") if getattr(options, flag) and len(chosen) != 1]
    if one_dataset:
        raise ConfigError(f"{one_dataset[0]} must be told of one dataset, got {len(chosen)}. Add --dataset NAME.")
    ready: dict[str, Recipe] = {}
    refused: dict[str, str] = {}
    for name in chosen:
        try:
            recipe = recipe_of(collection, name, path.parent)
            check_committed(prepare(recipe, dataset_of(store, name).store, options))
            ready[name] = recipe
        except ConfigError as error:
            refused[name] = str(error)
    if refused:
        lines = [f"  {name}: {why}" for name, why in refused.items()]
        way = " ".join(f"--dataset {name}" for name in ready)
        others = f"Mend them, or build the others alone: {way}." if ready else "Mend them."
        raise ConfigError("\n".join([f"{len(refused)} dataset(s) cannot be built:", *lines, others]))
    return ready


def print_collection(collection: Collection, store: Store) -> None:
    """Print each dataset's part of training, and what is there beside its target."""
    console = make_console()
    print_line(console, Text(collection.name, style="bold"))
    table = Table()
    for column in ("dataset", "group", "training", "target", "planned", "samples", "reached", "state"):
        table.add_column(column, justify="left" if column in ("dataset", "group", "state") else "right")
    for status in read_members(store, collection):
        table.add_row(*_cells(status))
    console.print(table)
    print_line(console, f"{command('status', f'{store.url}/DATASET')} tells of one")


def _cells(status: MemberStatus) -> list[Text]:
    reached = "" if status.reached is None else f"{status.reached:.1%}"
    target = f"{status.member.target:,}" if status.member.target else ""
    state = Text(status.state, style={"complete": "green", "absent": "dim"}.get(status.state, ""))
    texts = (status.name, status.member.group, f"{status.share:.1%}", target, f"{status.planned:,}")
    return [*(Text(text) for text in (*texts, f"{status.samples:,}", reached)), state]


def verify_collection(collection: Collection, store: Store, check: Callable[[str], ExitCode]) -> ExitCode:
    """Check every dataset that is there by `check`, of its URL; returns the exit code of the worst."""
    there = [status.name for status in read_members(store, collection) if status.state != "absent"]
    absent = [name for name in collection.datasets if name not in there]
    codes = [check(f"{store.url}/{name}") for name in there]
    if absent:
        typer.echo(f"not built yet: {', '.join(absent)}")
    return max(codes, default=ExitCode.DONE)
