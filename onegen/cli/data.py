"""`onegen status`, `verify` and `show`: look at a dataset that is there, whole or in the making."""

from pathlib import Path
from typing import Annotated

import typer

from onegen.cli.exit_codes import ExitCode

DatasetArgument = Annotated[
    str, typer.Argument(metavar="DATASET", help="Folder or fsspec URL of a dataset.", show_default=False)
]


def status(dataset: DatasetArgument) -> None:
    """Show what a dataset holds and how its build goes, also while it runs or after it died."""
    from onegen.audit.status import read_status
    from onegen.cli.tables import print_status
    from onegen.shards.dataset import Dataset
    from onegen.storage import open_store

    print_status(read_status(Dataset(open_store(dataset))))


def verify(
    dataset: DatasetArgument,
    full: Annotated[bool, typer.Option("--full", help="Read and hash every byte too.")] = False,
) -> ExitCode:
    """Check every file, count, key and digest of a dataset; exit 1 where one is wrong, naming it and the way out."""
    from onegen.audit.verify import verify as find_defects
    from onegen.shards.dataset import Dataset
    from onegen.storage import open_store

    defects = 0
    for defect in find_defects(Dataset(open_store(dataset)), full):
        defects += 1
        typer.echo(f"{dataset}/{defect}")
    if defects:
        typer.echo(f"{defects} defect(s)")
        return ExitCode.FAILURES
    typer.echo(f"{dataset} is sound" + ("" if full else " (--full reads every byte too)"))
    return ExitCode.DONE


def show(
    dataset: DatasetArgument,
    keys: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY]...", help="Keys, or their beginnings.", show_default="the first 12"),
    ] = None,
    out: Annotated[Path, typer.Option(metavar="PNG", help="Where to write the picture.")] = Path("sheet.png"),
) -> None:
    """Draw samples with all their columns on one contact sheet."""
    from onegen.audit.show import show as draw
    from onegen.shards.dataset import Dataset
    from onegen.storage import open_store

    sheet = draw(Dataset(open_store(dataset)), keys or ())
    out.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(out)
    typer.echo(str(out))
