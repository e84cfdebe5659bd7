"""Rows of Parquet files by number: cheap in ascending order, never more than a few rows of a row group in memory."""

import bisect
import contextlib
import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from onegen.errors import ConfigError, SampleError
from onegen.shards.plan import PlannedFile
from onegen.sources.reading.columns import column_value, stored_columns
from onegen.sources.reading.tree import FileTree, unreadable

BATCH = 16
"""Rows decoded at once: pictures of some megabytes each may stand in them."""
_BUFFER = 1 << 20
_VALUES = 2048
"""Rows of one column decoded at once."""
_ROW = re.compile(r"#\d{10}$")


class DamagedTable(ConfigError):
    """A file that can be read and is no whole Parquet file."""


class RowReader:
    """The chosen columns of rows that a plan names. It keeps one file and one row group open, and forgets the rest.

    A shard's rows come in order, so each row group is read once; going back reads the row group again.
    """

    def __init__(self, tree: FileTree, columns: Sequence[str]) -> None:
        self._tree, self._columns = tree, [stored for name in columns for stored in stored_columns(name)]
        self._current: _OpenFile | None = None

    def row(self, row: PlannedFile) -> dict[str, Any]:
        """Return a row by column name; raises SampleError source_gone, source_changed or source_unreadable."""
        uri, number = split_row(row.uri)
        file = PlannedFile(uri, row.size, row.etag)
        try:
            table = self._slice(self._opened(file), number)
        except FileNotFoundError:
            self.close()
            self._tree.check(file)
            raise
        except (OSError, pa.ArrowException) as error:
            self.close()
            raise unreadable(self._tree.path(uri), error) from error
        try:
            return dict(table.to_pylist()[0])
        except (ValueError, OverflowError) as error:
            # Parquet checks neither that text is valid UTF-8 nor that a date exists; Python does, for this row alone.
            raise unreadable(f"{self._tree.path(uri)}#{number}", error) from error

    def close(self) -> None:
        """Close the file that is open, if any."""
        if self._current is not None:
            self._current.handle.close()
        self._current = None

    def _opened(self, file: PlannedFile) -> "_OpenFile":
        """Return a file that is open: the current one, or it becomes that."""
        if self._current is None or self._current.file != file:
            self.close()
            self._tree.check(file)
            with contextlib.ExitStack() as stack:
                handle = self._tree.fs.open(self._tree.path(file.uri), "rb")
                stack.callback(handle.close)
                parquet = pq.ParquetFile(handle, buffer_size=_BUFFER, pre_buffer=False)
                self._current = _OpenFile(file, handle, parquet, group_starts(parquet.metadata))
                stack.pop_all()  # a file that is no Parquet is closed here, any other by `close`
        return self._current

    def _slice(self, current: "_OpenFile", number: int) -> pa.RecordBatch:
        """Return a row of a file as a batch of its own."""
        if number >= current.parquet.metadata.num_rows:
            raise pa.ArrowInvalid(f"row {number} is not there")
        group, batch = bisect.bisect_right(current.starts, number) - 1, current.batch
        if batch is None or group != current.group or number < current.first:
            self._tree.check(current.file)
            batch = current.read_group(group, self._columns)
        while number >= current.first + batch.num_rows:
            batch = current.next_batch()
        return batch.slice(number - current.first, 1)


@dataclass(slots=True)
class _OpenFile:
    """A Parquet file that is open, and where in it: `batch` of row group `group`, whose first row is row `first`.

    `starts` are the numbers of the first rows of its row groups; `batches` yields what is left of the current one.
    """

    file: PlannedFile
    handle: BinaryIO
    parquet: pq.ParquetFile
    starts: list[int]
    group: int = -1
    first: int = 0
    batch: pa.RecordBatch | None = None
    batches: Iterator[pa.RecordBatch] = field(default_factory=lambda: iter(()))

    def read_group(self, group: int, columns: list[str]) -> pa.RecordBatch:
        """Return the first batch of a row group."""
        self.batches = self.parquet.iter_batches(BATCH, row_groups=[group], columns=columns, use_threads=False)
        self.group, self.first, self.batch = group, self.starts[group], None
        return self.next_batch()

    def next_batch(self) -> pa.RecordBatch:
        """Return the batch after the current one; raises pyarrow.ArrowInvalid where the row group has no more."""
        self.first += self.batch.num_rows if self.batch is not None else 0
        self.batch = next(self.batches, None)
        if self.batch is None:
            raise pa.ArrowInvalid(f"row group {self.group} ends before row {self.first}, which its footer promises")
        return self.batch


def row_uri(uri: str, number: int) -> str:
    """Return the uri of a row; row numbers sort as text."""
    return f"{uri}#{number:010d}"


def split_row(uri: str) -> tuple[str, int]:
    """Return file and number of a row's uri."""
    file, _, number = uri.rpartition("#")
    return file, int(number)


def is_row(uri: str) -> bool:
    """Say whether a uri is that of a row, not of a table as a whole."""
    return _ROW.search(uri) is not None


def group_starts(metadata: pq.FileMetaData) -> list[int]:
    """Return the number of the first row of each row group."""
    sizes = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
    return list(itertools.accumulate(sizes, initial=0))[:-1]


def open_footer(tree: FileTree, file: PlannedFile) -> tuple[pa.Schema, int]:
    """Return schema and number of rows of a Parquet file, reading nothing else.

    Raises DamagedTable, or ConfigError where the file system fails.
    """
    try:
        with tree.fs.open(tree.path(file.uri), "rb") as handle:
            parquet = pq.ParquetFile(handle, pre_buffer=False)
            return parquet.schema_arrow, parquet.metadata.num_rows
    except (OSError, pa.ArrowException) as error:
        # What Arrow raises of its own as an OSError has no errno.
        kind = ConfigError if getattr(error, "errno", None) else DamagedTable
        raise kind(
            f"{tree.path(file.uri)} must be a readable Parquet file: {error}. Fetch it again, or move it away."
        ) from error


def first_values(tree: FileTree, file: PlannedFile, column: str) -> list[Any]:
    """Return what the first rows of a Parquet file have in a column; none where they are damaged."""
    try:
        reader = RowReader(tree, [column])
        count = min(open_footer(tree, file)[1], BATCH)
        values = [
            column_value(reader.row(replace(file, uri=row_uri(file.uri, number))), column) for number in range(count)
        ]
    except SampleError:
        return []
    reader.close()
    return values


def row_values(tree: FileTree, file: PlannedFile, column: str) -> Iterator[Any]:
    """Yield what every row of a Parquet file has in a column, in order; raises ConfigError where it is damaged."""
    try:
        with tree.fs.open(tree.path(file.uri), "rb") as handle:
            parquet = pq.ParquetFile(handle, pre_buffer=False)
            for batch in parquet.iter_batches(_VALUES, columns=stored_columns(column), use_threads=False):
                yield from (column_value(row, column) for row in batch.to_pylist())
    except (OSError, pa.ArrowException, ValueError) as error:
        raise ConfigError(
            f"{tree.path(file.uri)} must be a readable Parquet file, its column {column!r} is not: {error}. Fetch it "
            f"again, or move it away."
        ) from error


def table_damage(tree: FileTree, file: PlannedFile) -> SampleError:
    """Return why the one row planned for a damaged table has no image; raises SampleError where it has changed."""
    tree.check(file)
    return SampleError(
        "damaged_table",
        f"{tree.path(file.uri)} must be a readable Parquet file, none of its rows is known. Fetch it again and build "
        f"into a new OUT.",
    )
