"""The fields of a dataset that samples can be sorted by and counted over, by the names that people type for them."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from onegen.audit.tables import Tables, quoted
from onegen.errors import ConfigError, nearest
from onegen.shards.index import BASE

_NUMBERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UINTEGER", "UBIGINT", "FLOAT", "DOUBLE")
_PLAIN = re.compile(r"[a-z_][a-z0-9_]*")


@dataclass(frozen=True)
class Field:
    """A single value a column says of a sample: `name` is its SQL, COLUMN.FIELD, in quotes where SQL needs them."""

    name: str
    column: str
    kind: Literal["whole", "number", "text"]


def fields_of(tables: Tables) -> dict[str, Field]:
    """Return the numbers, texts and truths of every column by name, its status and reason among them."""
    reserved = {
        word
        for (word,) in tables.rows("SELECT keyword_name FROM duckdb_keywords() WHERE keyword_category = 'reserved'")
    }
    found: dict[str, Field] = {}
    for column in tables.manifests:
        for field, kind in _single(tables.own_fields(column)):
            name = ".".join(part if _PLAIN.fullmatch(part) and part not in reserved else quoted(part)
                            for part in (column, field))  # fmt: skip
            found[name] = Field(name, column, kind)
    return found


def _single(fields: Mapping[str, str]) -> Iterator[tuple[str, Literal["whole", "number", "text"]]]:
    for field, kind in fields.items():
        if field in BASE and field not in ("key", "status", "reason", "producer"):
            continue
        if kind in _NUMBERS:
            yield field, "number" if kind in ("FLOAT", "DOUBLE") else "whole"
        elif kind in ("VARCHAR", "BOOLEAN"):
            yield field, "text"


def find_field(fields: Mapping[str, Field], name: str) -> Field:
    """Return a field by its name; raises ConfigError with the nearest."""
    if name not in fields:
        raise ConfigError(f"field must be one of the dataset's, got {name!r}; {nearest(name, list(fields))}")
    return fields[name]
