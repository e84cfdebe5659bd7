"""Boolean SQL over annotation columns: a stage's `where`, the dataset's `where`, the rules of `select`.

An expression may say `scores.sharpness > 10`, or `nsfw < 0.5` where the column `nsfw` has a field of its own name.
duckdb evaluates it; null is false. DESIGN section 2.
"""

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import duckdb
import pyarrow as pa

from onegen.errors import ConfigError, nearest
from onegen.shards.index import Row
from onegen.shards.views import OTHERS, values_of

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
    """Return the columns an expression names; raises ConfigError for a syntax error or a name that is not in scope."""
    with _cursor() as cursor:
        answer = cursor.execute("SELECT json_serialize_sql(?)", [f"SELECT ({expression}) FROM t"]).fetchone()
    tree = json.loads(answer[0]) if answer else {"error": True, "error_message": "no answer"}
    if tree.get("error"):
        raise ConfigError(f"expression must be a duckdb boolean, got {expression!r}: {tree.get('error_message')}.")
    if _strays(tree):
        raise ConfigError(
            f"expression must look at its own row alone, got {expression!r}: no subquery, no window, "
            f"no random() and no now()."
        )
    named: set[str] = set()
    for path in _references(tree):
        if path[0] not in scope:
            raise ConfigError(
                f"expression {expression!r} names the column {path[0]!r}; {nearest(path[0], list(scope))}"
            )
        fields = scope[path[0]]
        if len(path) == 1 and path[0] not in fields:
            raise ConfigError(
                f"expression {expression!r} must name a field of {path[0]!r}, such as "
                f"{path[0]}.{next(iter(fields), 'FIELD')}."
            )
        if len(path) > 1 and path[1] not in fields:
            raise ConfigError(f"expression {expression!r} names {'.'.join(path)!r}; {nearest(path[1], list(fields))}")
        named.add(path[0])
    if not named:
        raise ConfigError(f"expression must name a column, got {expression!r}; {nearest('', list(scope))}")
    try:
        outcomes = evaluate(expression, {column: [None, None] for column in named}, scope)
    except duckdb.Error as error:
        raise ConfigError(f"expression must be a duckdb boolean, got {expression!r}: {error}") from error
    if len(outcomes) != 2:
        raise ConfigError(
            f"expression must say yes or no of each row, got {expression!r}, which folds or unfolds them."
        )
    return named


def evaluate(expression: str, values: Mapping[str, Sequence[Mapping[str, Any] | None]], scope: Scope) -> list[bool]:
    """Return the outcome per row; `values` holds, per column, a mapping of fields a row, None where it is not ok."""
    with _cursor() as cursor:
        # Each column is a table of its fields, so that duckdb finds both `nsfw.nsfw` and `nsfw`.
        for column, rows in values.items():
            held = [row or {} for row in rows]
            fields = scope[column].items()
            cursor.register(
                column, pa.table({name: pa.array([row.get(name) for row in held], t) for name, t in fields})
            )
        tables = " POSITIONAL JOIN ".join(f'"{column}"' for column in values)
        found = cursor.execute(f"SELECT coalesce(CAST(({expression}) AS BOOLEAN), false) FROM {tables}").fetchall()
    return [bool(row[0]) for row in found]


def evaluate_rows(expression: str, rows: Mapping[str, Sequence[Row]], scope: Scope) -> list[bool]:
    """Return, for each row, whether an expression holds; of a sample of several images it must hold for each.

    `rows` has the columns of `scope`, in position order; a column that is not ok is null.
    """
    columns = list(scope)
    counts = [_count(at) for at in zip(*(rows[column] for column in columns), strict=True)]
    values = {
        column: [
            values_of(row, index) if row.status == "ok" else None
            for row, count in zip(rows[column], counts, strict=True)
            for index in range(count)
        ]
        for column in columns
    }
    answers = iter(evaluate(expression, values, scope))
    return [all(list(itertools.islice(answers, count))) for count in counts]


def _count(rows: Sequence[Row]) -> int:
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
