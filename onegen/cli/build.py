"""`onegen build` and `onegen retry`: run the main job with progress, and say how it ended."""

import contextlib
import os
from collections.abc import Sequence
from contextlib import AbstractContextManager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from onegen.cli.data import DatasetArgument, ReasonOption, StageOption, reading
from onegen.cli.exit_codes import ExitCode
from onegen.cli.keys import read_keys
from onegen.errors import ConfigError

if TYPE_CHECKING:
    from onegen.build.work import Options
    from onegen.config.recipe import Recipe
    from onegen.shards.dataset import Card
    from onegen.storage.store import Store


class Executor(StrEnum):
    """Kinds of workers."""

    local = "local"
    ray = "ray"


ExecutorOption = Annotated[
    Executor | None,
    typer.Option(help="Worker processes on this machine, or Ray actors.", show_default="local; ray with --address"),
]
AddressOption = Annotated[
    str | None,
    typer.Option(metavar="ADDRESS", help="Ray cluster to join, such as 10.0.0.1:6379; without it, Ray starts here."),
]


def parse_workers(text: str) -> Any:
    """Return a number of workers, or the word auto."""
    if text == "auto":
        return text
    if not text.isdecimal():
        raise typer.BadParameter(f"must be a whole number from 0, or auto, got {text!r}.")
    return int(text)


WorkersOption = Annotated[
    Any,
    typer.Option(
        metavar="N|auto",
        parser=parse_workers,
        help="Workers per stage (default: the recipe's, else auto: as many as cores and GPUs, here or of a cluster, "
        "have room for); 0 runs in this process, for debugging.",
    ),
]


RecipeArgument = Annotated[
    str,
    typer.Argument(metavar="RECIPE", help="YAML file, or the name of one that ships: quickstart.", show_default=False),
]
OutArgument = Annotated[
    str, typer.Argument(metavar="OUT", help="Folder or fsspec URL to build into.", show_default=False)
]


def build(
    recipe: RecipeArgument,
    out: OutArgument,
    executor: ExecutorOption = None,
    address: AddressOption = None,
    workers: WorkersOption = None,
    only: Annotated[
        list[str] | None, typer.Option(metavar="STAGE", help="Run this stage or column alone. May be repeated.")
    ] = None,
    recompute: Annotated[
        list[str] | None,
        typer.Option(
            metavar="STAGE",
            help="Throw away and make again this stage's or column's work, where its inputs or options changed "
            "(all of it where nothing did). May be repeated.",
        ),
    ] = None,
    drop: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN", help="Delete a column that the recipe no longer makes. May be repeated."),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Plan the first N items only; pinned with the plan.")] = None,
    extend: Annotated[
        bool,
        typer.Option(
            "--extend", help="List the source again, and add what is new or changed as new shards; --limit is of all."
        ),
    ] = False,
    dataset: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Of a collection, build this dataset alone. May be repeated."),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Print the recipe with defaults, the plan and what is done; write nothing."),
    ] = False,
) -> ExitCode:
    """Build a dataset from a recipe, or go on where an earlier build stopped.

    Run the same command again after Ctrl-C, a crash or a full disk: committed shards are not made twice. Add an
    annotator to the recipe and run it again: only its column is computed. RECIPE may be a collection, such as one_gen:
    its datasets are built one after the other, each in a folder of OUT.

    \b
      onegen build pipelines/quickstart.yaml demo/dataset
      onegen build recipe.yaml out --executor ray --workers 8
      onegen build recipe.yaml /shared/out --address 10.0.0.1:6379 --workers auto
      onegen build recipe.yaml out --dry-run
      onegen build recipe.yaml out --extend
      onegen build one_gen out --dataset pixelprose --dataset coyo
    """
    from onegen.build.work import Options
    from onegen.config.collection import is_collection
    from onegen.config.recipe import load_recipe
    from onegen.config.shipped import recipe_path

    path = recipe_path(recipe)
    with reading(out) as opened:
        store = opened.store
    steps, again, unwanted = (tuple(names or ()) for names in (only, recompute, drop))
    options = Options(
        kind_of(executor, address), address, workers, steps, again, limit=limit, drop=unwanted, extend=extend
    )
    if is_collection(path):
        from onegen.cli.collection import build_collection, dry_run_collection

        names = tuple(dataset or ())
        if dry_run:
            return dry_run_collection(path, store, options, names)
        return build_collection(path, store, options, names, _run)
    if dataset:
        raise ConfigError(f"--dataset must be told of a collection, got {path}, which is one recipe. Leave it out.")
    loaded = load_recipe(path)
    if dry_run:
        from onegen.build.dry_run import describe

        typer.echo(describe(loaded, store, options))
        return ExitCode.DONE
    return _run(loaded, store, options)


def retry(
    dataset: DatasetArgument,
    stage: StageOption = None,
    reason: ReasonOption = "*",
    keys: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Only samples of these keys, one a line: what browse saves."),
    ] = None,
    executor: ExecutorOption = None,
    address: AddressOption = None,
    workers: WorkersOption = None,
    trust: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MODULE",
            help="Import this module or those below it, run the code of this repository, or send pictures to this "
            "address, if the dataset names it. May be repeated.",
        ),
    ] = None,
) -> ExitCode:
    """Compute failed samples again, and everything that waited for them.

    Their files are taken as they are now, so mend them first; samples that are not failed are copied, byte for byte.
    `onegen failures` lists the failed ones with their reasons.
    """
    from onegen.build.work import Options
    from onegen.config.parse import parse
    from onegen.config.recipe import Recipe
    from onegen.executor.contract import Retry

    with reading(dataset) as opened:
        store = opened.store
        card = opened.require_card()
    loaded = parse(Recipe, card.recipe, f"recipe of {dataset}")
    _require_trust(loaded, trust or (), dataset)
    only = None if keys is None else read_keys(keys, "--keys")
    options = Options(kind_of(executor, address), address, workers, retry=Retry(reason, only), retry_stage=stage)
    with _folder_of(card):
        return _run(loaded, store, options)


def kind_of(executor: Executor | None, address: str | None) -> Literal["local", "ray"]:
    """Return the kind of workers: who names a cluster means Ray."""
    if executor is not None:
        return executor.value
    return "local" if address is None else "ray"


def _require_trust(recipe: "Recipe", trusted: Sequence[str], dataset: str) -> None:
    """Raise ConfigError for what a dataset, which may be a stranger's, names and the command line does not.

    These are modules to import, repositories whose code to run, and addresses to send pictures to.
    """
    from onegen.config.recipe import code_of, endpoints_of, modules_of

    for module in modules_of(recipe):
        if not any(f"{module}.".startswith(f"{name}.") for name in trusted):
            raise ConfigError(
                f"--trust must name the modules that {dataset} wants imported, got none for {module}. Look at what it "
                f"does, then add --trust {module}."
            )
    for model in code_of(recipe):
        if model not in trusted:
            raise ConfigError(
                f"--trust must name the repositories whose code {dataset} would run, got none for {model}. Look at "
                f"what it does, then add --trust {model}."
            )
    for address in endpoints_of(recipe):
        if address not in trusted:
            raise ConfigError(
                f"--trust must name the address that {dataset} would send pictures to, and your secret, got none for "
                f"{address}. If it is yours, add --trust {address}."
            )


def _folder_of(card: "Card") -> AbstractContextManager[None]:
    """Return the context in which relative paths of a dataset's recipe mean what they meant when it was built."""
    folder = card.started_in
    return contextlib.chdir(folder) if folder is not None and os.path.isdir(folder) else contextlib.nullcontext()


def _run(recipe: "Recipe", store: "Store", options: "Options") -> ExitCode:
    """Build with progress, print how it ended, and return its exit code."""
    import pyarrow as pa

    from onegen.audit.failures import first_failures
    from onegen.audit.readable import brief
    from onegen.audit.rules import rule_counts
    from onegen.build.build import build as run_build
    from onegen.cli.lines import command
    from onegen.cli.progress import Progress
    from onegen.cli.tables import print_summary
    from onegen.shards.dataset import Dataset
    from onegen.shards.views import SETS

    try:
        with Progress(store) as progress:
            summary = run_build(recipe, store, options, progress)
    except pa.ArrowException as error:
        # Plans and indexes are read by the driver too; a worker's failure is told by the executor.
        raise ConfigError(
            f"{store.url} must hold tables that can be read, got {brief(error)}. "
            f"{command('verify', store.url)} names what is damaged, and the way out."
        ) from error
    has_failures = any(counts.failed for counts in summary.counts.values())
    failures = first_failures(Dataset(store)) if has_failures else ()
    rules = rule_counts(Dataset(store)) if recipe.kind in SETS else ()
    print_summary(summary, store.url, recipe, progress.seconds, failures, rules)
    return ExitCode.FAILURES if summary.over_limit else ExitCode.DONE
