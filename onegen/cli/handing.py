"""`onegen export`, `subset` and `compare`: hand a dataset on, whole or in part, and say how two differ."""

from pathlib import Path
from typing import Annotated

import typer

from onegen.cli.data import PICTURES, DatasetArgument, reading, save_picture
from onegen.cli.keys import read_keys
from onegen.errors import ConfigError

OutArgument = Annotated[
    Path,
    typer.Argument(
        metavar="OUT", help="A new folder of this machine; one that is there is refused.", show_default=False
    ),
]
LeaveOutOption = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Keys to leave out, one a line: takedowns, opt-outs.", show_default="none"),
]


def export(
    dataset: DatasetArgument,
    out: OutArgument,
    to: Annotated[
        str,
        typer.Option(
            metavar="FORMAT",
            help="coco, huggingface, croissant, webdataset (with Energon's and wids' indexes), fiftyone or nerfstudio.",
            show_default=False,
        ),
    ],
    validation: Annotated[
        float, typer.Option(help="Share of keys that go to the validation split, by hash of the key.")
    ] = 0.0,
    leave_out: LeaveOutOption = None,
) -> None:
    """Write a dataset in a format that others read, with the licence, attribution and source of every image.

    coco: images, and COCO JSON of boxes, masks as RLE, keypoints and captions, a file a column.

    huggingface: Parquet that `datasets` loads without being told features, with a card.

    croissant: the same Parquet, and JSON-LD that describes it.

    webdataset: the packed tars, with indexes for Megatron-Energon and wids.

    fiftyone: a dataset to look at in its app.

    nerfstudio: a folder a scene, with its cameras in transforms.json.

    The same dataset always gives the same bytes, and is never changed. Read it back with the command that is printed.
    """
    from onegen.audit.export import Samples, Wishes, find_format
    from onegen.audit.export import export as write

    chosen = find_format(to)
    with reading(dataset) as opened:
        samples = Samples.of(opened, read_keys(leave_out, "--leave-out"))
        handed = write(samples, out, chosen, Wishes(validation))
    typer.echo(f"{handed.samples:,} samples, {handed.images:,} images of {samples.told()}")
    for name, count in sorted(handed.counts.items()):
        typer.echo(f"  {name}: {count:,}")
    typer.echo(f"read it with: {chosen.read.format(out=out)}")


def subset(
    dataset: DatasetArgument,
    out: OutArgument,
    where: Annotated[
        str | None,
        typer.Option(
            metavar="SQL",
            help="duckdb boolean over columns, as in recipes: 'scores.sharpness > 50 AND nsfw < 0.5'.",
            show_default=False,
        ),
    ] = None,
    keys: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Only these keys, one a line: what browse saves.", show_default="all"),
    ] = None,
    leave_out: LeaveOutOption = None,
) -> None:
    """Make a dataset of the samples that --where or --keys choose: a copy, with its order, rights and recipe.

    Only samples that select kept are asked; null is false. Part bytes are copied as they are. The same recipe builds
    on: what it made is current in the subset, and only new columns are computed.
    """
    from onegen.audit.subset import subset as make

    if where is None and keys is None:
        raise ConfigError("subset needs --where or --keys, got neither. Say which samples to keep.")
    only = None if keys is None else read_keys(keys, "--keys")
    with reading(dataset) as opened:
        made = make(opened, out, where, read_keys(leave_out, "--leave-out"), only)
    typer.echo(f"{out}: {made.kept:,} samples in {made.shards:,} shards; {made.left:,} items left out")


def compare(
    dataset: DatasetArgument,
    others: Annotated[
        list[str],
        typer.Argument(
            metavar="COLUMN OTHER | DATASET",
            help="Two columns of a modality, or another dataset or version.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path, typer.Option(metavar="PNG", help="Where to draw the images on which two columns agree least.")
    ] = Path("worst.png"),
) -> None:
    """Say how far two columns of a dataset agree, or what differs between two datasets.

    Two columns: mean and quantiles of the measure of their modality, in [0, 1] with 1 for the same, and the worst on a
    contact sheet. Two datasets: keys added, gone and changed in each column, and producers that differ.
    """
    if len(others) > 2:
        raise ConfigError(f"compare takes two columns, or one other dataset, got {len(others)} names.")
    if len(others) == 1:
        _compare_datasets(dataset, others[0])
        return
    if out.suffix.lower() not in PICTURES or out.is_dir():
        raise ConfigError(f"--out must be a file that ends in {', '.join(PICTURES)}, got {out}.")
    from onegen.audit.compare import compare_columns, worst_sheet
    from onegen.audit.export import Samples

    one, other = others
    with reading(dataset) as opened:
        samples = Samples.of(opened)
        agreement = compare_columns(samples, one, other)
        measure = agreement.measure
        typer.echo(f"{one} and {other}: {measure.name} {measure.what}")
        typer.echo(f"{len(agreement.scores):,} images of {samples.told()}")
        for name, number in agreement.quantiles():
            typer.echo(f"  {name:6} {number:.4f}")
        for column, count in sorted(agreement.unanswered.items()):
            typer.echo(f"  no answer of {column}: {count:,}")
        if not agreement.worst:
            return
        sheet = worst_sheet(samples, agreement, one, other)
    save_picture(sheet, out)
    typer.echo(str(out))


def _compare_datasets(one: str, other: str) -> None:
    from onegen.audit.compare import compare_datasets

    with reading(one) as first, reading(other) as second:
        if other in first.columns() and second.card() is None:
            raise ConfigError(f"compare takes two columns, got {other!r} alone. Name the one to compare it with.")
        differences = compare_datasets(first, second)
    for entry in differences:
        changed = "".join(f", {what} {number:,}" for what, number in entry.changed.items())
        typer.echo(f"{entry.column}: same {entry.same:,}, added {entry.added:,}, gone {entry.gone:,}{changed}")
        if entry.producers[0] != entry.producers[1]:
            typer.echo(f"  made by {entry.producers[0]} -> {entry.producers[1]}")
