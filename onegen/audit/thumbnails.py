"""Pictures of a report: small JPEGs of samples and of what is drawn of them, each extracted once."""

import base64
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from PIL import Image

from onegen.audit.sheet import Tile
from onegen.audit.show import tiles_of
from onegen.audit.tables import Tables, quoted
from onegen.errors import ConfigError
from onegen.sample import IMAGE, SELECT
from onegen.shards.dataset import Dataset

SIDE = 168
SAMPLED = 12
MOST = 300
"""Samples of which there are pictures: with their maps, some megabytes."""


@dataclass(frozen=True)
class Gallery:
    """The image of each key as a data URL, and the tiles of those that are shown with all their columns."""

    images: Mapping[str, str]
    samples: Mapping[str, list[tuple[str, str | None, tuple[str, ...]]]]


def gallery(dataset: Dataset, tables: Tables, wanted: Iterable[str], worst: Iterable[str]) -> Gallery:
    """Return pictures of the wanted keys, and all columns of the worst and of some spread over the dataset.

    A sample that cannot be read has no picture: the checks tell of it.
    """
    ((total,),) = tables.rows(f"SELECT count(*) FROM {quoted(IMAGE)} WHERE status = 'ok'")
    step = max(1, total // SAMPLED)
    spread = tables.rows(
        f"SELECT key FROM (SELECT key, row_number() OVER (ORDER BY shard, position) AS n FROM {quoted(IMAGE)} "
        f"WHERE status = 'ok') WHERE (n - 1) % {step} = 0 ORDER BY n LIMIT {SAMPLED}"
    )
    shown = list(dict.fromkeys([*list(worst)[:SAMPLED], *(key for (key,) in spread)]))
    keys = list(dict.fromkeys([*shown, *wanted]))[:MOST]
    places = tables.rows(
        f"SELECT key, min(shard), min_by(position, shard) FROM {quoted(IMAGE)} WHERE status = 'ok' "
        f"AND list_contains(?, key) GROUP BY key",
        [keys],
    )
    columns = [column for column in dataset.columns() if column not in (IMAGE, SELECT)]
    images: dict[str, str] = {}
    samples: dict[str, list[tuple[str, str | None, tuple[str, ...]]]] = {}
    for key, shard, position in sorted(places, key=lambda place: place[1:]):
        try:
            rows = tiles_of(dataset, columns if key in shown else [], shard, position)
        except ConfigError:
            continue
        tiles = [tile for row in rows for tile in row]
        images[key] = _url(tiles[0])
        if key in shown:
            samples[key] = [
                (tile.label, _url(tile) if tile.picture is not None else None, tile.lines) for tile in tiles
            ]
    return Gallery(images, {key: samples[key] for key in shown if key in samples})


def _url(tile: Tile) -> str:
    assert tile.picture is not None
    image = Image.fromarray(np.ascontiguousarray(tile.picture)).convert("RGB")
    image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=82)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
