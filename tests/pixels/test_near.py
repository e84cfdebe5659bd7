"""PYTHONPATH=. python -m pytest tests/pixels/test_near.py"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onegen.pixels import near
from onegen.pixels.near import KeptHashes
from tests.properties import FEW

BASES = [0, 2**64 - 1, 0x0123456789ABCDEF, 0xF0F0F0F0F0F0F0F0]


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let few hashes pass through every part of the index: blocks, the large index, cut buckets."""
    for name, value in {"_BLOCK": 7, "_RECENT": 20, "_CANDIDATES": 5, "_LOOKUPS": 64, "_TILE": 3}.items():
        monkeypatch.setattr(near, name, value)


def reference(hashes: list[int], distance: int) -> list[int]:
    """Compare each with every one kept before it."""
    kept: list[int] = []
    first: list[int] = []
    for number, value in enumerate(hashes):
        found = next((other for other in kept if (hashes[other] ^ value).bit_count() <= distance), number)
        first.append(found)
        if found == number:
            kept.append(number)
    return first


def admit(hashes: list[int], distance: int, parts: int = 1) -> list[int]:
    kept, numbers = KeptHashes(distance), np.arange(len(hashes))
    pairs = zip(np.array_split(numbers, parts), np.array_split(np.array(hashes, np.uint64), parts), strict=True)
    return [int(first) for one, some in pairs for first in kept.admit(one, some)]


def relatives(count: int, seed: int) -> list[int]:
    """Return hashes of which most lie a few bits from one before them."""
    random = np.random.default_rng(seed)
    hashes = [int(random.integers(0, 2**64, dtype=np.uint64))]
    while len(hashes) < count:
        base = hashes[random.integers(len(hashes))] if random.random() < 0.7 else int(random.integers(0, 2**63))
        hashes.append(base ^ sum(1 << int(bit) for bit in set(random.integers(0, 64, random.integers(0, 7)))))
    return hashes


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("distance", range(9))
def test_equals_a_comparison_with_every_one_kept_before(distance):
    hashes = relatives(300, distance)
    expected = reference(hashes, distance)
    assert admit(hashes, distance) == expected
    assert admit(hashes, distance, parts=11) == expected
    assert len(set(expected)) < len(hashes)


@FEW
@given(
    st.lists(
        st.builds(
            lambda base, flips: base ^ sum(1 << bit for bit in set(flips)),
            st.sampled_from(BASES),
            st.lists(st.integers(0, 63), max_size=10),
        ),
        max_size=60,
    ),
    st.integers(0, 8),
)
def test_equals_it_wherever_the_bits_lie(hashes, distance):
    assert admit(hashes, distance) == reference(hashes, distance)


@pytest.mark.parametrize("distance", [0, 4, 8])
def test_thousands_in_the_sizes_that_are_used_equal_it(distance):
    hashes = relatives(2 * near._BLOCK + 100, 7)[: 2 * near._BLOCK + 100]
    found = np.array(admit(hashes, distance))
    values = np.array(hashes, np.uint64)
    kept = np.flatnonzero(found == np.arange(len(found)))
    for number in range(0, len(hashes), 61):
        before = kept[kept < number]
        within = before[np.bitwise_count(values[before] ^ values[number]) <= distance]
        assert found[number] == (within[0] if len(within) else number)


@pytest.mark.parametrize(("count", "distance"), [(1, 0), (1, 8), (1000, 4), (1000, 8), (10**6, 4), (10**8, 8)])
def test_no_two_hashes_within_the_distance_miss_each_other_in_every_band(count, distance):
    bands = near._cut(count, distance)
    assert all(bits <= near._WIDEST for _, bits, _ in bands)
    widths = np.array([bits for _, bits, _ in bands])
    random = np.random.default_rng(1)
    for _ in range(500):
        differing = random.choice(64, distance, replace=False)
        found = [((differing >= low) & (differing < low + bits)).sum() <= radius for low, bits, radius in bands]
        assert any(found)
    assert widths.sum() <= 64


def test_ordinals_need_not_follow_one_another():
    kept = KeptHashes(1)
    first = kept.admit(np.array([3, 9, 20]), np.array([0, 6, 1], np.uint64))
    assert first.tolist() == [3, 9, 3]
    assert kept.admit(np.array([31]), np.array([7], np.uint64)).tolist() == [9]


def test_hashes_that_share_most_bits_are_held_in_few_candidates():
    # All in few buckets of most bands: memory and time would be those of all pairs.
    random = np.random.default_rng(2)
    hashes = random.integers(0, 2**64, 20_000, dtype=np.uint64) & np.uint64(0x000000FFFFFF0000)
    ordinals = np.arange(len(hashes))
    found = KeptHashes(2).admit(ordinals, hashes)
    kept = hashes[found == ordinals]
    sample = random.choice(len(kept), 40, replace=False)
    distances = np.bitwise_count(kept[sample, None] ^ kept)
    assert (np.count_nonzero(distances <= 2, axis=1) == 1).all()
