"""`onegen query` and `audit`: ask what a dataset holds, and publish the answer."""

from pathlib import Path
from typing import Annotated

import typer

from onegen.cli.data import DatasetArgument, reading
from onegen.errors import ConfigError

ROWS_SHOWN = 100


def query(
    dataset: DatasetArgument,
    sql: Annotated[str, typer.Argument(metavar="SQL", help="One SELECT, in quotes.", show_default=False)],
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write .csv or .parquet.", show_default="a table on the screen")
    ] = None,
) -> None:
    """Ask a dataset by SQL (duckdb, read only): tables samples, failures, manifests, and one for each column.

    In samples the fields of a column stand under its name: SELECT key, image.width FROM samples WHERE nsfw.nsfw > 0.5
    """
    from onegen.audit.query import FORMATS, ask, save
    from onegen.audit.tables import open_tables
    from onegen.cli.lines import make_console, print_line
    from onegen.cli.tables import print_answer

    if out is not None and (out.suffix not in FORMATS or out.is_dir()):
        raise ConfigError(f"--out must be a file that ends in {' or '.join(FORMATS)}, got {out}. Write --out rows.csv.")
    with reading(dataset) as opened, open_tables(opened) as tables:
        answer = ask(tables, sql)
        if out is None:
            print_answer(answer, ROWS_SHOWN)
            return
        try:
            out.parent.mkdir(parents=True, exist_ok=True)
            num_rows = save(answer, out)
        except OSError as error:
            raise ConfigError(f"--out must be a file that can be written, got {out}: {error}.") from error
        print_line(make_console(), f"{out}: {num_rows:,} rows")
