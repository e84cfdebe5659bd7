"""Query more rows than fit in memory: append arrow batches to a temporary Parquet file, then ask duckdb.

Used wherever a listing, a sort or a join over the whole dataset would otherwise be a list in the driver.
"""

import os
import tempfile
from collections.abc import Iterable, Iterator
from types import TracebackType

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

MEMORY_LIMIT = "512MB"
BATCH_ROWS = 8192


class Spill:
    """A temporary set of tables. Close it, or use it as a context manager, to delete them."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="onegen-spill-")
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
        path = os.path.join(self._folder.name, f"{table}.parquet")
        rows = 0
        with pq.ParquetWriter(path, schema, compression="zstd") as writer:
            for batch in batches:
                writer.write_batch(batch)
                rows += batch.num_rows
        self._connection.execute(f"CREATE OR REPLACE VIEW {table} AS SELECT * FROM read_parquet('{path}')")
        return rows

    def query(self, sql: str) -> Iterator[pa.RecordBatch]:
        """Yield the result of a query in batches, in its ORDER BY order."""
        yield from self._connection.cursor().sql(sql).to_arrow_reader(BATCH_ROWS)

    def execute(self, sql: str) -> None:
        """Run a statement, such as one that makes an intermediate table (spilled to disk by duckdb)."""
        self._connection.execute(sql)

    def close(self) -> None:
        """Delete the tables."""
        self._connection.close()
        self._folder.cleanup()
