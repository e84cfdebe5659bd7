"""What only the pixels of a map tell of it as a number: the share of edges, how steep depth is.

The checks read these maps (checks.py), of a thousand samples or with `full` of all; here is what they measure on the
way, and the table that `statistics` then counts.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pyarrow as pa

from onegen.audit.images import NUMBER
from onegen.audit.tables import Tables
from onegen.storage.parquet_sql import sql_text

EDGE = 128
"""From here on of 255 a pixel counts as an edge: more likely one than not."""
_TABLE = "_maps"
_SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("name", "key")),
        *((name, pa.int32()) for name in ("shard", "position", NUMBER)),
        ("value", pa.float64()),
    ]
)


@dataclass(frozen=True, slots=True)
class Reading:
    """A number of a map: `name` is COLUMN.MEASURE, `image` which image of its sample the map is of, from 0."""

    name: str
    shard: int
    position: int
    key: str | None
    image: int
    value: float


def edge_density(pixels: np.ndarray) -> float:
    """Return the share in [0, 1] of pixels of an 8-bit map that are edges."""
    return float((pixels >= EDGE).mean())


def gradient(pixels: np.ndarray) -> float:
    """Return how much neighbours of a 16-bit map differ, across and down, in the mean: a share of its range."""
    numbers = pixels.astype(np.float64) / 65535.0
    steps = [np.abs(np.diff(numbers, axis=axis)) for axis in (0, 1)]
    count = sum(step.size for step in steps)
    return float(sum(float(step.sum()) for step in steps) / count) if count else 0.0


MEASURES: Mapping[str, tuple[str, Callable[[np.ndarray], float]]] = {
    "hed.png": ("edge_density", edge_density),
    "depth.png": ("gradient", gradient),
}
"""What is measured of a part, by its name for one image: what the number is called, and how it is found."""


def store_readings(tables: Tables, readings: Sequence[Reading]) -> list[str]:
    """Make the table of these numbers, in place of one that is there, and return their names in order."""
    rows = [asdict(reading) for reading in readings]
    for row in rows:
        row[NUMBER] = row.pop("image")
    tables.store(_TABLE, pa.Table.from_pylist(rows, schema=_SCHEMA))
    return sorted({reading.name for reading in readings})


def relation(name: str) -> str:
    """Return SQL of the numbers of this name, under `value`, with shard, position, key and number of the image."""
    return f"(SELECT * FROM {_TABLE} WHERE name = {sql_text(name)})"
