"""PYTHONPATH=. python -m pytest tests/shards/test_plan.py"""

import hashlib

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from onegen.shards.canonical import canonical
from onegen.shards.dataset import PlanSummary
from onegen.shards.plan import (
    LISTING,
    PlannedFile,
    PlannedItem,
    make_plan,
    plan_digest,
    plan_file,
    plan_name,
    read_plan,
)
from onegen.storage.store import Store
from tests.fabricated import memory_store
from tests.properties import FEW

NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12)
LISTINGS = st.lists(st.tuples(NAMES, st.integers(1, 4)), max_size=25, unique_by=lambda pair: pair[0])


def batches(pairs, size: int = 7):
    """Yield a listing of (item, number of images) in batches."""
    rows = [
        {
            "item": item,
            "images": [{"uri": f"{item}/{i}", "size": i, "etag": f"mtime:{i}"} for i in range(images)],
            "sidecars": [{"uri": f"{item}.txt", "size": 3, "etag": "e"}] if images > 1 else [],
        }
        for item, images in pairs
    ]
    for start in range(0, len(rows), size):
        yield pa.RecordBatch.from_pylist(rows[start : start + size], schema=LISTING)


def plan(store: Store, pairs, samples_per_shard: int = 5, limit: int | None = None):
    summary = make_plan(store, batches(pairs), samples_per_shard, limit)
    assert store.names("plan") == [f"{shard:06d}.parquet" for shard in range(summary.shards)]
    return summary, [read_plan(store, shard) for shard in range(summary.shards)]


@FEW
@given(LISTINGS, st.integers(1, 6))
def test_every_item_is_planned_once_in_the_order_of_its_bytes(pairs, samples_per_shard):
    with memory_store("plan") as store:
        summary, shards = plan(store, pairs, samples_per_shard)
        items = [row.item for rows in shards for row in rows]
        assert items == sorted((item for item, _ in pairs), key=str.encode)
        assert summary.items == len(pairs)
        images = {row.item: len(row.images) for rows in shards for row in rows}
        assert images == dict(pairs)


@FEW
@given(LISTINGS, st.integers(1, 6))
def test_shards_are_full_and_no_item_spans_two(pairs, samples_per_shard):
    with memory_store("plan") as store:
        _, shards = plan(store, pairs, samples_per_shard)
        counts = [sum(len(row.images) for row in rows) for rows in shards]
        for shard, rows in enumerate(shards):
            assert [row.position for row in rows] == list(range(len(rows)))
            # Over the size only where a single item is, and never with room for the next item.
            assert counts[shard] <= samples_per_shard or len(rows) == 1
            if shard + 1 < len(shards):
                assert counts[shard] + len(shards[shard + 1][0].images) > samples_per_shard


@FEW
@given(LISTINGS, st.randoms(use_true_random=False))
def test_the_order_of_the_listing_changes_nothing(pairs, random):
    with memory_store("plan") as store, memory_store("other") as other:
        summary, _ = plan(store, pairs)
        shuffled = list(pairs)
        random.shuffle(shuffled)
        assert plan(other, shuffled)[0] == summary
        for shard in range(summary.shards):
            assert store.read(plan_name(shard)) == other.read(plan_name(shard))


def test_a_limit_keeps_the_first_items():
    pairs = [(name, 1) for name in "hgfedcba"]
    with memory_store("plan") as store:
        summary, shards = plan(store, pairs, 2, limit=3)
        assert [[row.item for row in rows] for rows in shards] == [["a", "b"], ["c"]]
        assert (summary.shards, summary.items) == (2, 3)
        assert plan(store, pairs, 2, limit=100)[0].items == 8


def test_a_new_plan_replaces_an_old_one():
    with memory_store("plan") as store:
        plan(store, [(f"{i}", 1) for i in range(20)], 2)
        assert plan(store, [("a", 1)], 2)[0].shards == 1


def test_nothing_to_plan_is_an_empty_plan():
    with memory_store("plan") as store:
        summary, shards = plan(store, [])
        assert shards == []
        assert summary == PlanSummary(shards=0, items=0, digest=summary.digest)


def test_a_plan_of_many_batches_is_sorted_as_a_whole():
    pairs = [(f"{(i * 7919) % 20_011:06d}", 1) for i in range(20_011)]
    with memory_store("plan") as store:
        summary = make_plan(store, batches(pairs, 3000), 1000)
        assert (summary.shards, summary.items) == (21, 20_011)
        items = [row.item for shard in range(21) for row in read_plan(store, shard)]
        assert items == [f"{i:06d}" for i in range(20_011)]


ITEM = PlannedItem(3, "a", (PlannedFile("a.jpg", 5, "mtime:1"),), (PlannedFile("a.txt", 2, "mtime:2"),))


def test_an_item_reads_back_as_it_was_listed():
    with memory_store("plan") as store:
        _, ((row,),) = plan(store, [("é b.c", 2)])
        assert row == PlannedItem(
            0,
            "é b.c",
            (PlannedFile("é b.c/0", 0, "mtime:0"), PlannedFile("é b.c/1", 1, "mtime:1")),
            (PlannedFile("é b.c.txt", 3, "e"),),
        )


@pytest.mark.parametrize(
    "other",
    [
        PlannedItem(3, "b", ITEM.images, ITEM.sidecars),
        PlannedItem(3, "a", (PlannedFile("a.jpg", 6, "mtime:1"),), ITEM.sidecars),
        PlannedItem(3, "a", (PlannedFile("a.jpg", 5, "mtime:9"),), ITEM.sidecars),
        PlannedItem(3, "a", ITEM.images, ()),
        PlannedItem(3, "a", (*ITEM.images, *ITEM.sidecars), ()),
    ],
)
def test_the_digest_covers_what_the_source_said(other):
    assert other.digest() != ITEM.digest()


def test_the_digest_of_a_shard_s_plan_is_that_of_what_was_listed():
    with memory_store("plan") as store, memory_store("other") as other:
        plan(store, [("a", 1), ("b", 2), ("c", 3)], 3)
        plan(other, [("c", 3), ("a", 1), ("b", 3)], 4)
        digests = [plan_digest(store, 0), plan_digest(store, 1), plan_digest(other, 0), plan_digest(other, 1)]
        assert digests[1] == digests[3]
        assert len(set(digests)) == 3


def test_the_digest_does_not_cover_the_position():
    moved = PlannedItem(4, ITEM.item, ITEM.images, ITEM.sidecars)
    assert moved.digest() == ITEM.digest()


ODD = [("a", 1), ('quo"te', 2), ("back\\slash", 1), ("line\nbreak \u2028 é", 3), ("z", 1)]


@FEW
@given(LISTINGS, st.integers(1, 6))
@example(ODD, 3)
def test_it_is_written_as_its_items_would_be_one_by_one(pairs, samples_per_shard):
    with memory_store("plan") as store:
        summary, shards = plan(store, pairs, samples_per_shard)
        lines = b"".join(canonical(row.content()) + b"\n" for rows in shards for row in rows)
        assert summary.digest == hashlib.sha256(lines).hexdigest()
        for shard, rows in enumerate(shards):
            assert store.read(plan_name(shard)) == plan_file(rows)


def test_a_listing_may_say_nothing_of_sidecars_sizes_and_etags():
    rows = [
        {"item": str(number), "images": [{"uri": f"{number}.jpg", "size": None, "etag": None}], "sidecars": None}
        for number in range(3)
    ]
    with memory_store("plan") as store:
        summary = make_plan(store, [pa.RecordBatch.from_pylist(rows, schema=LISTING)], 2)
        items = [row for shard in range(2) for row in read_plan(store, shard)]
        assert summary.digest == hashlib.sha256(b"".join(canonical(i.content()) + b"\n" for i in items)).hexdigest()
        assert items[2] == PlannedItem(0, "2", (PlannedFile("2.jpg", None, None),), ())
        assert store.read(plan_name(0)) == plan_file(items[:2])
