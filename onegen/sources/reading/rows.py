"""Rows of Parquet files by number: cheap in ascending order, never more than a few rows of a row group in memory."""

import bisect
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from onegen.errors import ConfigError
from onegen.shards.plan import PlannedFile
from onegen.sources.reading.files import Files, unreadable

BATCH = 16
"""Rows decoded at once: pictures of some megabytes each may stand in them."""
_BUFFER = 1 << 20


class RowReader:
    """The chosen columns of rows that a plan names. It holds one file and one row group open, and forgets the rest.

    A shard's rows come in order, so each row group is read once; going back reads the row group again.
    """

    def __init__(self, files: Files, columns: Sequence[str]) -> None:
        self._files, self._columns = files, list(columns)
        self._held: PlannedFile | None = None
        self._close: Callable[[], None] = lambda: None
        self._group = -1
        self._first = 0
        self._batch: pa.RecordBatch | None = None

    def row(self, row: PlannedFile) -> dict[str, Any]:
        """Return a row by column name; raises SampleError source_gone, source_changed or source_unreadable."""
        uri, number = split_row(row.uri)
        file = PlannedFile(uri, row.size, row.etag)
        try:
            if self._held != file:
                self._open(file)
            self._seek(file, number)
            assert self._batch is not None
            found = self._batch.slice(number - self._first, 1)
        except FileNotFoundError:
            self.close()
            self._files.check(file)
            raise
        except (OSError, pa.ArrowException) as error:
            self.close()
            raise unreadable(self._files.path(uri), error) from error
        try:
            return dict(found.to_pylist()[0])
        except (ValueError, OverflowError) as error:
            # Parquet checks neither that text is valid UTF-8 nor that a date exists; Python does, for this row alone.
            raise unreadable(f"{self._files.path(uri)}#{number}", error) from error

    def close(self) -> None:
        """Close the file that is held open."""
        self._close()
        self._close = lambda: None
        self._held, self._batch = None, None

    def _open(self, file: PlannedFile) -> None:
        self.close()
        self._files.check(file)
        handle = self._files.fs.open(self._files.path(file.uri), "rb")
        self._close = handle.close
        self._parquet = pq.ParquetFile(handle, buffer_size=_BUFFER, pre_buffer=False)
        self._starts = group_starts(self._parquet.metadata)
        self._held, self._group = file, -1

    def _seek(self, file: PlannedFile, number: int) -> None:
        """Make the batch that holds a row the current one."""
        group = bisect.bisect_right(self._starts, number) - 1
        if number >= self._parquet.metadata.num_rows:
            raise pa.ArrowInvalid(f"row {number} is not there")
        if group != self._group or self._batch is None or number < self._first:
            self._files.check(file)
            self._batches = self._read(group)
            self._group, self._first, self._batch = group, self._starts[group], self._next()
        while number >= self._first + self._batch.num_rows:
            self._first += self._batch.num_rows
            self._batch = self._next()

    def _next(self) -> pa.RecordBatch:
        batch = next(self._batches, None)
        if batch is None:
            raise pa.ArrowInvalid(f"row group {self._group} ends after row {self._first}, before its footer says")
        return batch

    def _read(self, group: int) -> Iterator[pa.RecordBatch]:
        return self._parquet.iter_batches(BATCH, row_groups=[group], columns=self._columns, use_threads=False)


def row_uri(uri: str, number: int) -> str:
    """Return the uri of a row; row numbers sort as text."""
    return f"{uri}#{number:010d}"


def split_row(uri: str) -> tuple[str, int]:
    """Return file and number of a row's uri."""
    file, _, number = uri.rpartition("#")
    return file, int(number)


def group_starts(metadata: pq.FileMetaData) -> list[int]:
    """Return the number of the first row of each row group."""
    sizes = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
    return list(itertools.accumulate(sizes, initial=0))[:-1]


def open_footer(files: Files, file: PlannedFile) -> tuple[pa.Schema, int]:
    """Return schema and number of rows of a Parquet file, reading nothing else; raises ConfigError."""
    try:
        with files.fs.open(files.path(file.uri), "rb") as handle:
            parquet = pq.ParquetFile(handle, pre_buffer=False)
            return parquet.schema_arrow, parquet.metadata.num_rows
    except (OSError, pa.ArrowException) as error:
        raise ConfigError(
            f"{files.path(file.uri)} must be a readable Parquet file: {error}. Fetch it again, or move it away."
        ) from error
