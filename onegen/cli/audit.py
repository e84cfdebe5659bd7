"""`onegen query` and `audit`: ask what a dataset holds, and publish the answer."""

from pathlib import Path
from typing import Annotated

import typer

from onegen.cli.data import DatasetArgument, reading
from onegen.cli.exit_codes import ExitCode
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


def audit(
    dataset: DatasetArgument,
    full: Annotated[bool, typer.Option("--full", help="Read every sample's bytes, not those of a thousand.")] = False,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where to write.", show_default="DATASET/report")
    ] = None,
) -> ExitCode:
    """Write index.html and statistics.json on what is in a dataset; exit 1 where its samples have defects.

    Opens from disk or an object store, needs no server and no network.
    """
    from onegen.audit.report import audit as make_report
    from onegen.cli.lines import make_console, print_line

    with reading(dataset) as opened:
        stats, findings, written = make_report(opened, full)
        for name, data in written.items():
            if out is None:
                opened.store.write(f"report/{name}", data)
                continue
            out.mkdir(parents=True, exist_ok=True)
            (out / name).write_bytes(data)
    console = make_console()
    if stats.shards < stats.planned_shards:
        print_line(console, f"still being built: {stats.shards:,} of {stats.planned_shards:,} shards")
    for kind, count in sorted(findings.counts.items()):
        first = next(defect for defect in findings.defects if defect.kind == kind)
        where = f"{first.key or f'shard {first.shard:06d}'} of {first.column}: " if first.column else ""
        print_line(console, f"{kind}: {count:,}, first {where}{first.what}")
    print_line(console, f"{out or dataset + '/report'}/index.html")
    return ExitCode.FAILURES if findings.counts else ExitCode.DONE


def browse(
    dataset: DatasetArgument,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of this machine.", show_default="a free one")] = 0,
) -> None:
    """Look into a dataset in a web browser: filter by SQL or by clicking, sort, see samples, mark keys.

    Serves this machine alone, at an address with a token that is printed, until Ctrl-C; the dataset is only read.
    """
    import contextlib

    from onegen.audit.browse.server import Server
    from onegen.audit.browse.view import Browser
    from onegen.audit.tables import open_tables

    with (
        reading(dataset) as opened,
        open_tables(opened) as tables,
        contextlib.closing(Browser(opened, tables)) as browser,
        Server(browser, port) as server,
    ):
        typer.echo(server.url)
        typer.echo("Ctrl-C ends it", err=True)
        with contextlib.suppress(KeyboardInterrupt):
            server.serve_forever()
