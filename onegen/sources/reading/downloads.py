"""The table img2dataset leaves beside each tar: what was asked for, and what became of it."""

import os
from collections.abc import Iterator
from functools import cached_property

import pyarrow as pa
import pyarrow.parquet as pq

from onegen.errors import SampleError
from onegen.shards.plan import PlannedFile
from onegen.sources.reading.metadata import kept_type
from onegen.sources.reading.rows import RowReader, open_footer, row_uri
from onegen.sources.reading.tree import FileTree

SUCCESS = "success"
_COLUMNS = ("key", "status", "error_message", "url")


class Downloads:
    """The tables beside the tars of a tree: `00007.parquet` of `00007.tar`, with the columns img2dataset writes."""

    def __init__(self, tree: FileTree) -> None:
        self._tree = tree

    def beside(self, tar: str) -> PlannedFile | None:
        """Return the table beside a tar, or None; raises ConfigError for a Parquet file that cannot be read."""
        uri = f"{os.path.splitext(tar)[0]}.parquet"
        try:
            table = PlannedFile(uri, *self._tree.state(uri))
        except FileNotFoundError:
            return None
        schema, _ = open_footer(self._tree, table)
        return table if set(_COLUMNS) <= set(schema.names) else None

    def rows(self, table: PlannedFile) -> Iterator[tuple[str, str]]:
        """Yield (key, uri of the row) of a table."""
        number = 0
        with self._tree.fs.open(self._tree.path(table.uri), "rb") as file:
            for batch in pq.ParquetFile(file, pre_buffer=False).iter_batches(columns=["key"], use_threads=False):
                for key in batch.column(0).to_pylist():
                    yield str(key), row_uri(table.uri, number)
                    number += 1

    def types(self, table: PlannedFile) -> dict[str, pa.DataType]:
        """Return the names a table has, each with the type it can be kept with, null where it says nothing."""
        schema, _ = open_footer(self._tree, table)
        types = {field.name: kept_type(field.type) for field in schema}
        return {name: kind for name, kind in types.items() if kind is not None}

    def failure(self, row: PlannedFile, item: str) -> SampleError:
        """Return why a row of a table has no image: download_failed or not_in_tar.

        Raises SampleError where the table is gone, changed or unreadable.
        """
        download = self._reader.row(row)
        about = download["url"] or item
        if download["status"] == SUCCESS:
            return SampleError(
                "not_in_tar",
                f"{item} must be in its tar, {row.uri} says it was downloaded. Fetch {about} again into a new tar.",
            )
        cause = download["error_message"] or download["status"]
        return SampleError("download_failed", f"{about} was not downloaded: {cause}.")

    @cached_property
    def _reader(self) -> RowReader:
        return RowReader(self._tree, _COLUMNS)
