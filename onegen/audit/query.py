"""Ask a dataset by SQL, read only. `onegen query DATASET "SELECT ..." [--out FILE.csv|FILE.parquet]`.

What is asked sees the tables of `tables.py` and no file; a statement that is no SELECT is refused before it is run.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq

from onegen.audit.readable import brief
from onegen.audit.tables import Tables
from onegen.errors import ConfigError, nearest

BATCH = 65_536
_VALUES = (duckdb.Error, pa.ArrowException, OSError)
"""What arrow hands on where duckdb finds, rows later, that a value is not what the statement takes it for."""
FORMATS = (".csv", ".parquet")
_NO_TABLE = re.compile(r"Table with name (\S+) does not exist")
_NO_COLUMN = re.compile(
    r'(?:Referenced column|Values list|Table) "([^"]+)"(?: does not have a column named "([^"]+)")?'
)
_NO_FIELD = re.compile(r'Could not find key "([^"]+)" in struct')


def ask(tables: Tables, sql: str) -> pa.RecordBatchReader:
    """Return what a SELECT answers, in batches.

    Raises ConfigError for another kind of statement, for one that reaches for a file, and for a name that is no table's
    or field's, with the nearest that is.
    """
    try:
        statements = tables.connection.extract_statements(sql)
        if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
            kinds = ", ".join(statement.type.name for statement in statements) or "nothing"
            raise ConfigError(
                f"query must be one SELECT, got {kinds}: datasets are only read. Write SELECT ... FROM ..."
            )
        return tables.connection.sql(statements[0].query).to_arrow_reader(BATCH)
    except duckdb.PermissionException as error:
        raise ConfigError(f"query must read the tables of the dataset alone, got {brief(error)}.") from error
    except duckdb.Error as error:
        raise ConfigError(f"query must be SQL of duckdb, got: {_explained(tables, error)}") from error


def _explained(tables: Tables, error: duckdb.Error) -> str:
    """Return what is wrong with a statement, with the nearest name where one is not known."""
    text, names = brief(error), tables.names()
    unknown = _NO_TABLE.search(text)
    if unknown:
        return f"no table {unknown[1]!r}; {nearest(unknown[1], names)}"
    unknown = _NO_FIELD.search(text) or _NO_COLUMN.search(text)
    if unknown:
        name = unknown[unknown.lastindex or 1]
        fields = {field for table in names for field in (table, *tables.fields(table))}
        return f"no column {name!r}; {nearest(name, sorted(fields))}"
    return f"{text}."


def batches(answer: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
    """Yield the batches of an answer; raises ConfigError where a value is not what the statement takes it for."""
    while True:
        try:
            batch = answer.read_next_batch()
        except StopIteration:
            return
        except _VALUES as error:
            raise ConfigError(f"query must hold for every row, got {brief(error)}.") from error
        yield batch


def save(answer: pa.RecordBatchReader, out: Path) -> int:
    """Write an answer as CSV or Parquet, by the ending of `out`; return the rows. Nested values of CSV are text."""
    num_rows = 0
    with (
        pq.ParquetWriter(out, answer.schema) if out.suffix == ".parquet" else _csv_writer(out, answer.schema) as writer
    ):
        for batch in batches(answer):
            num_rows += batch.num_rows
            writer.write_batch(batch if out.suffix == ".parquet" else _flat(batch))
    return num_rows


def _csv_writer(out: Path, schema: pa.Schema) -> pc.CSVWriter:
    return pc.CSVWriter(out, _flat(pa.RecordBatch.from_pylist([], schema=schema)).schema)


def _flat(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return a batch whose nested values are text, which is all that CSV has room for."""
    columns = [
        pa.array([None if value is None else str(value) for value in column.to_pylist()], pa.string())
        if pa.types.is_nested(column.type)
        else column
        for column in batch.columns
    ]
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)
