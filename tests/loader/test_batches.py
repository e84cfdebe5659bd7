"""Steps, ranks, resuming, workers, bad input. PYTHONPATH=. python -m pytest tests/loader/test_batches.py"""

import json
import os
import shutil
import signal
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from onegen.errors import ConfigError, Stopped
from onegen.loader.batches import Loader, lent
from onegen.loader.choices import Choices
from onegen.loader.epoch import Budget
from onegen.loader.needs import ORDER
from onegen.shards.dataset import CARD, Dataset
from onegen.storage import open_store
from tests.fabricated import memory_store
from tests.loader.street import key_of, write_sets, write_street

SMALL = Choices(resolution=64, token=16, text_dropout=0.2)


def make(datasets, mixture=None, **changes) -> Loader:
    options = {"tokens": 128, "bins": 2, "choices": SMALL, "validation": 0.0, **changes}
    return Loader(datasets, mixture, **options)


def said(example) -> tuple:
    return example.key, example.task, example.prompt, example.seed, [np.asarray(view).sum() for view in example.views]


def steps_of(loader: Loader) -> list[list[list[tuple]]]:
    return [[[said(example) for example in bin_] for bin_ in bins] for bins in loader]


def flat(steps) -> list[tuple]:
    return [example for bins in steps for bin_ in bins for example in bin_]


def test_an_epoch_shows_every_key_once_and_the_next_in_another_order(street):
    with make(street.url) as loader:
        first, second = flat(steps_of(loader)), flat(steps_of(loader))
    keys = [example[0] for example in first]
    assert sorted(keys) == sorted(key_of(number) for number in range(24))
    assert sorted(example[0] for example in second) == sorted(keys)
    assert [example[0] for example in second] != keys
    assert len({example[3] for example in first + second}) == 48, "every visit has a seed of its own"


def test_ranks_share_out_each_step_and_lose_nothing(street):
    alone = steps_of(make(street.url, bins=4))
    ranks = [steps_of(make(street.url, bins=4, rank=rank, world=2)) for rank in range(2)]
    assert [len(rank) for rank in ranks] == [len(alone)] * 2
    assert all(len(bins) == 2 for rank in ranks for bins in rank)
    for step, *shared in zip(alone, *ranks, strict=True):
        assert Counter(map(repr, step)) == Counter(map(repr, shared[0] + shared[1]))
    assert Counter(example[0] for rank in ranks for example in flat(rank)).most_common(1)[0][1] == 1


def test_two_ranks_go_on_as_one(street):
    whole = steps_of(make(street.url))
    begun = make(street.url, rank=1, world=2)
    for number, _ in enumerate(begun):
        if number == 1:
            break
    state = json.loads(json.dumps(begun.state_dict()))
    assert (state["epoch"], state["position"]) == (0, 2)
    resumed = make(street.url)
    resumed.load_state_dict(state)
    assert steps_of(resumed) == whole[2:]
    assert resumed.state_dict()["epoch"] == 1
    other = make(street.url)
    other.load_state_dict({"epoch": 1, "position": 0})
    assert steps_of(other) == steps_of(resumed)


def test_workers_change_nothing(street):
    here = steps_of(make(street.url))
    with make(street.url, workers=2) as loader:
        assert steps_of(loader) == here
        # stopped in the middle, and taken up again: what was made ahead is not taken for another bin
        state = loader.state_dict()
        next_epoch = iter(loader)
        next(next_epoch)
        next_epoch.close()
        loader.load_state_dict(state)
        second = steps_of(loader)
    other = make(street.url)
    other.load_state_dict({"epoch": 1, "position": 0})
    assert second == steps_of(other)


def test_a_killed_worker_is_an_error_with_a_way_out(street):
    with make(street.url, workers=2, bins=4, tokens=64) as loader:
        steps = iter(loader)
        next(steps)
        os.kill(loader._pool._workers[1].pid, signal.SIGKILL)
        with pytest.raises(Stopped, match="worker 1 .*SIGKILL.*fewer workers.*last checkpoint"):
            list(steps)
        # and asking again hangs no more than asking once
        with pytest.raises(Stopped):
            list(loader)


def test_weights_are_met(street):
    weights = {"text2image": 3.0, "depth2image": 2.0, "canny2image": 1.0}
    plans = [make(street.url, weights, seed=seed).plan() for seed in range(30)]
    counts = {name: sum(plan.mixture.get(name, 0) * plan.examples for plan in plans) for name in weights}
    total = sum(counts.values())
    expected = {name: total * weight / 6 for name, weight in weights.items()}
    # depth is there for three of four samples; the others must serve the rest more often
    chi_square = sum((counts[name] - expected[name]) ** 2 / expected[name] for name in weights)
    assert total == 30 * 24
    assert chi_square < 13.8, "p > 0.001 at 2 degrees of freedom"
    assert plans[0].wanted == {"text2image": 0.5, "depth2image": 2 / 6, "canny2image": 1 / 6}


def test_the_paper_weighs_super_categories_alike(street):
    wanted = make(street.url, "paper").plan().wanted
    assert wanted["text2image"] == pytest.approx(0.5)
    assert sum(wanted.values()) == pytest.approx(1.0)
    with pytest.raises(ConfigError, match="weights by task, or 'paper', got 'papr'"):
        make(street.url, "papr")


def test_shares_of_datasets_are_met_and_the_small_one_goes_round(tmp_path):
    write_street(tmp_path / "a", 3, "a", ("image", "caption"))
    write_street(tmp_path / "b", 1, "b", ("image", "caption"), first=100)
    shares = {tmp_path / "a": 0.5, tmp_path / "b": 0.5}
    loader = make(shares, {"text2image": 1})
    assert loader.plan().datasets == {"a": 0.5, "b": 0.5}
    seen = Counter()
    for _ in range(3):
        seen.update(example[0] for example in flat(steps_of(loader)))
    # 16 of 24 an epoch: after three epochs each of a twice, each of b six times
    assert sorted(seen.values()) == [2] * 24 + [6] * 8


def test_nothing_is_dropped_and_no_budget_exceeded(street):
    loader = make(street.url, tokens=100, bins=3)
    plan = loader.plan()
    assert (plan.examples, plan.dropped, plan.bins) == (24, 0, 3)
    assert plan.tokens == sum(bucket.tokens for bucket in plan.buckets)
    assert plan.examples == sum(bucket.samples for bucket in plan.buckets)
    assert "24 examples an epoch" in str(plan)
    for bins in loader:
        assert len(bins) == 3
        for bin_ in bins:
            assert bin_
            assert sum(len(e.views) * e.size[0] * e.size[1] // 256 for e in bin_) <= 100


def test_the_split_is_by_key_and_by_subject(street, tmp_path):
    split = {
        name: {example[0] for example in flat(steps_of(make(street.url, split=name, validation=0.3)))}
        for name in ("train", "validation", "all")
    }
    assert split["train"] | split["validation"] == split["all"]
    assert not split["train"] & split["validation"]
    assert 2 <= len(split["validation"]) <= 13
    other_seed = {e[0] for e in flat(steps_of(make(street.url, split="validation", validation=0.3, seed=5)))}
    assert other_seed == split["validation"], "no seed changes what is kept apart"
    pairs = write_sets(tmp_path, "pair", [2] * 12, subject=lambda number: f"thing {number % 3}")
    with_keys = {key_of(1000 + number): number % 3 for number in range(12)}
    sides = [
        {with_keys[e[0]] for e in flat(steps_of(make(pairs.url, split=name, validation=0.5, bins=1)))}
        for name in ("train", "validation")
    ]
    assert not sides[0] & sides[1], "a subject is on one side"


def test_what_was_taken_down_is_not_shown(street):
    gone = {key_of(3), key_of(17)}
    shown = {example[0] for example in flat(steps_of(make(street.url, takedowns=gone)))}
    assert len(shown) == 22
    assert not shown & gone


def test_identities_vary_their_views_and_subjects_their_direction(tmp_path):
    faces = write_sets(tmp_path / "f", "identity", [2, 3, 5, 8] * 4, subject=lambda number: f"s{number}")
    counts = Counter()
    for seed in range(6):
        for bins in make(faces.url, seed=seed, bins=1, tokens=200):
            counts.update(len(example.views) for bin_ in bins for example in bin_)
    assert set(counts) == {2, 3, 4, 5}
    pairs = write_sets(tmp_path / "p", "pair", [2] * 16, subject="mug")
    firsts = Counter(
        example[2].split("[[img0]] ")[1].split(" [[img1]]")[0][-1]
        for example in flat(steps_of(make(pairs.url, choices=Choices(resolution=64, text_dropout=0.0))))
    )
    assert set(firsts) == {"0", "1"}
    scenes = write_sets(tmp_path / "s", "scene", [2, 4, 9] * 3)
    frames = {len(example.views) for bins in make(scenes.url, bins=1, tokens=256) for bin_ in bins for example in bin_}
    assert frames <= {4, 6, 8, 10, 12}
    assert len(frames) > 1


def test_dropped_images_of_a_set_are_not_shown(tmp_path):
    import pyarrow as pa

    from tests.fabricated import Line, write_column

    store = write_sets(tmp_path, "identity", [4], subject="Ada")
    dropped = pa.list_(pa.struct([("image", pa.int32()), ("status", pa.string()), ("reason", pa.string())]))
    lost = [{"image": 1, "status": "filtered", "reason": "rule:x"}, {"image": 3, "status": "filtered", "reason": "y"}]
    write_column(store, "select", 0, [Line(key_of(1000), values={"dropped_images": lost})], {"dropped_images": dropped},
                 "identity")  # fmt: skip
    prompts = set()
    for seed in range(8):
        loader = make(store.url, bins=1, seed=seed, choices=Choices(resolution=64, text_dropout=0.0))
        prompts |= {example[2] for example in flat(steps_of(loader))}
    kept = ((0, 2), (2, 0))
    assert prompts == {f"[[faceid]] [[img0]] sample 0 image {a} [[img1]] sample 0 image {b}" for a, b in kept}


def test_a_collection_is_its_datasets(tmp_path):
    collection = {
        "name": "both",
        "groups": {"words": 1, "maps": 3},
        "datasets": {
            "a": {"recipe": "r", "group": "words", "tasks": ["text2image"]},
            "b": {"recipe": "r", "group": "maps", "tasks": ["depth2image", "canny2image"]},
            "later": {"recipe": "r", "group": "maps"},
        },
    }
    (tmp_path / "collection.json").write_text(json.dumps(collection))
    write_street(tmp_path / "a", 1, "a")
    write_street(tmp_path / "b", 1, "b", first=50)
    loader = make(tmp_path, tokens=256)
    plan = loader.plan()
    assert set(plan.mixture) == {"text2image", "depth2image", "canny2image"}
    # what is not built has no part: a has 1/4, b has 3/8 of what was to be 3/4
    assert plan.datasets == {"a": pytest.approx(0.4, abs=0.04), "b": pytest.approx(0.6, abs=0.04)}


# Bad input.


def test_a_task_that_nothing_serves_is_named(tmp_path):
    store = write_street(tmp_path / "bare", 1, "bare", ("image", "caption"))
    with pytest.raises(ConfigError, match=r"'depth2image'.*column 'depth'.*bare \(columns caption, image, select\)"):
        make(store.url, {"text2image": 1, "depth2image": 1})
    with pytest.raises(ConfigError, match="'multiview'.*kind scene.*'camera'"):
        make(store.url, {"multiview": 1})
    with pytest.raises(ConfigError, match="task must be one of.*depth2image"):
        make(store.url, {"depth2img": 1})


@pytest.mark.parametrize("is_cut", [True, False])
def test_a_damaged_shard_is_named_before_anything_is_read(street, tmp_path, is_cut):
    shutil.copytree(street.root, tmp_path / "broken")
    folder = tmp_path / "broken" / "columns" / "depth"
    if is_cut:
        (tar,) = folder.glob("000001-*.tar")
        os.truncate(tar, tar.stat().st_size - 512)
        rule = "depth/000001-.*tar has .* bytes, not the .*depth/000001.json.*onegen build"
    else:
        (index,) = folder.glob("000001-*.parquet")
        data = bytearray(index.read_bytes())
        data[100] ^= 1
        index.write_bytes(data)
        rule = "depth/000001-.*parquet has another SHA-256"
    with pytest.raises(ConfigError, match=rule):
        make(tmp_path / "broken")


def damage(folder: Path, numbers: list[int]) -> None:
    """Break the pictures of some samples without changing the size of a file."""
    store = open_store(str(folder))
    for number in numbers:
        shard, position = divmod(number, 8)
        manifest = Dataset(store).require_manifest("image", shard)
        row = Dataset(store).rows(manifest)[position]
        (tar,) = (folder / "columns" / "image").glob(f"{shard:06d}-*.tar")
        with tar.open("r+b") as file:
            file.seek(row.parts[0].offset)
            file.write(b"\0" * 64)


def test_bad_samples_are_counted_by_name_up_to_a_ceiling(street, tmp_path):
    for place, numbers in (("few", [2, 9]), ("many", list(range(12)))):
        shutil.copytree(street.root, tmp_path / place)
        damage(tmp_path / place, numbers)
    for workers in (0, 1):
        with make(tmp_path / "few", workers=workers, bins=1) as loader:
            shown = {example[0] for example in flat(steps_of(loader))}
            assert len(shown) == 22
            assert loader.bad == Counter({"unreadable_image": 2})
            assert {skipped.key for skipped in loader.skipped} == {key_of(2), key_of(9)}
    with make(tmp_path / "many") as loader, pytest.raises(ConfigError, match=r"11 bad ones.*street [0-9a-f]{20} \("):
        list(loader)
    with make(tmp_path / "many", max_bad=0.6) as loader:
        assert len(flat(steps_of(loader))) == 12


def test_a_step_lends_an_empty_bin_an_example():
    assert lent([[1, 2, 3], [], [4]]) == [[1, 2], [3], [4]]
    assert lent([[], [1]]) == [[], [1]]


def test_a_changed_part_is_seen_when_asked(street, tmp_path):
    shutil.copytree(street.root, tmp_path / "bits")
    dataset = Dataset(open_store(str(tmp_path / "bits")))
    (tar,) = (tmp_path / "bits" / "columns" / "depth").glob("000000-*.tar")
    row = dataset.rows(dataset.require_manifest("depth", 0))[0]
    with tar.open("r+b") as file:
        file.seek(row.parts[0].offset + row.parts[0].size - 1)
        file.write(b"\1")
    with make(tmp_path / "bits", {"depth2image": 1}, check_parts=True) as loader:
        list(loader)
        assert loader.bad == Counter({"wrong_hash": 1})


def test_another_schema_version_is_refused(street, tmp_path):
    shutil.copytree(street.root, tmp_path / "new")
    card = json.loads((tmp_path / "new" / CARD).read_text())
    (tmp_path / "new" / CARD).write_text(json.dumps({**card, "schema_version": 2}))
    with pytest.raises(ConfigError, match="schema version 1, got 2"):
        make(tmp_path / "new")
    with pytest.raises(ConfigError, match="must hold a dataset"):
        make(tmp_path / "nothing")


def test_a_state_of_another_run_is_refused(street):
    state = make(street.url).state_dict()
    with pytest.raises(ConfigError, match="tokens 128 -> 256.*'epoch': 1"):
        make(street.url, tokens=256).load_state_dict(state)
    with pytest.raises(ConfigError, match="other samples"):
        make(street.url, takedowns={key_of(0)}).load_state_dict(state)
    make(street.url, workers=1, rank=1, world=2).load_state_dict(state)


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"bins": 3, "world": 2}, "multiple of the ranks, got 3 bins for 2 ranks. Use 4"),
        ({"bins": 50}, "at most the examples of an epoch, got 50 bins for 24"),
        ({"tokens": 16}, "longest example, which has 32"),
        ({"rank": 2, "world": 2}, "rank must be from 0"),
        ({"workers": -1}, "workers must be 0 or more"),
        ({"split": "test"}, "split must be one of"),
        ({"validation": 1.0}, "share in"),
        ({"choices": Choices(resolution=60)}, "whole number of tokens of 16 pixels, got 60. Use 48"),
        ({"mixture": {"text2image": 0}}, "one above 0"),
    ],
)
def test_what_cannot_be_is_refused(street, changes, rule):
    with pytest.raises(ConfigError, match=rule):
        make(street.url, **changes).plan()


def test_datasets_in_memory_are_read_in_ranges():
    with memory_store("loader") as store:
        write_street(store.url, 1)
        with make(store.url) as loader:
            assert len(flat(steps_of(loader))) == 8
        with pytest.raises(ConfigError, match="workers must be 0"):
            make(store.url, workers=1)


def test_only_the_columns_of_the_task_are_opened(street, tmp_path):
    shutil.copytree(street.root, tmp_path / "slim")
    loader = make(tmp_path / "slim", {"depth2image": 1})
    for column in ("hed", "segmentation", "pose", "entities"):
        shutil.rmtree(tmp_path / "slim" / "columns" / column)
    assert len(flat(steps_of(loader))) == 18
    assert not loader.bad


def test_the_packed_view_alone_is_enough(street, tmp_path):
    (tmp_path / "published").mkdir()
    shutil.copytree(Path(street.root) / "shards", tmp_path / "published" / "shards")
    shutil.copy(Path(street.root) / CARD, tmp_path / "published" / CARD)
    packed, columns = (steps_of(make(place)) for place in (tmp_path / "published", street.url))
    assert packed == columns


def test_every_task_is_counted_where_all_are_served(street):
    assert set(make(street.url, seed=3, budget=Budget(256, 1)).plan().mixture) <= set(ORDER[:10])
    started = time.perf_counter()
    loader = make(street.url)
    list(loader)
    assert 0 < loader.waited <= time.perf_counter() - started
    assert loader.read == 24
