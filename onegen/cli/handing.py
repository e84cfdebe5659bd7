"""`onegen export`, `subset` and `compare`: hand a dataset on, whole or in part, and say how two differ."""

from collections.abc import Set
from pathlib import Path
from typing import Annotated

import typer

from onegen.cli.data import DatasetArgument, reading
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
            help="coco, huggingface, croissant, webdataset (with Energon's and wids' indexes) or fiftyone.",
            show_default=False,
        ),
    ],
    validation: Annotated[
        float, typer.Option(help="Share of keys that go to the validation split, by hash of the key.")
    ] = 0.0,
    leave_out: LeaveOutOption = None,
) -> None:
    """Write a dataset in a format that others read, with the licence, attribution and source of every image.

    coco: images, and COCO JSON of boxes, masks, keypoints and captions. huggingface: Parquet that `datasets` loads.
    croissant: Parquet and the JSON-LD that describes it. webdataset: the packed tars with indexes for Megatron-Energon
    and wids. fiftyone: a dataset for its app. The same dataset always gives the same bytes, and is never changed.
    """
    from onegen.audit.export import Samples, Wishes, find_format
    from onegen.audit.export import export as write

    chosen = find_format(to)
    with reading(dataset) as opened:
        samples = Samples.of(opened, _keys(leave_out))
        handed = write(samples, out, chosen, Wishes(validation))
    typer.echo(f"{handed.samples:,} samples, {handed.images:,} images of {samples.told()}")
    for name, count in sorted(handed.counts.items()):
        typer.echo(f"  {name}: {count:,}")
    typer.echo(f"read it with: {chosen.read.format(out=out)}")


def _keys(path: Path | None) -> Set[str]:
    """Return the keys in a file, one a line; raises ConfigError."""
    if path is None:
        return frozenset()
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--leave-out must be a text file of keys, got {path}: {error}.") from error
    return frozenset(line.strip() for line in lines if line.strip() and not line.startswith("#"))


def subset(
    dataset: DatasetArgument,
    out: OutArgument,
    where: Annotated[
        str,
        typer.Option(
            metavar="SQL",
            help="duckdb boolean over columns, as in recipes: 'scores.sharpness > 50 AND nsfw < 0.5'.",
            show_default=False,
        ),
    ],
    leave_out: LeaveOutOption = None,
) -> None:
    """Make a dataset of the samples over which an expression is true: a copy, with its order, rights and recipe.

    Only samples that select kept are asked; null is false. Part bytes are copied as they are. The same recipe builds
    on: what it made is current in the subset, and only new columns are computed.
    """
    from onegen.audit.subset import subset as make

    with reading(dataset) as opened:
        made = make(opened, out, where, _keys(leave_out))
    typer.echo(f"{out}: {made.kept:,} samples in {made.shards:,} shards; {made.left:,} items left out")
