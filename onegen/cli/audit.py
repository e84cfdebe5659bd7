"""`onegen query` and `audit`: ask what a dataset holds, and publish the answer."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from onegen.cli.data import DatasetArgument, reading
from onegen.cli.exit_codes import ExitCode
from onegen.errors import ConfigError

if TYPE_CHECKING:
    from onegen.audit.checks import Findings
    from onegen.audit.statistics import Statistics
    from onegen.config.collection import Collection
    from onegen.shards.dataset import Dataset
    from onegen.storage.store import Store

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

    Opens from disk or an object store, needs no server and no network. Of a collection: one page over all its datasets,
    with their targets and what training draws, and the report of each.
    """
    from onegen.shards.collection import read_collection

    with reading(dataset) as opened:
        collection = read_collection(opened.store)
        if collection is None:
            return _audit(opened, dataset, full, out)[0]
        return _audit_collection(collection, opened.store, dataset, full, out)


def _audit_collection(collection: "Collection", store: "Store", url: str, full: bool, out: Path | None) -> ExitCode:
    """Report each dataset that is there, then all of them on one page; the exit code is that of the worst."""
    from onegen.audit.collection import read_members
    from onegen.audit.collection_report import MemberReport, collection_page
    from onegen.cli.lines import make_console, print_line
    from onegen.sample import IMAGE
    from onegen.shards.collection import dataset_of

    worst, members = ExitCode.DONE, []
    for status in read_members(store, collection):
        member = dataset_of(store, status.name)
        if status.state == "absent" or not member.shards(IMAGE):
            members.append(MemberReport(status))
            continue
        own = None if out is None else out / status.name
        code, stats, findings = _audit(member, f"{url}/{status.name}", full, own)
        href = f"{status.name}/index.html" if out is not None else f"../{status.name}/report/index.html"
        members.append(MemberReport(status, stats, findings, href))
        worst = max(worst, code)
    _write(store, out, collection_page(collection, members))
    print_line(make_console(), f"{out or url + '/report'}/index.html")
    return worst


def _audit(dataset: "Dataset", url: str, full: bool, out: Path | None) -> tuple[ExitCode, "Statistics", "Findings"]:
    """Write the report of one dataset, and print what is wrong with it."""
    from onegen.audit.report import audit as make_report
    from onegen.cli.lines import make_console, print_line

    stats, findings, written = make_report(dataset, full, _last_report(dataset.store, out))
    _write(dataset.store, out, written)
    console = make_console()
    if stats.shards < stats.planned_shards:
        print_line(console, f"still being built: {stats.shards:,} of {stats.planned_shards:,} shards")
    for kind, count in sorted(findings.counts.items()):
        first = next(defect for defect in findings.defects if defect.kind == kind)
        where = f"{first.key or f'shard {first.shard:06d}'} of {first.column}: " if first.column else ""
        print_line(console, f"{kind}: {count:,}, first {where}{first.what}")
    print_line(console, f"{out or url + '/report'}/index.html")
    return ExitCode.FAILURES if findings.counts else ExitCode.DONE, stats, findings


def _last_report(store: "Store", out: Path | None) -> bytes | None:
    """Return the statistics.json of the last report, None where there is none that can be read."""
    from onegen.audit.report import STATISTICS

    try:
        return store.read(f"report/{STATISTICS}") if out is None else (out / STATISTICS).read_bytes()
    except OSError:
        return None


def _write(store: "Store", out: Path | None, written: dict[str, bytes]) -> None:
    """Write a report into its dataset's or collection's folder `report`, or where it is wanted; raises ConfigError."""
    try:
        for name, data in written.items():
            if out is None:
                store.write(f"report/{name}", data)
                continue
            out.mkdir(parents=True, exist_ok=True)
            (out / name).write_bytes(data)
    except OSError as error:
        raise ConfigError(f"--out must be a folder that can be written, got {out}: {error}.") from error


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
