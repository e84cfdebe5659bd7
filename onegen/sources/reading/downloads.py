"""The table img2dataset leaves of each of its shards: what was asked for, and what became of it."""

import os
from collections.abc import Iterator
from functools import cached_property

import pyarrow as pa
import pyarrow.parquet as pq

from onegen.errors import SampleError
from onegen.shards.plan import PlannedFile
from onegen.sources.reading.metadata import kept_type
from onegen.sources.reading.rows import DamagedTable, RowReader, is_row, open_footer, row_uri, table_damage
from onegen.sources.reading.tree import FileTree

SUCCESS = "success"
SUFFIX = ".parquet"
_COLUMNS = ("key", "status", "error_message", "url")


class Downloads:
    """The tables in a tree with the columns img2dataset writes: `00007.parquet` of `00007.tar` or the folder `00007`.

    A table that is damaged is one of them too: what it lists is not known, and that is one failure.
    """

    def __init__(self, tree: FileTree) -> None:
        self._tree = tree

    def beside(self, tar: str) -> PlannedFile | None:
        """Return the table beside a tar, or None; raises ConfigError for a file that the file system does not give."""
        uri = f"{os.path.splitext(tar)[0]}{SUFFIX}"
        try:
            table = PlannedFile(uri, *self._tree.state(uri))
        except FileNotFoundError:
            return None
        return table if self.lists_downloads(table) else None

    def lists_downloads(self, table: PlannedFile) -> bool:
        """Say whether a Parquet file has the columns img2dataset writes, or is damaged; raises ConfigError."""
        schema = self._schema(table)
        return schema is None or set(_COLUMNS) <= set(schema.names)

    def rows(self, table: PlannedFile) -> Iterator[tuple[str, str]]:
        """Yield (key, uri of the row) of a table; of a damaged one the empty key and its own uri."""
        if self._schema(table) is None:
            yield "", table.uri
            return
        number = 0
        with self._tree.fs.open(self._tree.path(table.uri), "rb") as file:
            for batch in pq.ParquetFile(file, pre_buffer=False).iter_batches(columns=["key"], use_threads=False):
                for key in batch.column(0).to_pylist():
                    yield str(key), row_uri(table.uri, number)
                    number += 1

    def types(self, table: PlannedFile) -> dict[str, pa.DataType] | None:
        """Return the names a table has, each with the type it can be kept with, null where it says nothing.

        None for a damaged table.
        """
        schema = self._schema(table)
        if schema is None:
            return None
        types = {field.name: kept_type(field.type) for field in schema}
        return {name: kind for name, kind in types.items() if kind is not None}

    def failure(self, row: PlannedFile, item: str, place: str = "tar") -> SampleError:
        """Return why a row of a table has no image in its place: download_failed, not_in_PLACE or damaged_table.

        Raises SampleError where the table is gone, changed or unreadable.
        """
        if not is_row(row.uri):
            return table_damage(self._tree, row)
        download = self._reader.row(row)
        about = download["url"] or item
        if download["status"] == SUCCESS:
            return SampleError(
                f"not_in_{place}",
                f"{item} must be in its {place}, {row.uri} says it was downloaded. Fetch {about} again into a new "
                f"{place}.",
            )
        cause = download["error_message"] or download["status"]
        return SampleError("download_failed", f"{about} was not downloaded: {cause}.")

    def _schema(self, table: PlannedFile) -> pa.Schema | None:
        try:
            return open_footer(self._tree, table)[0]
        except DamagedTable:
            return None

    @cached_property
    def _reader(self) -> RowReader:
        return RowReader(self._tree, _COLUMNS)
