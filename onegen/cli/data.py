"""`onegen status`, `failures`, `verify` and `show`: look at a dataset that is there, whole or in the making."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from onegen.cli.exit_codes import ExitCode
from onegen.errors import ConfigError

if TYPE_CHECKING:
    from PIL.Image import Image

    from onegen.shards.dataset import Dataset

PICTURES = (".png", ".jpg", ".jpeg", ".webp")

DatasetArgument = Annotated[
    str, typer.Argument(metavar="DATASET", help="Folder or fsspec URL of a dataset.", show_default=False)
]

StageOption = Annotated[str | None, typer.Option(help="Only failures of this stage or column.", show_default="all")]
ReasonOption = Annotated[
    str, typer.Option(help="Only failures with this reason; shell patterns such as 'crash*' work.")
]


@contextlib.contextmanager
def reading(url: str) -> Iterator["Dataset"]:
    """Give a dataset to read; what its store cannot open or read is a ConfigError of one line."""
    from onegen.audit.readable import brief
    from onegen.shards.dataset import Dataset
    from onegen.shards.sparing import spare_pandas
    from onegen.storage import open_store

    spare_pandas()
    try:
        yield Dataset(open_store(url))
    except BrokenPipeError:
        # Whoever reads what is printed had enough.
        raise
    except OSError as error:
        raise ConfigError(
            f"{url} must be a dataset that can be read, got {brief(error)}. Check it and try again."
        ) from error


def status(dataset: DatasetArgument) -> None:
    """Show what a dataset holds and how its build goes, also while it runs or after it died.

    Of a collection: each dataset's part of training, and its samples beside its target.
    """
    from onegen.audit.status import read_status
    from onegen.cli.collection import print_collection
    from onegen.cli.tables import print_status
    from onegen.shards.collection import read_collection

    with reading(dataset) as opened:
        if (collection := read_collection(opened.store)) is not None:
            print_collection(collection, opened.store)
            return
        print_status(read_status(opened), dataset)


def failures(
    dataset: DatasetArgument,
    stage: StageOption = None,
    reason: ReasonOption = "*",
    csv: Annotated[bool, typer.Option("--csv", help="Print a table for programs, with a header.")] = False,
) -> None:
    """List the samples that failed: item, key, column, reason, attempts and message.

    Mend the cause, then `onegen retry` computes them again; it takes the same --stage and --reason.
    """
    from onegen.audit.failures import find_failures
    from onegen.cli.tables import print_failures

    with reading(dataset) as opened:
        print_failures(find_failures(opened, stage, reason), csv)


def verify(
    dataset: DatasetArgument,
    full: Annotated[bool, typer.Option("--full", help="Read and hash every byte too.")] = False,
    repair: Annotated[
        bool, typer.Option("--repair", help="First make damaged plans and the card again, where all else proves them.")
    ] = False,
    recipe: Annotated[
        str | None,
        typer.Option(metavar="RECIPE", help="With --repair: what it was built by, where dataset.json no longer says."),
    ] = None,
) -> ExitCode:
    """Check every file, count, key and digest of a dataset; exit 1 where one is wrong, naming it and the way out.

    --repair makes again what the rest still proves: a plan from the source, if that is as it was, and dataset.json.
    Columns and shards are made again by `onegen build`.
    """
    if recipe is not None and not repair:
        raise ConfigError("--recipe must stand with --repair, got it alone. Add --repair.")
    from onegen.cli.collection import verify_collection
    from onegen.shards.collection import read_collection

    with reading(dataset) as opened:
        collection = read_collection(opened.store)
    if collection is not None:
        if recipe is not None:
            raise ConfigError(f"--recipe must be told of one dataset, got the collection {dataset}. Name DATASET/NAME.")
        return verify_collection(collection, opened.store, lambda url: _verify(url, full, repair, None))
    return _verify(dataset, full, repair, recipe)


def _verify(dataset: str, full: bool, repair: bool, recipe: str | None) -> ExitCode:
    """Check one dataset and print what is wrong with it, repaired first where that is wanted."""
    from onegen.audit.verify import verify as find_defects
    from onegen.shards.takedowns import read_takedowns, version_of

    defects = 0
    version = None
    with reading(dataset) as opened:
        if repair:
            _repair(opened, recipe, dataset)
        for defect in find_defects(opened, full):
            defects += 1
            typer.echo(f"{dataset}/{defect}")
        if not defects and (card := opened.card()) is not None:
            version = version_of(card.digest, read_takedowns(opened.store))
    if defects:
        typer.echo(f"{defects} defect(s)")
        return ExitCode.FAILURES
    if version is not None:
        typer.echo(f"version {version}")
    typer.echo(f"{dataset} is sound" + ("" if full else " (--full reads every byte too)"))
    return ExitCode.DONE


def _repair(dataset: "Dataset", recipe: str | None, url: str) -> None:
    """Repair a dataset, and say what was."""
    from onegen.build.repair import repair
    from onegen.config.recipe import load_recipe
    from onegen.config.shipped import recipe_path

    loaded = load_recipe(recipe_path(recipe)) if recipe is not None else None
    for line in repair(dataset, loaded):
        typer.echo(f"repaired {url}/{line}")


def show(
    dataset: DatasetArgument,
    keys: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY]...", help="Keys, or their beginnings.", show_default="the first 12"),
    ] = None,
    out: Annotated[Path, typer.Option(metavar="PNG", help="Where to write the picture.")] = Path("sheet.png"),
    column: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN", help="Draw this one alone; may be repeated.", show_default="all"),
    ] = None,
) -> None:
    """Draw samples with all their columns on one contact sheet; of a scene also where its cameras stand."""
    from onegen.audit.show import show as draw

    if out.suffix.lower() not in PICTURES or out.is_dir():
        raise ConfigError(f"--out must be a file that ends in {', '.join(PICTURES)}, got {out}. Write --out sheet.png.")
    with reading(dataset) as opened:
        sheet = draw(opened, keys or (), column or ())
    save_picture(sheet, out)
    typer.echo(str(out))


def save_picture(sheet: "Image", out: Path) -> None:
    """Write a picture; raises ConfigError where that cannot be."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        sheet.save(out)
    except OSError as error:
        raise ConfigError(f"--out must be a file that can be written, got {out}: {error}.") from error
