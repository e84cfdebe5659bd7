"""Samples by SQL: which are chosen, in which order, and how a field of them is spread.

An expression is what recipes and `subset --where` take, asked of the first image of a sample; a whole SELECT is what
`query` takes, and chooses the samples whose `key` it answers.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from onegen.audit.browse.fields import Field
from onegen.audit.query import ask, batches
from onegen.audit.statistics import histogram
from onegen.audit.tables import Tables, quoted
from onegen.errors import ConfigError
from onegen.sample import IMAGE
from onegen.shards.where import Scope, columns_in
from onegen.storage.parquet_sql import sql_text

BARS = 20
"""Values of a text that have a bar."""
_SELECT = re.compile(r"(select|with|from)\b", re.IGNORECASE)
Place = tuple[int, int, Any]
"""The shard and the position of a sample, and the value it was sorted by."""


@dataclass(frozen=True)
class Choice:
    """Samples whose image is ok and of which `where` holds, with the value of a field that is shown of each."""

    where: str
    shown: Field | None = None

    def relation(self, tables: Tables, scope: Scope) -> str:
        """Return SQL of rows (shard, position, key, value), joined with the columns that are needed and no more.

        Raises ConfigError for an expression or a statement that cannot be asked.
        """
        where = self.where.strip()
        columns, condition = set[str](), ""
        if _SELECT.match(where):
            statement = where.rstrip("; \n")
            if "key" not in ask(tables, statement).schema.names:
                raise ConfigError(
                    "SELECT must answer the field key, and does not. Write SELECT key FROM samples WHERE ..."
                )
            condition = f"WHERE _key IN (SELECT key FROM (\n{statement}\n))"
        elif where:
            columns |= columns_in(where, scope)
            # As in recipes: an error over a row is no.
            condition = f"WHERE coalesce(TRY(CAST((\n{where}\n) AS BOOLEAN)), false)"
        value = "NULL"
        if self.shown is not None:
            columns.add(self.shown.column)
            value = self.shown.name
        joins = [f"(SELECT shard, position, key AS _key FROM {quoted(IMAGE)} WHERE status = 'ok') AS _at"]
        joins += [f"{quoted(column)} USING (shard, position)" for column in sorted(columns)]
        return f"(SELECT shard, position, _key AS key, {value} AS value FROM {' LEFT JOIN '.join(joins)} {condition})"


def count(tables: Tables, relation: str) -> int:
    """Return the number of samples chosen."""
    ((total,),) = answers(tables, f"SELECT count(*) FROM {relation}")
    return int(total)


def places(tables: Tables, relation: str, is_descending: bool, first: int, number: int) -> list[Place]:
    """Return so many samples in order of their value, those without one last, from `first` on."""
    order = f"value {'DESC' if is_descending else 'ASC'} NULLS LAST, shard, position"
    sql = f"SELECT shard, position, value FROM {relation} ORDER BY {order} LIMIT {number} OFFSET {first}"
    return [(shard, position, value) for shard, position, value in answers(tables, sql)]


def bars(tables: Tables, relation: str, field: Field) -> list[dict[str, Any]]:
    """Return the bars of a field: what each is called, its count, and the expression that chooses its samples.

    Numbers that are whole have bins of whole numbers; of texts the most frequent have a bar.
    """
    return _text_bars(tables, relation, field) if field.kind == "text" else _number_bars(tables, relation, field)


def _text_bars(tables: Tables, relation: str, field: Field) -> list[dict[str, Any]]:
    sql = f"SELECT value::VARCHAR AS v, count(*) FROM {relation} GROUP BY v ORDER BY 2 DESC, 1 LIMIT {BARS}"
    return [
        {
            "label": "(none)" if value is None else value,
            "count": number,
            "where": f"{field.name} IS NULL" if value is None else f"{field.name} = {sql_text(value)}",
        }
        for value, number in answers(tables, sql)
    ]


def _number_bars(tables: Tables, relation: str, field: Field) -> list[dict[str, Any]]:
    sql = f"SELECT min(value), max(value) FROM {relation} WHERE value IS NOT NULL AND isfinite(value::DOUBLE)"
    ((low, high),) = answers(tables, sql)
    if low is None:
        return []
    is_whole = field.kind == "whole"
    values = f"(SELECT value::DOUBLE AS v FROM {relation})"
    edges, bins = histogram(tables, values, is_whole, float(low), float(high))
    found = []
    for number, size in enumerate(bins):
        left, right = edges[number], edges[number + 1]
        if is_whole:
            first, last = math.ceil(left), math.ceil(right) - 1
            label = f"{first}" if first == last else f"{first} to {last}"
            where = f"{field.name} BETWEEN {first} AND {last}"
        else:
            label = f"{left:.4g} to {right:.4g}"
            # The last bin holds its upper edge.
            end = f"<= {right!r}" if number == len(bins) - 1 else f"< {right!r}"
            where = f"{field.name} >= {left!r} AND {field.name} {end}"
        found.append({"label": label, "count": size, "where": where, "left": left, "right": right})
    return found


def answers(tables: Tables, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    """Return the rows of a statement that has words of the user in it; raises ConfigError for what is wrong in them."""
    if values:
        return tables.rows(sql, values)
    return [tuple(row.values()) for batch in batches(ask(tables, sql)) for row in batch.to_pylist()]
