"""Cutting, mixing and ordering, as pure functions. PYTHONPATH=. python -m pytest tests/loader/test_bins.py"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onegen.errors import ConfigError
from onegen.loader import buckets
from onegen.loader.bins import cut, dealt, most_work, whole_steps, work_of
from onegen.loader.mixture import Mixture, fitted, of_paper
from onegen.loader.needs import ORDER
from onegen.loader.seeds import below, mixed, uniform
from onegen.pixels.sizes import BASES, bucket_table, nearest_bucket

LENGTHS = st.lists(st.integers(1, 100), min_size=8, max_size=300)


@settings(deadline=None, max_examples=60)
@given(LENGTHS, st.integers(100, 400), st.integers(1, 4))
def test_every_example_is_in_one_bin_within_its_limits(lengths, limit, per_step):
    tokens = np.array(lengths)
    work = work_of(tokens, 50)
    most = most_work(tokens, limit, 50)
    bins = whole_steps(cut(tokens, limit, work, most), per_step, work)
    assert sorted(np.concatenate(bins).tolist()) == list(range(len(lengths)))
    assert len(bins) % per_step == 0
    assert sum(len(bin_) == 0 for bin_ in bins) <= max(0, len(bins) - len(lengths))
    for bin_ in bins:
        assert tokens[bin_].sum() <= limit
        assert work[bin_].sum() <= most * (1 + 1e-9) or len(bin_) == 1


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=8), st.integers(1, 4))
def test_ranks_get_as_many_bins_each(costs, world):
    costs = costs * world
    ranks = dealt(costs, world)
    assert {len(own) for own in ranks} == {len(costs) // world}
    assert sorted(index for own in ranks for index in own) == list(range(len(costs)))


def test_the_mixture_of_the_paper_fills_bins_and_keeps_ranks_busy():
    # section 5.6 of the field notes: equal parts of 1, 2, 2-5 and 4-12 views of 1,024 tokens, 8 ranks of 32k tokens
    rng = np.random.default_rng(0)
    views = np.stack([np.ones(5000), np.full(5000, 2), rng.integers(2, 6, 5000), 2 * rng.integers(2, 7, 5000)])
    tokens = rng.permutation(views.ravel().astype(np.int64) * 1024)
    work = work_of(tokens)
    bins = whole_steps(cut(tokens, 32_768, work, most_work(tokens, 32_768)), 8, work)
    costs = np.array([work[bin_].sum() for bin_ in bins]).reshape(-1, 8)
    assert costs.mean(axis=1).sum() / costs.max(axis=1).sum() > 0.9
    assert tokens.sum() / (len(bins) * 32_768) > 0.85


def test_an_example_longer_than_a_bin_is_refused():
    with pytest.raises(ConfigError, match="longest example, which has 12"):
        cut(np.array([3, 12]), 10, np.array([3.0, 12.0]), 10.0)


@pytest.mark.parametrize("base", BASES)
def test_buckets_are_those_of_the_table(base):
    assert {tuple(sides) for sides in buckets.sides(base, 16).tolist()} == set(bucket_table(base).values())
    rng = np.random.default_rng(0)
    sizes = rng.integers(16, 3000, (500, 2))
    ours = buckets.sides(base, 16)[buckets.nearest(sizes)]
    assert ours.tolist() == [list(nearest_bucket(height, width, base)) for height, width in sizes.tolist()]


def test_small_bases_hold_whole_tokens():
    for base, token in ((32, 4), (64, 8), (96, 16)):
        table = buckets.sides(base, token)
        assert (table % token == 0).all()
        assert (table > 0).all()
        assert [base, base] in table.tolist()


def test_scarce_tasks_are_drawn_from_those_that_have_them():
    bits = {name: 1 << ORDER.index(name) for name in ("text2image", "depth2image", "pose2image")}
    masks = np.array([bits["text2image"], bits["text2image"] | bits["depth2image"], sum(bits.values())], np.uint32)
    counts = np.array([500.0, 300.0, 200.0])
    weights = {"text2image": 0.6, "depth2image": 0.25, "pose2image": 0.15}
    totals = (fitted(masks, counts, Mixture(weights)) * counts[:, np.newaxis]).sum(axis=0) / 1000
    for name, weight in weights.items():
        assert totals[ORDER.index(name)] == pytest.approx(weight, abs=1e-6)
    # what cannot be met is met as nearly as may be, and every sample keeps its visit
    chances = fitted(masks, counts, Mixture({"text2image": 0.1, "pose2image": 0.9}))
    assert np.allclose(chances.sum(axis=1), 1.0)
    assert chances[2, ORDER.index("pose2image")] > 0.99
    alike = fitted(masks, counts, Mixture())
    assert alike[1].tolist().count(0.5) == 2


def test_super_categories_have_equal_budgets():
    weights = of_paper(["text2image", "depth2image", "hed2img", "faceid"]).tasks
    assert weights["text2image"] == weights["faceid"] == pytest.approx(1 / 3)
    assert weights["depth2image"] == weights["hed2img"] == pytest.approx(1 / 6)


def test_chance_is_even_and_of_its_own():
    keys = np.arange(20_000, dtype=np.uint64)
    numbers = uniform(keys, 1)
    assert abs(numbers.mean() - 0.5) < 0.01
    assert abs(np.corrcoef(numbers, uniform(keys, 2))[0, 1]) < 0.03
    assert abs(np.corrcoef(numbers[1:], numbers[:-1])[0, 1]) < 0.03
    assert len(np.unique(mixed(keys, 1))) == len(keys)
    counts = np.bincount(below(keys, np.full(len(keys), 5), 3), minlength=5)
    assert ((counts - 4000) ** 2 / 4000).sum() < 18.5
