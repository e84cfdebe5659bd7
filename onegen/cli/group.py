"""`onegen group`: from a dataset of images to the subjects it shows."""

from pathlib import Path
from typing import Annotated

import typer

from onegen.cli.data import DatasetArgument, reading
from onegen.errors import ConfigError


def group(
    dataset: DatasetArgument,
    out: Annotated[Path, typer.Argument(metavar="PARQUET", help="Table to write.", show_default=False)],
    column: Annotated[str, typer.Option(help="Column of faces with identities.")] = "faces",
    distance: Annotated[
        float | None,
        typer.Option(min=0, help="Faces nearer than this are one person.", show_default="0.6; 1.1 of arcface"),
    ] = None,
    min_images: Annotated[int, typer.Option(min=1, help="Pictures a subject must have.")] = 4,
    min_face: Annotated[int, typer.Option(min=1, help="Pixels a face must be high.")] = 64,
) -> None:
    """Group the images of a dataset by whom they show, as a table for the source `identities`.

    The dataset must be built with the annotator faces. Only pictures with one face count: of several nobody knows whose
    picture it is.

    \b
      onegen group photos people.parquet
      onegen build identity.yaml identities      # source: {identities: people.parquet, caption: caption}
    """
    from onegen.build.group import group as run_group

    if out.suffix.lower() not in (".parquet", ".pq"):
        raise ConfigError(f"table must be a file that ends in .parquet, got {out}. Write people.parquet.")
    if not out.absolute().parent.is_dir():
        raise ConfigError(f"table must lie in a folder that is there, got {out}. Make {out.parent} first.")
    with reading(dataset) as opened:
        grouping = run_group(opened, out, column, distance, min_images, min_face)
    typer.echo(f"{out}: {len(grouping.sizes):,} subjects, {sum(grouping.sizes):,} pictures")
    for reason, count in grouping.left_out.items():
        typer.echo(f"left out: {count:,} pictures, {reason}")
