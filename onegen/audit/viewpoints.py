"""From where the cameras of scenes look at what they show: azimuth, elevation and distance of every one, as a table.

The middle of a scene is the point that its cameras look at, its up is theirs (cameras.py); the first camera of a scene
stands at azimuth 0. Distances are in units of the scene.
"""

import itertools
from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from onegen.audit.cameras import frame_of
from onegen.audit.images import NUMBER, found
from onegen.audit.query import ask, batches
from onegen.audit.tables import Tables
from onegen.errors import ConfigError
from onegen.geometry.cameras import Camera, from_record
from onegen.sample import IMAGE

TABLE = "_viewpoints"
GRID = (36, 18)
"""Cells of 10 degrees: azimuth across from -180, elevation down from 90."""
MEASURES = ("azimuth", "elevation", "distance")
_SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        *((name, pa.int32()) for name in ("shard", "position", NUMBER)),
        *((name, pa.float64()) for name in MEASURES),
    ]
)
_BATCH = 10_000


def viewpoints(cameras: list[Camera]) -> np.ndarray:
    """Return azimuth and elevation in degrees, in [-180, 180] and [-90, 90], and distance of each camera, (N,3)."""
    target, (back, right, up), _ = frame_of(cameras)
    offsets = np.stack([camera.center for camera in cameras]) - target
    distances = np.linalg.norm(offsets, axis=1)
    azimuths = np.degrees(np.arctan2(offsets @ right, offsets @ back))
    heights = np.clip(offsets @ up / np.maximum(distances, 1e-12), -1.0, 1.0)
    return np.stack([azimuths, np.degrees(np.arcsin(heights)), distances], axis=1)


def store_viewpoints(tables: Tables) -> bool:
    """Make the table of where each camera of each scene stands; say whether there are cameras.

    A scene of which a camera is none is left out: the checks tell of it.
    """
    if "camera" not in tables.fields(IMAGE):
        return False
    rows = _rows(tables)
    parts = [pa.Table.from_pylist([], schema=_SCHEMA)]
    while batch := list(itertools.islice(rows, _BATCH)):
        parts.append(pa.Table.from_pylist(batch, schema=_SCHEMA))
    tables.store(TABLE, pa.concat_tables(parts))
    return True


def _rows(tables: Tables) -> Iterator[dict[str, object]]:
    images = found(tables, IMAGE, "camera")
    sql = f"SELECT shard, position, key, {NUMBER}, camera FROM {images} ORDER BY shard, position, {NUMBER}"
    told = (row for batch in batches(ask(tables, sql)) for row in batch.to_pylist())
    for (shard, position), group in itertools.groupby(told, lambda row: (row["shard"], row["position"])):
        views = list(group)
        try:
            cameras = [from_record(view["camera"] or {}) for view in views]
        except (ConfigError, KeyError, TypeError, ValueError):
            continue
        for view, numbers in zip(views, viewpoints(cameras).tolist(), strict=True):
            place = {"key": view["key"], "shard": shard, "position": position, NUMBER: view[NUMBER]}
            yield place | dict(zip(MEASURES, numbers, strict=True))


def coverage(tables: Tables) -> list[list[int]]:
    """Return how many cameras stand in each cell of the sphere, the highest elevation first."""
    across, down = GRID
    grid = [[0] * across for _ in range(down)]
    sql = (
        f"SELECT least({across - 1}, floor((azimuth + 180) / 360 * {across}))::INTEGER AS x, "
        f"least({down - 1}, floor((90 - elevation) / 180 * {down}))::INTEGER AS y, count(*) FROM {TABLE} GROUP BY x, y"
    )
    for x, y, count in tables.rows(sql):
        grid[y][x] = count
    return grid
