"""Clusters of near-duplicates: images whose perceptual hashes lie within a few bits of the first of their cluster.

The search is that of `select` (onegen/pixels/near.py), over every image of all samples that are ok, those that select
dropped among them. Images of one sample may look alike (the source and the target of an edit, two views of a scene):
a cluster has images of several. docs/audit.md.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from onegen.audit.images import NUMBER, found, keys_at
from onegen.audit.tables import Tables
from onegen.pixels.near import KeptHashes
from onegen.pixels.phash import FLAT
from onegen.sample import IMAGE
from onegen.shards.dataset import Card

DISTANCE = 4
"""Bits of 64, where the recipe says none."""
MOST = 2_000_000
"""Hashes that are compared where not all are wanted: half a minute."""
CLUSTERS, MEMBERS = 12, 6
"""Clusters that are shown, the largest, and the images shown of each, the first."""
Place = tuple[str, int]


@dataclass(frozen=True)
class NearDuplicates:
    """How many images lie in how many clusters at a distance, and the largest clusters: size, and some of its images.

    An image is the key of its sample and its number there, from 0. `compared` is the number of hashes; 0 of a dataset
    that has more than are compared.
    """

    distance: int
    compared: int
    images: int
    clusters: int
    largest: list[tuple[int, list[Place]]]

    @property
    def shown(self) -> list[Place]:
        """All images that are shown."""
        return [image for _, images in self.largest for image in images]


def near_duplicates(tables: Tables, card: Card, full: bool = False) -> NearDuplicates | None:
    """Return the clusters of a dataset; None where its images have no hashes. `full` compares any number of them."""
    if "phash" not in tables.fields(IMAGE):
        return None
    flat = ", ".join(str(value) for value in FLAT)
    source = f"FROM {found(tables, IMAGE, 'phash')} WHERE phash IS NOT NULL AND phash NOT IN ({flat})"
    ((number,),) = tables.rows(f"SELECT count(*) {source}")
    wished = (card.recipe.get("select") or {}).get("near_duplicates") or {}
    distance = int(wished.get("distance", DISTANCE))
    if number > MOST and not full:
        return NearDuplicates(distance, 0, 0, 0, [])
    table = _read(tables, f"SELECT shard, position, {NUMBER}, phash {source} ORDER BY shard, position, {NUMBER}")
    kept = KeptHashes(distance).admit(np.arange(number), table.column("phash").to_numpy())
    firsts, sizes = _clusters(kept, table)
    order = np.lexsort((firsts, -sizes))[:CLUSTERS]
    shown = [np.flatnonzero(kept == first)[:MEMBERS] for first in firsts[order]]
    images = _images(tables, table, shown)
    largest = [(int(size), members) for size, members in zip(sizes[order], images, strict=True)]
    return NearDuplicates(distance, number, int(sizes.sum()), len(firsts), largest)


def _clusters(kept: np.ndarray, table: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    """Return the first row of each cluster that has images of several samples, and how many images it has."""
    order = np.argsort(kept, kind="stable")
    firsts, starts, sizes = np.unique(kept[order], return_index=True, return_counts=True)
    if not len(firsts):
        return firsts, sizes
    shards, positions = (table.column(name).to_numpy().astype(np.int64) for name in ("shard", "position"))
    samples = (shards << 32 | positions)[order]
    several = np.minimum.reduceat(samples, starts) != np.maximum.reduceat(samples, starts)
    return firsts[several], sizes[several]


def _read(tables: Tables, sql: str) -> pa.Table:
    """Return the rows of a statement of ours by column."""
    return tables.connection.sql(sql).to_arrow_table()


def _images(tables: Tables, table: pa.Table, clusters: list[np.ndarray]) -> list[list[Place]]:
    """Return the images of the rows of a table, by cluster."""
    columns = [table.column(name).to_numpy() for name in ("shard", "position", NUMBER)]
    places = [[(*(int(column[row]) for column in columns),) for row in rows] for rows in clusters]
    by_place = keys_at(tables, ((shard, position) for cluster in places for shard, position, _ in cluster))
    return [[(by_place[shard, position], number) for shard, position, number in cluster] for cluster in places]
