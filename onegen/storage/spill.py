"""Tables larger than memory: append arrow batches to a temporary Parquet file, then ask duckdb.

Used wherever a listing, a sort or a join over the whole dataset would otherwise be a list in the driver.
"""

import contextlib
import itertools
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from onegen.storage.lock import lock, try_lock
from onegen.storage.parquet_sql import parquet_rows

PREFIX = "onegen-spill-"
JUST_MADE_SECONDS = 60
MEMORY_LIMIT = "512MB"
BATCH_ROWS = 2048
"""Rows held as Python objects at a time: 8192 of them are 20 MB, a tenth of a small build's peak memory."""
GROUP_ROWS = 1 << 16
"""Rows of a group of a file, about: of small ones both the writer and duckdb spend most of their time on the heads."""


class Spill:
    """A temporary set of tables. Close it, or use it as a context manager, to delete them."""

    def __init__(self) -> None:
        _remove_left_over(tempfile.gettempdir())
        self._folder = tempfile.TemporaryDirectory(prefix=PREFIX)
        self._lock = _lock(self._folder.name)
        self._connection = duckdb.connect(
            config={
                "memory_limit": MEMORY_LIMIT,
                "threads": 2,
                "temp_directory": os.path.join(self._folder.name, "duckdb"),
                "preserve_insertion_order": False,
            }
        )

    def __enter__(self) -> "Spill":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def store(self, table: str, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> int:
        """Write batches to disk and make them queryable under a table name; return the number of rows."""
        path = self._path(table)
        rows = 0
        with pq.ParquetWriter(path, schema, compression="zstd") as writer:
            for group in _grouped(batches):
                writer.write_table(pa.Table.from_batches(group, schema))
                rows += sum(batch.num_rows for batch in group)
        self._connection.execute(f"CREATE OR REPLACE VIEW {table} AS SELECT * FROM {parquet_rows([path])}")
        return rows

    def stored(self, table: str, *columns: str) -> Iterator[pa.RecordBatch]:
        """Yield these columns of a table in the order in which its rows were stored, without a sort."""
        with pq.ParquetFile(self._path(table)) as file:
            yield from file.iter_batches(GROUP_ROWS, columns=list(columns), use_threads=False)

    def query(self, sql: str, rows: int = BATCH_ROWS) -> Iterator[pa.RecordBatch]:
        """Yield the result of a query in batches of so many rows, in its ORDER BY order."""
        yield from self._connection.cursor().sql(sql).to_arrow_reader(rows)

    def execute(self, sql: str) -> None:
        """Run a statement, such as one that makes an intermediate table (spilled to disk by duckdb)."""
        self._connection.execute(sql)

    def _path(self, table: str) -> str:
        return os.path.join(self._folder.name, f"{table}.parquet")

    def close(self) -> None:
        """Delete the tables."""
        self._connection.close()
        self._folder.cleanup()
        os.close(self._lock)


def batched(rows: Iterable[tuple[Any, ...]], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Yield rows as record batches."""
    rows = iter(rows)
    while batch := list(itertools.islice(rows, BATCH_ROWS)):
        columns = zip(*batch, strict=True)
        yield pa.RecordBatch.from_arrays(
            [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)], schema=schema
        )


def cut(batches: Iterable[pa.RecordBatch], sizes: Iterable[int]) -> Iterator[pa.Table]:
    """Yield what comes in batches as tables of these numbers of rows."""
    following = iter(batches)
    batch = next(following, None)
    if batch is None:
        return
    for size in sizes:
        parts = [batch.slice(0, size)]
        left = size - parts[0].num_rows
        while left:
            batch = next(following)
            parts.append(batch.slice(0, left))
            left -= parts[-1].num_rows
        batch = batch.slice(parts[-1].num_rows)
        yield pa.Table.from_batches(parts)


def _grouped(batches: Iterable[pa.RecordBatch]) -> Iterator[list[pa.RecordBatch]]:
    group: list[pa.RecordBatch] = []
    rows = 0
    for batch in batches:
        group.append(batch)
        rows += batch.num_rows
        if rows >= GROUP_ROWS:
            yield group
            group, rows = [], 0
    if group:
        yield group


def _lock(folder: str) -> int:
    """Return a descriptor whose lock on the folder ends with this process, however that ends."""
    descriptor = os.open(folder, os.O_RDONLY)
    lock(descriptor, shared=True)
    return descriptor


def _remove_left_over(root: str) -> None:
    """Delete the tables of processes that were killed: nothing else would."""
    for name in os.listdir(root):
        folder = os.path.join(root, name)
        # Another user's folder cannot be opened, and one may vanish meanwhile.
        with contextlib.suppress(OSError):
            # One made this very moment may not be locked yet.
            if not name.startswith(PREFIX) or time.time() - os.stat(folder).st_mtime < JUST_MADE_SECONDS:
                continue
            descriptor = os.open(folder, os.O_RDONLY)
            try:
                if try_lock(descriptor):
                    shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(descriptor)
