"""What is unsound in samples of several images: cameras that are none, sets with fewer images than they must have."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from onegen.audit.defects import Defect
from onegen.audit.images import NUMBER, found
from onegen.audit.query import ask, batches
from onegen.audit.tables import Tables, quoted
from onegen.config.recipe import LEAST_IMAGES
from onegen.errors import ConfigError
from onegen.geometry.cameras import from_record
from onegen.sample import IMAGE, SELECT
from onegen.shards.dataset import Card
from onegen.shards.views import DROPPED


def check_sets(card: Card, tables: Tables) -> Iterator[Defect]:
    """Yield the defects of sets; those of other kinds have none."""
    if "camera" in tables.fields(IMAGE):
        yield from _cameras(tables)
    if card.kind in LEAST_IMAGES and SELECT in tables.manifests:
        wished = (card.recipe.get("select") or {}).get("min_images")
        yield from _few_images(tables, int(wished or LEAST_IMAGES[card.kind]))


def _cameras(tables: Tables) -> Iterator[Defect]:
    """Yield images whose camera is not there, or no rigid motion with a focal length."""
    images = found(tables, IMAGE, "camera")
    sql = f"SELECT shard, key, {NUMBER} AS number, camera FROM {images} ORDER BY shard, position, number"
    for batch in batches(ask(tables, sql)):
        for row in batch.to_pylist():
            fault = _fault(row["camera"])
            if fault:
                what = f"camera of image {row['number']} must be rigid: {fault}"
                yield Defect("bad_camera", IMAGE, row["shard"], row["key"], what)


def _fault(record: Mapping[str, Any] | None) -> str | None:
    """Return what is wrong with a camera as the index has it, None for a sound one."""
    try:
        camera = from_record(record or {})
    except ConfigError as error:
        return str(error)
    except (KeyError, TypeError, ValueError):
        return "it has no matrix of 4 x 4 numbers and two focal lengths."
    last = camera.camera_to_world[3]
    return None if np.allclose(last, (0, 0, 0, 1)) else f"the last row of its matrix is {last.tolist()}."


def _few_images(tables: Tables, least: int) -> Iterator[Defect]:
    """Yield sets that select kept and that have fewer images left than they must have."""
    lost = f"coalesce(len(s.{DROPPED}), 0)" if DROPPED in tables.fields(SELECT) else "0"
    sql = (
        f"SELECT shard, i.key, len(i.parts) - {lost} AS kept FROM {quoted(IMAGE)} AS i JOIN {quoted(SELECT)} AS s "
        f"USING (shard, position) WHERE i.status = 'ok' AND s.status = 'ok' AND kept < {least} "
        f"ORDER BY shard, position"
    )
    for shard, key, kept in tables.rows(sql):
        yield Defect("few_images", IMAGE, shard, key, f"images must be at least {least}, got {kept}")
