"""What more of the same would take: shards, manifests, bytes, memory of the driver and hours, from a dataset that is.

A straight line through what its manifests say of a first few thousand items. docs/cluster.md.
"""

import math
import tracemalloc
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from onegen.errors import ConfigError
from onegen.executor.contract import Task
from onegen.sample import IMAGE, PACKED, SELECT
from onegen.shards.dataset import Card, Dataset, manifest_name
from onegen.shards.plan import plan_name
from onegen.shards.run import Pace

_TASKS_WEIGHED = 2_000


@dataclass(frozen=True, slots=True)
class Rate:
    """How a step went: the columns it makes together, rows it computed an item, and rows of one worker a second."""

    step: str
    columns: tuple[str, ...]
    rows_per_item: float
    rows_per_second: float


@dataclass(frozen=True, slots=True)
class Facts:
    """What a dataset says of an item: what each column and the plan take of the store, in bytes, and each step of time.

    `manifest_bytes` are those of all manifests of one shard, `shard_bytes` what the driver holds of a shard in memory.
    """

    items_per_shard: int
    bytes_per_item: Mapping[str, float]
    manifests_per_shard: int
    manifest_bytes: float
    shard_bytes: float
    rates: tuple[Rate, ...]


@dataclass(frozen=True, slots=True)
class Size:
    """What so many items take: files of the store by number, its bytes, memory of the driver that grows, hours a step.

    `driver_bytes` come on top of what a build of any size takes.
    """

    items: int
    shards: int
    manifests: int
    stored_bytes: int
    driver_bytes: int
    worker_hours: Mapping[str, float]


def read_facts(dataset: Dataset) -> Facts:
    """Return what a dataset's manifests say; raises ConfigError where there is none or nothing is made."""
    card = dataset.require_card()
    columns = [column for column in [*dataset.columns(), PACKED] if dataset.shards(column)]
    if not columns or not card.plan.items:
        raise ConfigError(f"{dataset.store.url} must have shards to reckon with, and has none. Build it first.")
    stored: dict[str, float] = {}
    manifests = 0
    paces: dict[str, Pace] = {}
    for column in columns:
        pace, rows, size = Pace(), 0, 0
        for manifest in dataset.manifests(column):
            pace.add(manifest.run)
            rows += manifest.counts.rows
            size += sum(record.size for record in manifest.files.values())
            manifests += dataset.store.size(manifest_name(column, manifest.shard))
        paces[column], stored[column] = pace, size / max(rows, 1)
    made = {shard for column in columns for shard in dataset.shards(column)}
    stored["plan"] = sum(dataset.store.size(plan_name(shard)) for shard in made) / card.plan.items
    return Facts(
        _items_per_shard(card),
        stored,
        len(columns),
        manifests / len(made),
        _weigh_tasks(columns),
        tuple(_rates(card, paces)),
    )


def size_of(facts: Facts, items: int, items_per_shard: int | None = None) -> Size:
    """Return what so many items would take; None leaves shards as long as they are."""
    shards = math.ceil(items / (items_per_shard or facts.items_per_shard))
    hours = {
        rate.step: items * rate.rows_per_item / rate.rows_per_second / 3600
        for rate in facts.rates
        if rate.rows_per_second
    }
    stored = items * sum(facts.bytes_per_item.values()) + shards * facts.manifest_bytes
    return Size(
        items, shards, shards * facts.manifests_per_shard, round(stored), round(shards * facts.shard_bytes), hours
    )


def _items_per_shard(card: Card) -> int:
    """Return how many items fill a shard: the plan counts images, of which sets have several."""
    if card.kind == "image":
        return int(card.recipe["samples_per_shard"])
    return math.ceil(card.plan.items / max(card.plan.shards, 1))


def _rates(card: Card, paces: Mapping[str, Pace]) -> Iterator[Rate]:
    """Yield the rate of each step on workers, in the order they ran; columns of a stage have the seconds of all."""
    steps: dict[str, list[str]] = defaultdict(list)
    stages = {name.rpartition(".")[2]: stage["name"] for stage in card.recipe["stages"] for name in stage["annotators"]}
    for column in sorted(paces, key=lambda name: (name != IMAGE, name == PACKED)):
        if column != SELECT:
            steps[stages.get(column, column)].append(column)
    for step, columns in steps.items():
        pace = max((paces[column] for column in columns), key=lambda pace: pace.seconds)
        rate = pace.computed / pace.seconds if pace.seconds else 0.0
        yield Rate(step, tuple(columns), pace.computed / card.plan.items, rate)


def _weigh_tasks(columns: Sequence[str]) -> float:
    """Return the bytes of a shard in the driver: its task of each step that is under way, and the names it lists."""
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        held = [
            (Task(shard, (columns[0],), {}), manifest_name(columns[0], shard), shard) for shard in range(_TASKS_WEIGHED)
        ]
        after, _ = tracemalloc.get_traced_memory()
        return (after - before) / len(held)
    finally:
        tracemalloc.stop()
