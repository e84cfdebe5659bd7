"""Pictures of a report: small JPEGs of samples and of what is drawn of them, each extracted once."""

import base64
import contextlib
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from onegen.audit.readable import readable
from onegen.audit.show import tiles_of
from onegen.audit.tables import Tables, quoted
from onegen.errors import ConfigError, SampleError
from onegen.pixels.codec import decode_image
from onegen.sample import IMAGE, SELECT
from onegen.shards.column import ColumnReader
from onegen.shards.dataset import Dataset
from onegen.shards.views import split_name

SIDE = 168
SAMPLED = 12
MOST = 300
"""Samples of which there are pictures: with their maps, some megabytes."""


@dataclass(frozen=True)
class Gallery:
    """Images as data URLs by key and number in their sample, and the tiles of samples that are shown with all columns.

    Tiles are label, data URL of a picture or None, and lines of text.
    """

    images: Mapping[tuple[str, int], str]
    samples: Mapping[str, list[tuple[str, str | None, tuple[str, ...]]]]


def gallery(dataset: Dataset, tables: Tables, wanted: Iterable[tuple[str, int]], worst: Iterable[str]) -> Gallery:
    """Return pictures of the wanted images, and all columns of the worst samples and of some spread over the dataset.

    A sample that cannot be read has no picture: the checks tell of it.
    """
    ((total,),) = tables.rows(f"SELECT count(*) FROM {quoted(IMAGE)} WHERE status = 'ok'")
    step = max(1, total // SAMPLED)
    spread = tables.rows(
        f"SELECT key FROM (SELECT key, row_number() OVER (ORDER BY shard, position) AS n FROM {quoted(IMAGE)} "
        f"WHERE status = 'ok') WHERE (n - 1) % {step} = 0 ORDER BY n LIMIT {SAMPLED}"
    )
    shown = list(dict.fromkeys([*list(worst)[:SAMPLED], *(key for (key,) in spread)]))
    pictured: dict[str, list[int]] = {}
    for key, number in list(dict.fromkeys(wanted))[:MOST]:
        pictured.setdefault(key, []).append(number)
    places = tables.rows(
        f"SELECT key, min(shard), min_by(position, shard) FROM {quoted(IMAGE)} WHERE status = 'ok' "
        f"AND list_contains(?, key) GROUP BY key",
        [list({*shown, *pictured})],
    )
    columns = [column for column in dataset.columns() if column not in (IMAGE, SELECT)]
    images: dict[tuple[str, int], str] = {}
    samples: dict[str, list[tuple[str, str | None, tuple[str, ...]]]] = {}
    for key, shard, position in sorted(places, key=lambda place: place[1:]):
        with contextlib.suppress(ConfigError, SampleError):
            found = _pictures(dataset, shard, position, pictured.get(key, ()))
            images |= {(key, number): url for number, url in found.items()}
        if key not in shown:
            continue
        with contextlib.suppress(ConfigError):
            tiles = [tile for row in tiles_of(dataset, columns, shard, position) for tile in row]
            samples[key] = [
                (tile.label, None if tile.picture is None else _url(tile.picture), tile.lines) for tile in tiles
            ]
    return Gallery(images, {key: samples[key] for key in shown if key in samples})


def _pictures(dataset: Dataset, shard: int, position: int, numbers: Sequence[int]) -> dict[int, str]:
    """Return images of a sample by their numbers; raises ConfigError or SampleError where one cannot be read."""
    if not numbers:
        return {}
    with (
        readable(f"sample {position} of shard {shard:06d}"),
        contextlib.closing(ColumnReader(dataset, dataset.require_manifest(IMAGE, shard))) as reader,
    ):
        parts = {split_name(member.name)[0]: member for member in reader.rows[position].parts}
        return {number: _url(decode_image(reader.part(parts[number]))) for number in numbers if number in parts}


def _url(pixels: np.ndarray) -> str:
    image = Image.fromarray(np.ascontiguousarray(pixels)).convert("RGB")
    image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=82)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
