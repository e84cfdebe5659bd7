"""`onegen takedown` and `purge`: make a dataset forget samples, at once for us and then for everybody."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from onegen.cli.data import DatasetArgument, reading
from onegen.errors import ConfigError

if TYPE_CHECKING:
    from onegen.build.takedown import TakenDown
    from onegen.shards.dataset import Dataset
    from onegen.shards.takedowns import Entry

UNKNOWN_SHOWN = 5


def takedown(
    dataset: DatasetArgument,
    key: Annotated[
        list[str] | None, typer.Option(metavar="K", help="Key of a sample, or of an image in one. May be repeated.")
    ] = None,
    digest: Annotated[
        list[str] | None,
        typer.Option(metavar="D", help="SHA-256 of an image's original bytes. May be repeated."),
    ] = None,
    uri: Annotated[
        list[str] | None,
        typer.Option(metavar="U", help="File of an image, or item, as `onegen query` shows it. May be repeated."),
    ] = None,
    subject: Annotated[
        list[str] | None, typer.Option(metavar="S", help="Whom images show: all samples of it. May be repeated.")
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(metavar="LIST", help="Text with one a line: `key K`, `digest D`, `uri U`, `subject S`, or a key."),
    ] = None,
) -> None:
    """Take samples down: from now on nothing of onegen shows, trains on or hands on what matches.

    What matches nothing yet is told, and holds for what is ingested later. Files keep the bytes, and other people's
    readers see them, until `onegen purge`. Of a collection, all datasets are told; or name one of them.

    \b
      onegen takedown out --key 3f9a21bc0d4e5f607182 --subject "Ada Lovelace"
      onegen takedown out --file opted-out.txt
    """
    from onegen.build.takedown import read_list, take_down
    from onegen.shards.takedowns import check_entry

    entries: list[Entry] = [
        *(check_entry("key", value) for value in key or ()),
        *(check_entry("digest", value) for value in digest or ()),
        *(check_entry("uri", value) for value in uri or ()),
        *(check_entry("subject", value) for value in subject or ()),
        *(read_list(_text_of(file), f"--file {file}") if file is not None else ()),
    ]
    if not entries:
        raise ConfigError("takedown must be told what: --key, --digest, --uri, --subject, or --file with entries.")
    with reading(dataset) as opened:
        for url, one in _datasets(opened):
            _tell(url, one, entries, take_down(one, entries))


def _tell(url: str, dataset: "Dataset", entries: "list[Entry]", done: "TakenDown") -> None:
    from onegen.cli.lines import command
    from onegen.storage.lease import holder

    again = f", {done.known:,} were on the list" if done.known else ""
    typer.echo(f"{url}: {done.added:,} of {len(entries):,} taken down{again}; {done.rows:,} stored sample(s) match")
    for by, value in done.unknown[:UNKNOWN_SHOWN]:
        typer.echo(f"  no {by} {value}: recorded, for when it is ingested")
    if len(done.unknown) > UNKNOWN_SHOWN:
        typer.echo(f"  and {len(done.unknown) - UNKNOWN_SHOWN:,} more that match nothing: recorded")
    if done.rows:
        typer.echo(f"stock readers see them, and files keep them, until {command('purge', url)}")
    if driver := holder(dataset.store):
        typer.echo(f"being built by {driver}: shards that it ingests from here on leave them out")


def purge(dataset: DatasetArgument) -> None:
    """Remove what was taken down from every file: tars, indexes, the packed view, reports, logs and caches.

    The rows stay as tombstones that say nothing but their item. No source and no model is needed. Exports and other
    copies are not reached: make them again. Of a collection, all datasets are purged.
    """
    from onegen.build.purge import purge as run

    with reading(dataset) as opened:
        for url, one in _datasets(opened):
            if one.card() is None:
                typer.echo(f"{url}: not built yet")
                continue
            done = run(one)
            sets = f", {done.sets:,} set(s) go on without images" if done.sets else ""
            typer.echo(
                f"{url}: {done.samples:,} sample(s) removed{sets}; {done.shards:,} shard(s) made anew, "
                f"{done.deleted:,} file(s) of reports, caches and logs deleted"
            )
            if done.left:
                typer.echo(f"to be made again, by running its `onegen build` once more: {', '.join(done.left)}")
            elif done.digest is not None:
                typer.echo(f"digest {done.digest}")


def _datasets(opened: "Dataset") -> "Iterator[tuple[str, Dataset]]":
    """Yield a dataset, or those of a collection, also those that are not built yet: their lists hold for that."""
    from onegen.shards.collection import dataset_of, read_collection

    collection = read_collection(opened.store)
    if collection is None:
        opened.require_card()
        yield opened.store.url, opened
        return
    for name in collection.datasets:
        yield f"{opened.store.url}/{name}", dataset_of(opened.store, name)


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--file must be a text file with one entry a line, got {path}: {error}.") from error
