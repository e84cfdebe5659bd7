"""Parquet files whose rows hold pictures: which columns are which, and one row read after another.

A picture is bytes, the {bytes, path} struct that HF `datasets` writes, or a path that starts from the Parquet file's
folder (or from `image_root`). The plan is made from the footers alone: an item is `file#row`, and stands and falls
with the size and etag of its file.
"""

import os
import posixpath
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import fsspec
import pyarrow as pa

from onegen.config.bring import BringEntry
from onegen.errors import ConfigError, SampleError, nearest
from onegen.sample import Annotation, Provides
from onegen.shards.plan import LISTING, PlannedFile, PlannedItem
from onegen.sources.reading.columns import (
    Pick,
    column_names,
    column_type,
    column_value,
    is_list,
    is_picture,
    is_text,
    is_texts,
    picked,
)
from onegen.sources.reading.downloads import Downloads
from onegen.sources.reading.files import Files
from onegen.sources.reading.metadata import METADATA, KeptTypes, check_kept, field_name, kept, kept_type, provided
from onegen.sources.reading.rows import (
    DamagedTable,
    RowReader,
    first_values,
    is_row,
    open_footer,
    row_uri,
    split_row,
    table_damage,
)
from onegen.sources.reading.tree import FileTree, unreadable
from onegen.storage.spill import BATCH_ROWS

_URLS = ("url", "image_url", "img_url", "urls")
"""How a column of places to download pictures from is called, in lower case."""
_OTHER_TABLES = (".arrow", ".csv", ".feather", ".jsonl", ".parquet.gz", ".tsv")


@dataclass(frozen=True)
class Table:
    """Parquet files and their mapped columns, each by the option of the recipe that names it.

    `pictures` hold images, `texts` text, `phrases` text that must be there; where `picks` says which entry counts they
    may be lists of it. A column that is None is not asked for. `url` and `keep` become fields of the column
    `metadata`. `option` names the files in messages.
    """

    option: str
    pattern: str
    pictures: Mapping[str, str]
    texts: Mapping[str, str | None]
    phrases: Mapping[str, str | None] = field(default_factory=dict)
    picks: Mapping[str, Pick] = field(default_factory=dict)
    url: str | None = None
    keep: tuple[str, ...] = ()
    image_root: str | None = None

    @property
    def root(self) -> str:
        """Where the uris of the plan start from, absolute."""
        return self.tree.root

    def provides(self) -> Mapping[str, Provides]:
        """What is kept: the column `metadata` with `url` and the columns of `keep`, by the footers of all files.

        Raises ConfigError for a column that is nowhere or cannot be kept, and where two files do not go together.
        """
        if not self._kept:
            return {}
        types = KeptTypes()
        amiss: list[ConfigError] = []
        files = self._files.present()
        for file in files:
            try:
                schema, _ = self._footer(file)
                stored = {name: self._kept_type(schema, column, file) for name, column in self._kept.items()}
            except ConfigError as error:
                # Told by the listing; after it the rows of such a file fail by themselves.
                amiss.append(error)
                continue
            for name, kind in stored.items():
                types.add(name, kind, self.tree.path(file.uri))
        if len(amiss) == len(files):
            raise amiss[0]
        return provided(types.settled())

    def _footer(self, file: PlannedFile) -> tuple[pa.Schema, int]:
        """Return schema and number of rows of a file, read once; raises ConfigError."""
        if file not in self._footers:
            self._footers[file] = open_footer(self.tree, file)
        return self._footers[file]

    @cached_property
    def _footers(self) -> dict[PlannedFile, tuple[pa.Schema, int]]:
        return {}

    def listing(self, num_images: int) -> Iterator[pa.RecordBatch]:
        """Yield every row of every file as LISTING batches, its file once an image; raises ConfigError.

        A damaged file among sound ones is one item, which fails.
        """
        damaged: list[DamagedTable] = []
        files = self._files.listed()
        for file in files:
            try:
                schema, rows = self._footer(file)
            except DamagedTable as error:
                damaged.append(error)
                if len(damaged) == len(files):
                    raise
                images = [[file.record()] * num_images]
                yield pa.RecordBatch.from_pydict(
                    {"item": [file.uri], "images": images, "sidecars": [[]]}, schema=LISTING
                )
                continue
            self._check(schema, file)
            if file == files[0]:
                self._refuse_urls(schema, file)
            for start in range(0, rows, BATCH_ROWS):
                uris = [row_uri(file.uri, number) for number in range(start, min(start + BATCH_ROWS, rows))]
                images = [[{"uri": uri, "size": file.size, "etag": file.etag}] * num_images for uri in uris]
                yield pa.RecordBatch.from_pydict(
                    {"item": uris, "images": images, "sidecars": [[]] * len(uris)}, schema=LISTING
                )

    def passed_over(self) -> Mapping[str, int]:
        """Return how many files and folders the last listing left out, by the reason why."""
        return dict(self._files.passed)

    def read(self, item: PlannedItem) -> "TableRow":
        """Return an item's row; raises SampleError source_gone, source_changed, source_unreadable or damaged_table."""
        if not is_row(item.item):
            raise table_damage(self.tree, item.images[0])
        return TableRow(self, item.images[0], self._rows.row(item.images[0]))

    def metadata(self, item: PlannedItem, provides: Mapping[str, Provides]) -> Mapping[str, Annotation | SampleError]:
        """Return what is kept of an item's row, in the types provided.

        Raises SampleError as `read` does, and bad_metadata for a value that does not fit its field.
        """
        if not self._kept or not is_row(item.item):
            return {}
        row = self._kept_rows.row(item.images[0])
        values = {field_name(name): kept(column_value(row, column)) for name, column in self._kept.items()}
        for name, kind in provides[METADATA].fields.items():
            check_kept(name, values[name], kind, item.item)
        return {METADATA: Annotation(values)}

    def check_brought(self, entries: Mapping[str, BringEntry]) -> None:
        """Raise ConfigError where a column to bring is not in every file that can be read."""
        for file in self._files.present() if entries else ():
            try:
                schema, _ = self._footer(file)
            except ConfigError:
                continue
            for entry in entries.values():
                for place in entry.places:
                    self._column(schema, f"bring.{entry.column}", place, file)

    def brought(self, item: PlannedItem, columns: Sequence[str], column: str, is_file: bool) -> Any:
        """Return what an item's row says in a column to bring, one of `columns` read together; None for null.

        Raises SampleError as `read` does, and as `fetch` does for the path of a file.
        """
        if columns not in self._brought_rows:
            self._brought_rows[columns] = RowReader(self.tree, columns)
        value = column_value(self._brought_rows[columns].row(item.images[0]), column)
        if is_file and isinstance(value, Mapping):
            value = value.get("bytes") or value.get("path") or None
        return self.fetch(value, item.images[0], column) if is_file and isinstance(value, str) else kept(value)

    @cached_property
    def _brought_rows(self) -> dict[Sequence[str], RowReader]:
        return {}

    def fetch(self, uri: str, row: PlannedFile, option: str) -> bytes:
        """Return the bytes a path in the table names; nothing above the root is read, nor what a link there leads to.

        Raises SampleError outside_root, source_gone or source_unreadable, naming the option.
        """
        fs, base, path = self.place(uri, row)
        if "://" in uri or not path.startswith(f"{base}/"):
            raise SampleError(
                "outside_root",
                f"{option} path must lie below {base or '/'}, got {uri[:300]}. Set image_root to the folder paths "
                f"start from; lists of URLs are downloaded by img2dataset first.",
            )
        if "local" in fs.protocol:
            real, inside = os.path.realpath(path), os.path.realpath(base or "/")
            if not real.startswith(f"{inside.rstrip('/')}/"):
                raise SampleError(
                    "outside_root",
                    f"{option} path must lie below {base or '/'}, got {uri[:300]}, a link to {real}. Put the file "
                    f"itself there, or set image_root to a folder that holds both.",
                )
        try:
            return bytes(fs.cat_file(path))
        except FileNotFoundError:
            raise SampleError(
                "source_gone",
                f"{path} must be there, it is the {option} of {row.uri}. Put it there, then `onegen retry`.",
            ) from None
        except (OSError, ValueError) as error:
            raise unreadable(f"{path}, the {option} of {row.uri},", error) from error

    def place(self, uri: str, row: PlannedFile) -> tuple[fsspec.AbstractFileSystem, str, str]:
        """Return where a path in the table leads: the file system, the folder paths start from, and the path there."""
        file, _ = split_row(row.uri)
        fs, base = self._image_base or (self.tree.fs, posixpath.dirname(self.tree.path(file)))
        return fs, base, posixpath.normpath(posixpath.join(base or "/", uri))

    def absence(self, row: PlannedFile, option: str) -> SampleError:
        """Return why a row has no picture: download_failed where img2dataset's columns say so, else no_OPTION."""
        downloads = Downloads(self.tree)
        if downloads.lists_downloads(PlannedFile(split_row(row.uri)[0], row.size, row.etag)):
            failure = downloads.failure(row, row.uri)
            if failure.reason == "download_failed":
                return failure
        return SampleError(f"no_{option}", f"{self.pictures[option]} must hold an image, got null in {row.uri}.")

    @cached_property
    def _files(self) -> Files:
        return Files(
            self.pattern, (".parquet", ".pq"), self.option, dict.fromkeys(_OTHER_TABLES, "they are no Parquet")
        )

    @property
    def tree(self) -> FileTree:
        """The folder of the files."""
        return self._files.tree

    @property
    def _kept(self) -> dict[str, str]:
        """Return the columns of the table to keep, by the name each is kept under."""
        url = {"url": self.url} if self.url is not None else {}
        return {**{name: name for name in self.keep if name != self.url}, **url}

    @cached_property
    def _rows(self) -> RowReader:
        worded = (column for column in (*self.texts.values(), *self.phrases.values()) if column is not None)
        return RowReader(self.tree, list(dict.fromkeys([*self.pictures.values(), *worded])))

    @cached_property
    def _kept_rows(self) -> RowReader:
        return RowReader(self.tree, list(dict.fromkeys(self._kept.values())))

    def _check(self, schema: pa.Schema, file: PlannedFile) -> None:
        """Raise ConfigError where a mapped column is not there or is of no use."""
        place = self.tree.path(file.uri)
        for option, column in self.pictures.items():
            urls = next((name for name in schema.names if name.lower() in _URLS), None)
            if column_type(schema, column) is None and urls is not None:
                raise ConfigError(
                    f"{option} must name a column of {place}, got {column!r}; it has {', '.join(schema.names)}. "
                    f"{_download(place, urls)}"
                )
            kind = self._column(schema, option, column, file)
            if not is_picture(kind):
                are_lists = is_list(kind) and is_picture(kind.value_type)
                way_out = f" Name one of each: {option}: '{column}[0]'." if are_lists else ""
                raise ConfigError(
                    f"{option} column must hold bytes, paths or {{bytes, path}} structs, got {kind} in {column!r} of "
                    f"{place}.{way_out}"
                )
        for option, named in {**self.texts, **self.phrases, "url": self.url}.items():
            kind = self._column(schema, option, named, file) if named is not None else pa.string()
            may_be_list = option in self.picks
            if not is_text(kind) and not (may_be_list and is_texts(kind)):
                also = " or lists of it" if may_be_list else ""
                raise ConfigError(f"{option} column must hold text{also}, got {kind} in {named!r} of {place}.")
        for column in self._kept.values():
            self._kept_type(schema, column, file)

    def _refuse_urls(self, schema: pa.Schema, file: PlannedFile) -> None:
        """Raise ConfigError where the first rows of a table have URLs for pictures: every row would fail."""
        for option, column in self.pictures.items():
            kind = column_type(schema, column)
            if kind is None or not is_text(kind):
                continue
            values = [value for value in first_values(self.tree, file, column) if value]
            if values and all("://" in value for value in values):
                place = self.tree.path(file.uri)
                raise ConfigError(
                    f"{option} column must hold pictures or paths, got URLs such as {values[0][:200]} in {column!r} of "
                    f"{place}. {_download(place, column)}"
                )

    def _kept_type(self, schema: pa.Schema, column: str, file: PlannedFile) -> pa.DataType:
        stored = self._column(schema, "keep", column, file)
        kind = kept_type(stored)
        if kind is None:
            raise ConfigError(
                f"kept columns must hold text, numbers, booleans, dates, or lists and structs of these, got "
                f"{stored} in {column!r}. Leave it out of keep."
            )
        return kind

    def _column(self, schema: pa.Schema, option: str, column: str, file: PlannedFile) -> pa.DataType:
        kind = column_type(schema, column)
        if kind is None:
            raise ConfigError(
                f"{option} must name a column of {self.tree.path(file.uri)}, got {column!r}; it has "
                f"{', '.join(schema.names)}; {nearest(column, column_names(schema))}"
            )
        return kind

    @cached_property
    def _image_base(self) -> tuple[fsspec.AbstractFileSystem, str] | None:
        if self.image_root is None:
            return None
        fs, path = fsspec.url_to_fs(self.image_root)
        return fs, str(path).rstrip("/")


@dataclass(frozen=True, slots=True)
class TableRow:
    """One row of a table, asked by the options of the recipe."""

    table: Table
    file: PlannedFile
    values: Mapping[str, Any]

    def picture(self, option: str) -> bytes:
        """Return the bytes of a picture; raises SampleError `no_OPTION` where there is none, or as `fetch` does."""
        column = self.table.pictures[option]
        picture = column_value(self.values, column)
        if isinstance(picture, Mapping):
            picture = picture.get("bytes") or picture.get("path") or None
        if picture is None:
            raise self.table.absence(self.file, option)
        return picture if isinstance(picture, bytes) else self.table.fetch(str(picture), self.file, option)

    def said_path(self, option: str) -> str | None:
        """Return the path that a picture has or is said to have, None where there is none."""
        picture = column_value(self.values, self.table.pictures[option])
        path = picture.get("path") if isinstance(picture, Mapping) else picture
        return path if isinstance(path, str) and path else None

    def place(self, option: str) -> tuple[fsspec.AbstractFileSystem, str] | None:
        """Return the file system and path that a picture is read from, None where the table holds its bytes."""
        picture = column_value(self.values, self.table.pictures[option])
        uri = self.said_path(option)
        if uri is None or (isinstance(picture, Mapping) and picture.get("bytes")):
            return None
        fs, _, path = self.table.place(uri, self.file)
        return fs, path

    def text(self, option: str) -> str | None:
        """Return a text, the one picked of a list; None where it is null, empty or not asked for."""
        return self._said(option, self.table.texts[option]) or None

    def phrase(self, option: str) -> str | None:
        """Return a text, the one picked of a list; None where not asked for.

        Raises SampleError `no_OPTION` where it is null or blank, or a list of nothing else.
        """
        column = self.table.phrases[option]
        if column is None:
            return None
        phrase = self._said(option, column)
        if phrase is None or not phrase.strip():
            got = repr(phrase[:60]) if phrase is not None else "null"
            raise SampleError(f"no_{option}", f"{column} must say something, got {got} in {self.file.uri}.")
        return phrase

    def _said(self, option: str, column: str | None) -> str | None:
        said: Any = column_value(self.values, column) if column is not None else None
        return picked(said, self.table.picks.get(option, "first"), self.file.uri) if isinstance(said, list) else said


def _download(place: str, column: str) -> str:
    """Return what to do with a table of URLs."""
    return (
        f"Lists of URLs are downloaded by img2dataset first: img2dataset --url_list {place} --input_format parquet "
        f"--url_col {column} --output_format webdataset --output_folder tars; then use the source webdataset."
    )
