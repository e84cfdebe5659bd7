"""A column of depth as predictions: inverse depth of each row, by the name of the photo it was made of."""

import contextlib
import functools
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath

import numpy as np

from onegen.annotators.depth import PROVIDES
from onegen.audit.readable import readable
from onegen.errors import ConfigError
from onegen.sample import IMAGE
from onegen.shards.column import ColumnReader
from onegen.shards.dataset import Dataset
from onegen.shards.takedowns import read_takedowns, taken_positions
from onegen.storage import open_store


@functools.lru_cache(maxsize=4)
def column_maps(folder: Path, column: str) -> Mapping[str, Callable[[], np.ndarray]]:
    """Return, by the photo's path below the source without its suffix, what reads its map, float32 (H,W), near large.

    What was taken down has none. Raises ConfigError for a column that the dataset has not.
    """
    dataset = Dataset(open_store(folder))
    dataset.require_card()
    if column not in dataset.columns():
        raise ConfigError(
            f"{folder} must have the column {column!r}, and has {', '.join(dataset.columns())}. Say -O column=NAME."
        )
    maps: dict[str, Callable[[], np.ndarray]] = {}
    takedowns = read_takedowns(dataset.store)
    for manifest in dataset.manifests(column):
        of_images = dataset.require_manifest(IMAGE, manifest.shard)
        taken = taken_positions(dataset, takedowns, of_images)
        for image, row in zip(dataset.rows(of_images), dataset.rows(manifest), strict=True):
            if row.status == "ok" and row.position not in taken:
                name = PurePosixPath(str(image.values["item"])).with_suffix("").as_posix()
                maps[name] = functools.partial(_read, folder, column, manifest.shard, row.position)
    return maps


def _read(folder: Path, column: str, shard: int, position: int) -> np.ndarray:
    dataset = Dataset(open_store(folder))
    manifest = dataset.require_manifest(column, shard)
    with (
        readable(f"shard {shard:06d} of column {column}"),
        contextlib.closing(ColumnReader(dataset, manifest)) as reader,
    ):
        said = reader.annotation(reader.rows[position], 0, PROVIDES)
    (part,) = said.parts.values()
    low, high = (float(said.values[name]) for name in ("minimum", "maximum"))
    return (low + np.asarray(part, np.float32) * np.float32((high - low) / 65535.0)).astype(np.float32)
