"""Clusters of near-duplicates: images whose perceptual hashes lie within a few bits of the first of their cluster.

The search is that of `select` (onegen/pixels/near.py), over the first images of all samples that are ok, those that
select dropped among them. docs/audit.md.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from onegen.audit.tables import Tables, quoted
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


@dataclass(frozen=True)
class NearDuplicates:
    """How many images lie in how many clusters at a distance, and the keys of the largest clusters with their sizes.

    `compared` is the number of hashes; 0 of a dataset that has more than are compared.
    """

    distance: int
    compared: int
    images: int
    clusters: int
    largest: list[tuple[int, list[str]]]

    @property
    def keys(self) -> list[str]:
        """All keys that are shown."""
        return [key for _, keys in self.largest for key in keys]


def near_duplicates(tables: Tables, card: Card, full: bool = False) -> NearDuplicates | None:
    """Return the clusters of a dataset; None where its images have no hashes. `full` compares any number of them."""
    if "phash" not in tables.fields(IMAGE):
        return None
    flat = ", ".join(str(value) for value in FLAT)
    source = f"FROM {quoted(IMAGE)} WHERE status = 'ok' AND phash IS NOT NULL AND phash NOT IN ({flat})"
    ((number,),) = tables.rows(f"SELECT count(*) {source}")
    wished = (card.recipe.get("select") or {}).get("near_duplicates") or {}
    distance = int(wished.get("distance", DISTANCE))
    if number > MOST and not full:
        return NearDuplicates(distance, 0, 0, 0, [])
    table = _read(tables, f"SELECT shard, position, phash {source} ORDER BY shard, position")
    kept = KeptHashes(distance).admit(np.arange(number), table.column("phash").to_numpy())
    firsts, sizes = np.unique(kept, return_counts=True)
    many = sizes > 1
    firsts, sizes = firsts[many], sizes[many]
    order = np.lexsort((firsts, -sizes))[:CLUSTERS]
    shown = [np.flatnonzero(kept == first)[:MEMBERS] for first in firsts[order]]
    keys = _keys(tables, table, shown)
    largest = [(int(size), members) for size, members in zip(sizes[order], keys, strict=True)]
    return NearDuplicates(distance, number, int(sizes.sum()), len(firsts), largest)


def _read(tables: Tables, sql: str) -> pa.Table:
    """Return the rows of a statement of ours by column."""
    return tables.connection.sql(sql).to_arrow_table()


def _keys(tables: Tables, table: pa.Table, clusters: list[np.ndarray]) -> list[list[str]]:
    """Return the keys of the rows of a table, by cluster."""
    shards, positions = (table.column(name).to_numpy() for name in ("shard", "position"))
    places = [[(int(shards[row]), int(positions[row])) for row in rows] for rows in clusters]
    listed = ", ".join(str(place) for cluster in places for place in cluster)
    if not listed:
        return []
    found = tables.rows(
        f"SELECT shard, position, key FROM {quoted(IMAGE)} WHERE (shard, position) IN (VALUES {listed})"
    )
    by_place = {(shard, position): str(key) for shard, position, key in found}
    return [[by_place[place] for place in cluster] for cluster in places]
