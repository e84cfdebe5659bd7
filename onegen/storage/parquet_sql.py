"""Parquet files as SQL of duckdb names them: these files and no other, with the columns that they hold and no more.

Left alone, duckdb takes `*`, `?` and `[` in a path for patterns, and `key=5` in it for a column `key` of all rows.
"""

import re
from collections.abc import Iterable

_PATTERN = re.compile(r"[*?\[]")


def sql_text(value: str) -> str:
    """Return a text as SQL takes it, whatever stands in it."""
    return "'" + value.replace("'", "''") + "'"


def literal(path: str) -> str:
    """Return the pattern that this path alone matches."""
    return _PATTERN.sub(lambda found: f"[{found[0]}]", path)


def parquet_rows(paths: Iterable[str], by_name: bool = False, filename: bool = False) -> str:
    """Return SQL of the rows of local files, whose columns are matched `by_name` where files differ in them.

    With `filename` a row says in which file it stands, by its path as it was given.
    """
    listed = ", ".join(sql_text(literal(path)) for path in paths)
    options = {"hive_partitioning": False, "union_by_name": by_name, "filename": filename}
    said = ", ".join(f"{name} = {str(value).lower()}" for name, value in options.items())
    return f"read_parquet([{listed}], {said})"
