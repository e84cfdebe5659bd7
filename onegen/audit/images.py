"""The rows of a column by image: of samples with several, one for each image that the column says something of.

The plain fields of a row are those of its first image, further ones stand in `others` (onegen/shards/views.py). What a
column says of a whole sample has one row.
"""

from collections.abc import Iterable

from onegen.audit.tables import Tables, quoted
from onegen.sample import IMAGE
from onegen.shards.views import OTHERS

NUMBER = "_image"
"""Which image of its sample a row is of, from 0."""
_BASE = ("shard", "position", "key")


def found(tables: Tables, column: str, field: str | None = None) -> str:
    """Return SQL of the rows of a column that are ok; one for each image where it says `field` of each.

    Each has the number of its image, 0 where it is of the whole sample. Rows of images have shard, position, key, and
    all that is said of each.
    """
    fields = tables.further(column)
    whole = f"{quoted(column)} WHERE status = 'ok'"
    if field not in fields:
        return f"(SELECT *, 0 AS {NUMBER} FROM {whole})"
    base = ", ".join(_BASE)
    own = ", ".join(quoted(name) for name in fields)
    other = ", ".join(f"o.{quoted(name)} AS {quoted(name)}" for name in fields)
    unfolded = f"SELECT {base}, unnest({OTHERS}) AS o, generate_subscripts({OTHERS}, 1)::INTEGER AS n FROM {whole}"
    return (
        f"(SELECT {base}, 0 AS {NUMBER}, {own} FROM {whole} UNION ALL "
        f"SELECT {base}, n AS {NUMBER}, {other} FROM ({unfolded}) WHERE o IS NOT NULL)"
    )


def listed(tables: Tables, column: str, field: str) -> str:
    """Return SQL of what a column lists, an entry a row under `e`."""
    named = ", ".join((*_BASE, NUMBER))
    return f"(SELECT {named}, unnest({quoted(field)}) AS e FROM {found(tables, column, field)})"


def keys_at(tables: Tables, places: Iterable[tuple[int, int]]) -> dict[tuple[int, int], str]:
    """Return the keys of a few samples by (shard, position); what is not there is left out."""
    listed = ", ".join(f"({int(shard)}, {int(position)})" for shard, position in places)
    if not listed:
        return {}
    told = tables.rows(f"SELECT shard, position, key FROM {quoted(IMAGE)} WHERE (shard, position) IN (VALUES {listed})")
    return {(shard, position): str(key) for shard, position, key in told}


def place(tables: Tables, column: str, field: str) -> str:
    """Return the fields by which what a column says of images is joined with the images."""
    both = field in tables.further(column) and tables.further(IMAGE)
    return f"shard, position, {NUMBER}" if both else "shard, position"
