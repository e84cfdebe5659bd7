"""PYTHONPATH=. python -m pytest tests/build/test_select.py"""

from collections.abc import Mapping, Sequence
from typing import BinaryIO

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from onegen.build.jobs import Permissions
from onegen.build.select import SelectStep
from onegen.config.recipe import NearDuplicates, SelectConfig
from onegen.errors import ConfigError
from onegen.executor.contract import Job, ShardResult, Task
from onegen.pixels.phash import FLAT
from onegen.sample import SELECT
from onegen.shards.dataset import Dataset
from onegen.shards.index import IMAGE_FIELDS
from onegen.storage.store import Store
from tests.fabricated import Line, memory_store, write_column
from tests.properties import FEW

Verdict = tuple[str, str | None, str | None]
Picture = tuple[str, int] | None
"""Key and perceptual hash of an image, or None where it is not ok."""

SCORES = {"sharpness": pa.float32()}
SCOPE = {"image": IMAGE_FIELDS, "scores": SCORES}


def write_images(store: Store, shards: Sequence[Sequence[Picture]]) -> None:
    for shard, pictures in enumerate(shards):
        lines = [
            Line(p[0].ljust(20, "0"), values={"phash": p[1]}) if p else Line(None, "failed", "source_gone")
            for p in pictures
        ]
        write_column(store, "image", shard, lines)


def select(store: Store, num_shards: int, config: SelectConfig, columns: tuple[str, ...] = ("image",)) -> list[Verdict]:
    """Run select, commit it, and return status, reason and the key kept instead, row by row."""
    dataset = Dataset(store)
    step = SelectStep(config, "image", SCOPE, columns)

    def commit(result: ShardResult) -> None:
        for manifest in result.manifests:
            dataset.commit(manifest)

    def on_workers(job: Job, tasks: Sequence[Task]) -> None:
        pytest.fail("the barrier runs in the driver")

    step.run(dataset, step.tasks(dataset, num_shards, Permissions()), commit, on_workers)
    return [
        (row.status, row.reason, row.values["duplicate_of"])
        for manifest in dataset.manifests("select")
        for row in dataset.rows(manifest)
    ]


def reference(pictures: Sequence[Picture], distance: int | None) -> list[Verdict]:
    """Judge all rows by comparing each with every one kept before it."""
    seen: set[str] = set()
    kept: list[tuple[str, int]] = []
    verdicts: list[Verdict] = []
    for picture in pictures:
        if picture is None:
            verdicts.append(("skipped", "image:failed", None))
            continue
        key, phash = picture[0].ljust(20, "0"), picture[1]
        compared = kept if distance is not None and phash not in FLAT else []
        near = [k for k, other in compared if other not in FLAT and (other ^ phash).bit_count() <= distance]
        if key in seen:
            # The first of the same bytes, or whoever was kept in its place.
            first_kept = any(key == k for k, _ in kept)
            verdicts.append(("filtered", "duplicate", key if first_kept else near[0]))
        elif near:
            verdicts.append(("filtered", "near_duplicate", near[0]))
        else:
            kept.append((key, phash))
            verdicts.append(("ok", None, None))
        seen.add(key)
    return verdicts


# Few bases and few flipped bits, so that chains, ties and collisions happen in a handful of rows.
BASES = st.sampled_from([0, 2**64 - 1, 0x0123456789ABCDEF, 0xF0F0F0F0F0F0F0F0])
HASHES = st.builds(
    lambda base, flips: base ^ sum(1 << bit for bit in set(flips)), BASES, st.lists(st.integers(0, 63), max_size=6)
)
# The key is of the bytes, and the same bytes have the same hash.
WORLD = st.dictionaries(st.text("abcdef", min_size=1, max_size=2), HASHES, min_size=1, max_size=10)
SHARDS = WORLD.flatmap(
    lambda world: st.lists(
        st.lists(st.none() | st.sampled_from(sorted(world.items())), min_size=1, max_size=6), min_size=1, max_size=4
    )
)


@FEW
@given(SHARDS, st.none() | st.integers(0, 8))
@example([[("a", 0), ("b", 1), ("c", 3), ("d", 7), ("e", 15)]], 1)
@example([[("a", 0), ("b", 0), ("c", 1 << 63), ("d", 1 << 63), ("e", 3)]], 4)
@example([[("a", 2**64 - 1)], [("b", 2**63 - 1)], [("a", 2**64 - 1)]], 0)
def test_equals_a_comparison_of_every_row_with_every_other(shards, distance):
    with memory_store("select") as store:
        write_images(store, shards)
        near = None if distance is None else NearDuplicates(distance=distance)
        found = select(store, len(shards), SelectConfig(near_duplicates=near))
        assert found == reference([picture for shard in shards for picture in shard], distance)


@pytest.mark.parametrize("distance", range(9))
def test_the_distance_is_counted_in_bits_wherever_they_lie(distance):
    for step in (1, 3):
        flips = sum(1 << (bit * step) % 64 for bit in range(distance))
        further = flips | 1 << 63
        base = 0x0123456789ABCDEF
        pictures = [("a", base), ("b", base ^ flips)]
        with memory_store("select") as store:
            write_images(store, [[*pictures, ("c", base ^ further)]])
            found = select(store, 1, SelectConfig(near_duplicates=NearDuplicates(distance=distance)))
        assert [status for status, _, _ in found] == ["ok", "filtered", "ok"]


def test_thousands_of_hashes_equal_the_reference():
    state = 12345
    pictures: list[tuple[str, int]] = []
    for i in range(1500):
        state = state * 6364136223846793005 + 1442695040888963407 & 2**64 - 1
        base = state if i % 3 or not i else pictures[i // 2][1]
        pictures.append((f"{i:04d}", base ^ (1 << i % 64 if i % 2 else 0)))
    with memory_store("select") as store:
        write_images(store, [pictures[:700], pictures[700:]])
        found = select(store, 2, SelectConfig(near_duplicates=NearDuplicates(distance=4)))
    assert found == reference(pictures, 4)
    assert 100 < sum(status == "filtered" for status, _, _ in found) < 1000


def with_scores(store: Store, pictures: Sequence[Picture], sharpness: Sequence[float | None]) -> None:
    write_images(store, [pictures])
    lines = [
        Line((p or ("", 0))[0].ljust(20, "0"), values={"sharpness": value}) if value is not None and p
        else Line(None, "failed", "crash")
        for p, value in zip(pictures, sharpness, strict=True)
    ]  # fmt: skip
    write_column(store, "scores", 0, lines, SCORES)


def keep(rules: Mapping[str, str], distance: int | None = None) -> SelectConfig:
    near = None if distance is None else NearDuplicates(distance=distance)
    return SelectConfig(keep=dict(rules), near_duplicates=near)


def test_a_row_that_breaks_a_rule_is_filtered_by_its_name_and_null_is_no():
    with memory_store("select") as store:
        with_scores(store, [("a", 1), ("b", 2**20), None, ("c", 2**40)], [5.0, 15.0, 20.0, None])
        found = select(store, 1, keep({"sharp": "scores.sharpness > 10"}), ("image", "scores"))
        assert found == [
            ("filtered", "rule:sharp", None),
            ("ok", None, None),
            ("skipped", "image:failed", None),
            ("filtered", "rule:sharp", None),
        ]


def test_the_first_rule_in_the_recipe_names_the_reason():
    rules = {"sharp": "scores.sharpness > 10", "very": "scores.sharpness > 2"}
    with memory_store("select") as store:
        with_scores(store, [("a", 1), ("b", 2**20), ("c", 2**40)], [1.0, 5.0, 50.0])
        found = select(store, 1, keep(rules), ("image", "scores"))
        assert [reason for _, reason, _ in found] == ["rule:sharp", "rule:sharp", None]


def test_a_row_that_breaks_a_rule_pushes_nothing_out():
    # The blurred first copy must not take the sharp second one with it.
    with memory_store("select") as store:
        with_scores(store, [("a", 0), ("b", 1), ("b", 1)], [1.0, 50.0, 50.0])
        found = select(store, 1, keep({"sharp": "scores.sharpness > 10"}, 4), ("image", "scores"))
        assert found == [
            ("filtered", "rule:sharp", None),
            ("ok", None, None),
            ("filtered", "duplicate", "b".ljust(20, "0")),
        ]


def test_an_unknown_column_in_a_rule_is_a_configuration_error():
    with memory_store("select") as store:
        write_images(store, [[("a", 1)]])
        with pytest.raises(ConfigError, match="did you mean 'scores'"):
            select(store, 1, keep({"sharp": "score.sharpness > 1"}))


def test_keys_are_unique_afterwards():
    with memory_store("select") as store:
        write_images(store, [[("a", 1), ("b", 2**30)], [("b", 2**30), ("a", 1)], [("c", 2**50)]])
        dataset = Dataset(store)
        select(store, 3, SelectConfig())
        keys = [row.key for m in dataset.manifests("select") for row in dataset.rows(m) if row.status == "ok"]
        assert len(keys) == len(set(keys)) == 3


def test_it_is_current_until_an_input_or_an_option_changes():
    with memory_store("select") as store:
        dataset = Dataset(store)
        write_images(store, [[("a", 0)], [("b", 1)]])

        def left(config: SelectConfig, permissions: Permissions = Permissions()) -> list[int]:
            step = SelectStep(config, "image", SCOPE)
            return [task.shard for task in step.tasks(dataset, 2, permissions)]

        assert left(SelectConfig()) == [0, 1]
        select(store, 2, SelectConfig())
        assert left(SelectConfig()) == []
        assert left(SelectConfig(), Permissions(frozenset({"select"}))) == [0, 1]
        assert left(keep({}, 4)) == [0, 1]
        write_images(store, [[("a", 0)], [("c", 1)]])
        assert left(SelectConfig()) == [0, 1]


def test_each_index_is_read_once(monkeypatch):
    with memory_store("select") as store:
        write_images(store, [[("a", 1), ("b", 1)], [("a", 1), None]])
        opened: list[str] = []
        real = store.open

        def noted(name: str) -> BinaryIO:
            opened.append(name)
            return real(name)

        monkeypatch.setattr(store, "open", noted)
        SelectStep(SelectConfig(), "image", SCOPE).run(
            Dataset(store), [Task(0, (SELECT,)), Task(1, (SELECT,))], lambda result: None, lambda job, tasks: None
        )
        indexes = [name for name in opened if name.startswith("columns/image/")]
        assert len(indexes) == len(set(indexes)) == 2, opened


def test_it_waits_for_every_shard_of_what_it_looks_at():
    with memory_store("select") as store:
        write_images(store, [[("a", 0)], [("b", 1)]])
        with pytest.raises(ConfigError, match=r"column 'image' must be made before .* shard 000002 is missing"):
            select(store, 3, SelectConfig())


def test_the_same_verdicts_have_the_same_digest():
    digests = []
    for _ in range(2):
        with memory_store("select") as store:
            write_images(store, [[("a", 0), ("b", 1)], [("a", 0)]])
            select(store, 2, keep({}, 4))
            digests.append([manifest.digest for manifest in Dataset(store).manifests("select")])
    assert digests[0] == digests[1]
