"""Boolean SQL over annotation columns: a stage's `where`, the dataset's `where`, the rules of `select`.

An expression may say `scores.sharpness > 10`, or `nsfw < 0.5` where the column `nsfw` has a field of its own name.
duckdb evaluates it; null is false, and so is an error, such as a text cast to a number that it does not say. Its
outcome is a function of its row alone: the same in every shard and every run.
docs/build.md has examples.
"""

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cache
from typing import Any

import duckdb
import pyarrow as pa

from onegen.errors import ConfigError, nearest
from onegen.sample import IMAGE
from onegen.shards.index import Row
from onegen.shards.views import OTHERS, dropped, values_of

_RANDOM = ("random", "setseed", "uuid", "uuidv4", "uuidv7", "gen_random_uuid")
_DATE = ("today", "age", "ago", "current_date", "current_localtimestamp", "get_current_timestamp")
_TIME = ("now", "current_localtime", "get_current_time", "transaction_timestamp")
_SESSION = ("nextval", "currval", "setval", "txid_current", "getvariable", "current_setting", "current_query")
_IMPURE = frozenset((*_RANDOM, *_DATE, *_TIME, *_SESSION))
"""Functions whose answer is not of their arguments alone; duckdb's own list lacks some of them.

SQL's calls without brackets, such as current_timestamp, read as columns that are not in scope.
"""

Scope = Mapping[str, Mapping[str, pa.DataType]]
"""The columns an expression may name, each with its fields."""


def columns_in(expression: str, scope: Scope) -> set[str]:
    """Return the columns an expression names.

    Raises ConfigError where it is no boolean of duckdb, names what is not in scope, or looks at more than its row.
    """
    tree = _syntax_tree(expression)
    if _strays(tree):
        raise ConfigError(
            f"expression must look at its own row alone, got {expression!r}: no subquery, no window, "
            f"no random() and no now()."
        )
    columns = {_column(expression, path, scope) for path in _references(tree)}
    if not columns:
        raise ConfigError(f"expression must name a column, got {expression!r}; {nearest('', list(scope))}")
    try:
        outcomes = _evaluate(expression, {column: _table([None, None], scope[column]) for column in columns})
    except duckdb.Error as error:
        raise ConfigError(f"expression must be a duckdb boolean, got {expression!r}: {error}") from error
    if len(outcomes) != 2:
        raise ConfigError(
            f"expression must say yes or no of each row, got {expression!r}, which folds or unfolds them."
        )
    return columns


def _syntax_tree(expression: str) -> Any:
    """Return an expression as duckdb's JSON of it; raises ConfigError for a syntax error."""
    with _cursor() as cursor:
        answer = cursor.execute("SELECT json_serialize_sql(?)", [f"SELECT ({expression}) FROM t"]).fetchone()
    tree = json.loads(answer[0]) if answer else {"error": True, "error_message": "no answer"}
    if tree.get("error"):
        raise ConfigError(f"expression must be a duckdb boolean, got {expression!r}: {tree.get('error_message')}.")
    return tree


def _column(expression: str, path: Sequence[str], scope: Scope) -> str:
    """Return the column that a dotted name of an expression means; raises ConfigError where it is not in scope."""
    column = path[0]
    if column not in scope:
        raise ConfigError(f"expression {expression!r} names the column {column!r}; {nearest(column, list(scope))}")
    fields = scope[column]
    if len(path) == 1 and column not in fields:
        raise ConfigError(
            f"expression {expression!r} must name a field of {column!r}, such as "
            f"{column}.{next(iter(fields), 'FIELD')}."
        )
    if len(path) > 1 and path[1] not in fields:
        raise ConfigError(f"expression {expression!r} names {'.'.join(path)!r}; {nearest(path[1], list(fields))}")
    return column


def evaluate(expression: str, values: Mapping[str, Sequence[Mapping[str, Any] | None]], scope: Scope) -> list[bool]:
    """Return the outcome per row; `values` holds, per column, a mapping of fields a row, None where it is not ok.

    Raises duckdb.Error for an expression that `columns_in` refuses.
    """
    return [bool(outcome) for outcome in _outcomes(expression, values, scope)]


def _outcomes(
    expression: str, values: Mapping[str, Sequence[Mapping[str, Any] | None]], scope: Scope
) -> list[bool | None]:
    """Return the outcome per row as `evaluate` does, None for an error."""
    return _evaluate_apart(expression, {column: _table(rows, scope[column]) for column, rows in values.items()})


_ROW_ERRORS = (duckdb.DataError, duckdb.InvalidInputException)
"""What duckdb raises over values: no conversion, out of range, no such pattern or date. It names no row."""


def _evaluate_apart(expression: str, tables: Mapping[str, pa.Table]) -> list[bool | None]:
    """Return the outcome per row, None for each over which duckdb raises: halves, and halves of these, find it."""
    try:
        return [*_evaluate(expression, tables)]
    except _ROW_ERRORS:
        num_rows = next(iter(tables.values())).num_rows
        if num_rows == 1:
            return [None]
        half = num_rows // 2
        first = {column: table.slice(0, half) for column, table in tables.items()}
        second = {column: table.slice(half) for column, table in tables.items()}
        return _evaluate_apart(expression, first) + _evaluate_apart(expression, second)


def _evaluate(expression: str, tables: Mapping[str, pa.Table]) -> list[bool]:
    """Return the outcome per row of tables of the same length; raises duckdb.Error if there is an error in any."""
    with _cursor() as cursor:
        # Each column is a table of its fields, so that duckdb finds both `nsfw.nsfw` and `nsfw`.
        for column, table in tables.items():
            cursor.register(column, table)
        joined = " POSITIONAL JOIN ".join(f'"{column}"' for column in tables)
        outcomes = cursor.execute(f"SELECT coalesce(CAST(({expression}) AS BOOLEAN), false) FROM {joined}").fetchall()
    return [bool(outcome) for (outcome,) in outcomes]


def _table(rows: Sequence[Mapping[str, Any] | None], fields: Mapping[str, pa.DataType]) -> pa.Table:
    """Return the fields of a column, null in each row that is None."""
    values = [row or {} for row in rows]
    return pa.table({name: pa.array([row.get(name) for row in values], kind) for name, kind in fields.items()})


@dataclass(frozen=True, slots=True)
class Answers:
    """Whether an expression holds, by position, and at which positions it was in error, which is no."""

    holds: Sequence[bool]
    errors: Set[int] = frozenset()


def evaluate_images(expression: str, rows: Mapping[str, Sequence[Row]], scope: Scope) -> list[list[bool | None]]:
    """Return, for each position, whether an expression holds for each image of its sample; None for an error.

    `rows` has the columns of `scope`, in position order; a column that is not ok is null.
    """
    columns = list(scope)
    counts = [_num_images(position) for position in zip(*(rows[column] for column in columns), strict=True)]
    values = {
        column: [
            values_of(row, index) if row.status == "ok" else None
            for row, count in zip(rows[column], counts, strict=True)
            for index in range(count)
        ]
        for column in columns
    }
    outcomes = iter(_outcomes(expression, values, scope))
    return [list(itertools.islice(outcomes, count)) for count in counts]


def evaluate_rows(
    expression: str, rows: Mapping[str, Sequence[Row]], scope: Scope, gates: Sequence[Sequence[Row]] = ()
) -> Answers:
    """Return, for each position, whether an expression holds; of a sample of several images it must hold for each.

    `rows` is as for `evaluate_images`. Images that one of these or of the `gates` (rows of further columns) dropped
    from their set do not count.
    """
    by_position = evaluate_images(expression, rows, scope)
    for column in (*(rows[name] for name in scope if name != IMAGE), *gates):
        for images, row in zip(by_position, column, strict=True):
            for entry in dropped(row):
                if entry["image"] < len(images):
                    images[entry["image"]] = True
    errors = frozenset(position for position, images in enumerate(by_position) if None in images)
    return Answers([all(images) for images in by_position], errors)


def _num_images(rows: Sequence[Row]) -> int:
    """Return how many images the columns of one position tell apart."""
    return 1 + max(len(row.values.get(OTHERS) or ()) for row in rows)


def _cursor() -> duckdb.DuckDBPyConnection:
    return _engine().cursor()


@cache
def _engine() -> duckdb.DuckDBPyConnection:
    """Return this process's engine: starting one costs more than a shard's query."""
    return duckdb.connect(config={"threads": 1})


def _strays(node: Any) -> bool:
    """Say whether a serialized statement asks for more than its row: its outcome would not be a function of it."""
    if isinstance(node, dict):
        is_stray = node.get("class") in ("SUBQUERY", "WINDOW") or node.get("function_name") in _IMPURE
        return is_stray or any(_strays(child) for child in node.values())
    return isinstance(node, list) and any(_strays(child) for child in node)


def _references(node: Any) -> Iterator[list[str]]:
    """Yield the dotted names in a serialized duckdb statement."""
    if isinstance(node, dict):
        if node.get("class") == "COLUMN_REF":
            yield [str(name) for name in node["column_names"]]
        for child in node.values():
            yield from _references(child)
    elif isinstance(node, list):
        for child in node:
            yield from _references(child)
