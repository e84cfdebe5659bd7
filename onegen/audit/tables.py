"""A dataset as tables of duckdb: one for each column, and `samples`, `failures`, `manifests`, `takedowns` over all.

Rows that were taken down are as a purge would leave them. The rows are read from the indexes that committed manifests
name, and from nothing else. Every other file is locked out, for reading and for writing, before anybody's SQL is run.
docs/audit.md.
"""

import contextlib
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from onegen.audit.readable import brief, readable
from onegen.errors import ConfigError
from onegen.sample import IMAGE, SELECT
from onegen.shards.dataset import Dataset, file_of, folder, manifest_name
from onegen.shards.index import BASE
from onegen.shards.manifest import Manifest
from onegen.shards.takedowns import TAKEDOWN, Takedowns, read_takedowns, taken_positions
from onegen.shards.views import DROPPED, OTHERS
from onegen.storage.local import LocalStore
from onegen.storage.parquet_sql import literal, parquet_rows, sql_text

TAKEN = "_taken"
"""Table of the rows that were taken down: shard and position."""
MEMORY_LIMIT = "1500MB"
THREADS = 2

_MANIFESTS = pa.schema(
    [
        *((name, pa.string()) for name in ("column", "producer", "fingerprint", "digest", "started", "host")),
        *((name, pa.int64()) for name in ("shard", "rows", "ok", "skipped", "filtered", "failed", "bytes")),
        ("seconds", pa.float64()),
    ]
)
_TAKEDOWNS = pa.schema([("matched_by", pa.string()), ("value", pa.string())])
"""`by` is a word of SQL."""
_PLACES = pa.schema([("shard", pa.int32()), ("position", pa.int32())])
_MESSAGES = pa.schema(
    [
        ("column", pa.string()),
        ("shard", pa.int32()),
        ("position", pa.int32()),
        ("item", pa.string()),
        ("message", pa.string()),
        ("attempts", pa.int32()),
    ]
)


class Tables:
    """A dataset's tables in one duckdb connection, and the manifests that they were made from, by column."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        manifests: Mapping[str, Sequence[Manifest]],
        takedowns: Takedowns | None = None,
    ) -> None:
        self.connection = connection
        self.manifests = manifests
        self.takedowns = takedowns or Takedowns()
        self._further: dict[str, tuple[str, ...]] = {}

    def stored(self, column: str) -> str:
        """Return the name, quoted, of a column's table as its files have it, rows that were taken down among them."""
        return quoted(_stored(column) if self.takedowns else column)

    def fields(self, table: str) -> dict[str, str]:
        """Return the fields of a table with duckdb's names of their types."""
        return {name: str(kind) for name, kind, *_ in self.rows(f"DESCRIBE {quoted(table)}")}

    def own_fields(self, column: str) -> dict[str, str]:
        """Return the fields of a column, but for what it says of further images of a sample and of lost ones."""
        return {name: kind for name, kind in self.fields(column).items() if name not in (OTHERS, DROPPED)}

    def further(self, column: str) -> tuple[str, ...]:
        """Return the fields that a column has for each further image of a sample; none where samples have one image."""
        if column not in self._further:
            told = OTHERS in self.fields(column)
            sql = f"DESCRIBE SELECT o.* FROM (SELECT unnest({OTHERS}) AS o FROM {quoted(column)})"
            self._further[column] = tuple(name for name, *_ in self.rows(sql)) if told else ()
        return self._further[column]

    def names(self) -> list[str]:
        """Return the names of all tables."""
        return [
            name
            for (name,) in self.rows(
                "SELECT view_name FROM duckdb_views() WHERE NOT internal "
                "UNION ALL SELECT table_name FROM duckdb_tables()"
            )
            if not name.startswith("_")
        ]

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return the rows that a statement of ours answers; ConfigError where an index cannot be read.

        One that is gone since the tables were made is a file that may not be read, to duckdb.
        """
        try:
            return self.connection.execute(sql, list(values)).fetchall()
        except (duckdb.IOException, duckdb.InvalidInputException, duckdb.PermissionException) as error:
            raise ConfigError(
                f"indexes must be readable, got {brief(error)}. `onegen verify` says what is damaged."
            ) from error

    def store(self, name: str, table: pa.Table) -> None:
        """Make a table of ours of these rows, in place of one that is there; `name` begins with `_`."""
        self.connection.register("_given", table)
        self.connection.execute(f"CREATE OR REPLACE TEMP TABLE {quoted(name)} AS SELECT * FROM _given")
        self.connection.unregister("_given")


@contextlib.contextmanager
def open_tables(dataset: Dataset) -> Iterator[Tables]:
    """Give the tables of what is committed. Raises ConfigError where there is no dataset, or an index is not there."""
    dataset.require_card()
    manifests = {column: list(dataset.manifests(column)) for column in dataset.columns()}
    manifests = {column: found for column, found in manifests.items() if found}
    if IMAGE not in manifests:
        raise ConfigError(
            f"{dataset.store.url} must have a committed shard of images, and has none yet. Run `onegen build` first."
        )
    takedowns = read_takedowns(dataset.store)
    with tempfile.TemporaryDirectory(prefix="onegen-") as scratch:
        connection = duckdb.connect(config={"threads": THREADS, "memory_limit": MEMORY_LIMIT})
        try:
            connection.execute(f"SET temp_directory = {sql_text(scratch)}")
            paths = {column: _paths(dataset, found, scratch) for column, found in manifests.items()}
            _make_list(connection, dataset, manifests, takedowns)
            _make_views(connection, manifests, paths, bool(takedowns))
            _lock(connection, [path for found in paths.values() for path in found], scratch)
            yield Tables(connection, manifests, takedowns)
        finally:
            connection.close()


def _paths(dataset: Dataset, manifests: Sequence[Manifest], scratch: str) -> list[str]:
    """Return the local paths of the indexes that manifests name; those of another store are copied to `scratch`."""
    paths = []
    for manifest in manifests:
        with _naming(dataset, manifest):
            name = f"{folder(manifest.column)}/{file_of(manifest, '.parquet')}"
            if isinstance(dataset.store, LocalStore):
                dataset.store.size(name)
                paths.append(os.path.join(dataset.store.root, name))
                continue
            copy = Path(scratch) / f"{len(paths):06d}-{manifest.column}.parquet"
            copy.write_bytes(dataset.store.read(name))
            paths.append(str(copy))
    return paths


def _naming(dataset: Dataset, manifest: Manifest) -> contextlib.AbstractContextManager[None]:
    return readable(f"the index of {dataset.store.url}/{manifest_name(manifest.column, manifest.shard)}")


def _make_list(
    connection: duckdb.DuckDBPyConnection,
    dataset: Dataset,
    manifests: Mapping[str, Sequence[Manifest]],
    takedowns: Takedowns,
) -> None:
    """Make the tables of what was taken down, and of the rows that it matches."""
    listed = [{"matched_by": by, "value": value} for by, value in takedowns.entries]
    places = []
    for manifest in manifests[IMAGE]:
        with _naming(dataset, manifest):
            taken = taken_positions(dataset, takedowns, manifest)
        places += [{"shard": manifest.shard, "position": position} for position in sorted(taken)]
    tables = {"takedowns": pa.Table.from_pylist(listed, schema=_TAKEDOWNS)} if "takedowns" not in manifests else {}
    for name, table in (tables | {TAKEN: pa.Table.from_pylist(places, schema=_PLACES)}).items():
        connection.register("_given", table)
        connection.execute(f"CREATE TABLE {name} AS SELECT * FROM _given")
        connection.unregister("_given")


def _masked(connection: duckdb.DuckDBPyConnection, column: str) -> str:
    """Return the statement of a column's table in which rows that were taken down are as a purge leaves them."""
    ended = ("filtered", TAKEDOWN) if column == IMAGE else ("skipped", f"{IMAGE}:filtered")
    said = {"status": sql_text(ended[0]), "reason": sql_text(ended[1])}
    fields = [name for name, *_ in connection.execute(f"DESCRIBE {quoted(_stored(column))}").fetchall()]
    kept = {"shard", "position", "kind", "producer", *(["item"] if column == IMAGE else [])}
    picked = [
        f"s.{quoted(name)}"
        if name in kept
        else f"CASE WHEN t.position IS NULL THEN s.{quoted(name)} ELSE {said.get(name, 'NULL')} END AS {quoted(name)}"
        for name in fields
    ]
    joined = f"{quoted(_stored(column))} AS s LEFT JOIN {TAKEN} AS t ON s.shard = t.shard AND s.position = t.position"
    return f"SELECT {', '.join(picked)} FROM {joined}"


def _stored(column: str) -> str:
    return f"_stored_{column}"


def _make_views(
    connection: duckdb.DuckDBPyConnection,
    manifests: Mapping[str, Sequence[Manifest]],
    paths: Mapping[str, Sequence[str]],
    is_masked: bool,
) -> None:
    try:
        for column, files in paths.items():
            # One file speaks for all, unless the column is being made anew by other settings.
            by_name = len({manifest.fingerprint for manifest in manifests[column]}) > 1
            source = parquet_rows(files, by_name)
            stored = quoted(_stored(column) if is_masked else column)
            connection.execute(f"CREATE VIEW {stored} AS SELECT * FROM {source}")
            if is_masked:
                connection.execute(f"CREATE VIEW {quoted(column)} AS {_masked(connection, column)}")
        connection.register("_given", _messages(manifests))
        connection.execute("CREATE TABLE _messages AS SELECT * FROM _given")
        connection.register("_given", _manifest_table(manifests))
        connection.execute("CREATE TABLE manifests AS SELECT * FROM _given")
        connection.unregister("_given")
        connection.execute(f"CREATE VIEW failures AS {_failures(list(paths))}")
        connection.execute(f"CREATE VIEW samples AS {_samples(connection, list(paths))}")
    except duckdb.Error as error:
        raise ConfigError(
            f"indexes must be readable, got {brief(error)}. `onegen verify` says what is damaged."
        ) from error


def _samples(connection: duckdb.DuckDBPyConnection, columns: Sequence[str]) -> str:
    """Return the statement of `samples`: a row for each item of the plan, and each column's fields under its name."""
    others = [column for column in columns if column != IMAGE]
    picked = ["i.shard", "i.position", "i.key", "i.kind", "i.status", "i.reason", _struct(connection, "i", IMAGE)]
    joins = [f"{quoted(IMAGE)} AS i"]
    for number, column in enumerate(others):
        picked.append(_struct(connection, f"c{number}", column))
        joins.append(f"{quoted(column)} AS c{number} USING (shard, position)")
    picked[:2] = ["shard", "position"] if others else picked[:2]
    return f"SELECT {', '.join(picked)} FROM {' LEFT JOIN '.join(joins)}"


def _struct(connection: duckdb.DuckDBPyConnection, alias: str, column: str) -> str:
    described = connection.execute(f"DESCRIBE {quoted(column)}").fetchall()
    names = ["status", "reason", *(name for name, *_ in described if name not in BASE)]
    fields = ", ".join(f"{quoted(name)} := {alias}.{quoted(name)}" for name in names)
    return f"struct_pack({fields}) AS {quoted(column)}"


def _failures(columns: Sequence[str]) -> str:
    """Return the statement of `failures`: the rows that failed decide, their messages stand beside them."""
    each = [
        f'SELECT {sql_text(column)} AS "column", shard, position, key, reason FROM {quoted(column)} '
        f"WHERE status = 'failed'"
        for column in columns
        if column != SELECT
    ]
    return (
        f'SELECT "column", shard, position, m.item, key, reason, m.attempts, m.message '
        f'FROM ({" UNION ALL ".join(each)}) LEFT JOIN _messages AS m USING ("column", shard, position)'
    )


def _messages(manifests: Mapping[str, Sequence[Manifest]]) -> pa.Table:
    rows = [
        {"column": column, "shard": manifest.shard, **failure.model_dump()}
        for column, found in manifests.items()
        for manifest in found
        for failure in manifest.run.failures
    ]
    return pa.Table.from_pylist(rows, schema=_MESSAGES)


def _manifest_table(manifests: Mapping[str, Sequence[Manifest]]) -> pa.Table:
    rows = [
        {
            "column": column,
            "shard": manifest.shard,
            "producer": manifest.producer.label(),
            "fingerprint": manifest.fingerprint,
            "digest": manifest.digest,
            "bytes": sum(record.size for record in manifest.files.values()),
            "started": manifest.run.started,
            "host": manifest.run.host,
            "seconds": manifest.run.seconds,
            **manifest.counts.model_dump(),
        }
        for column, found in manifests.items()
        for manifest in found
    ]
    return pa.Table.from_pylist(rows, schema=_MANIFESTS)


def _lock(connection: duckdb.DuckDBPyConnection, paths: Sequence[str], scratch: str) -> None:
    """Let the connection read these files and nothing else, for good."""
    # It asks for the pattern, and for what that matches.
    listed = ", ".join(sql_text(name) for path in paths for name in {path, literal(path)})
    connection.execute(f"SET allowed_paths = [{listed}]")
    connection.execute(f"SET allowed_directories = [{sql_text(scratch + os.sep)}]")
    connection.execute("SET python_enable_replacements = false")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


def quoted(name: str) -> str:
    """Return a name as SQL takes it, whatever stands in it."""
    return '"' + name.replace('"', '""') + '"'
