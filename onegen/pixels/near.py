"""Near duplicates among 64-bit perceptual hashes: of hashes that come in order, the first of each likeness is kept.

`select` drops what repeats a kept picture, `audit` shows it beside the kept one: both ask this. Only a kept hash pushes
others out, so that the answer is one number a hash, however many lie together, and memory is that of the kept ones.

The index is that of Norouzi, Punjani & Fleet (2012), "Fast search in Hamming space with multi-index hashing": hashes at
most d bits apart differ by few bits in one band of several, and what lies in the buckets so near is compared whole.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np

HASH_BITS = 64
_BLOCK = 4096
"""Hashes looked up at once; what is new among them is compared with all of them."""
_RECENT = 16 * _BLOCK
"""Kept hashes that wait at least before they go into the large index, which is costly to make."""
_CANDIDATES = 1 << 16
"""Comparisons held in memory at a time: a bucket may hold any number."""
_LOOKUPS = 1 << 16
"""Buckets looked into at a time; more leave the processor's cache."""
_TILE = 16
"""Hashes of a block compared with the whole of it at a time."""
_WIDEST = 24
"""Bits of a band at most: the table of its buckets has 4 bytes for each."""
_SPREAD = 27
"""The bits of a hash are taken in this stride, odd, for its bands: neighbours of a picture's spectrum go together."""


class KeptHashes:
    """The hashes kept so far, of which none is within `distance` bits, 0 to 8, of another.

    Holds about 40 bytes for each of them, and no more than 100 MB beside.
    """

    def __init__(self, distance: int) -> None:
        self._distance = distance
        self._large, self._small = _Index.of(_NONE, _NONE, distance), _Index.of(_NONE, _NONE, distance)

    def admit(self, ordinals: np.ndarray, hashes: np.ndarray) -> np.ndarray:
        """Return, (N,) int64, the ordinal of the first kept hash within the distance of each; its own for one kept now.

        `ordinals`, (N,) int64, rise, also from call to call; `hashes` are (N,) uint64. Many at once are faster.
        """
        kept = np.empty(len(hashes), np.int64)
        for start in range(0, len(hashes), _BLOCK):
            block = slice(start, start + _BLOCK)
            kept[block] = self._admit(ordinals[block].astype(np.int64), _spread(hashes[block].astype(np.uint64)))
        return kept

    def _admit(self, ordinals: np.ndarray, hashes: np.ndarray) -> np.ndarray:
        # What stands in the large index came before what stands in the small one.
        first = self._large.first(hashes)
        left = np.flatnonzero(first == _NOBODY)
        first[left] = self._small.first(hashes[left])
        left = left[first[left] == _NOBODY]
        first[left] = _greedy(ordinals[left], hashes[left], self._distance)
        new = first == ordinals
        self._keep(ordinals[new], hashes[new])
        return first

    def _keep(self, ordinals: np.ndarray, hashes: np.ndarray) -> None:
        small, large = self._small, self._large
        ordinals = np.concatenate([small.ordinals, ordinals])
        hashes = np.concatenate([small.hashes, hashes])
        if len(hashes) > max(_RECENT, len(large.hashes) // 8):
            ordinals, hashes = np.concatenate([large.ordinals, ordinals]), np.concatenate([large.hashes, hashes])
            self._large = _Index.of(ordinals, hashes, self._distance)
            ordinals = hashes = _NONE
        self._small = _Index.of(ordinals, hashes, self._distance)


_NONE = np.empty(0, np.int64)
_NOBODY = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True)
class _Band:
    """Some bits of hashes, and the hashes in the order of these bits: those of bucket b from start[b] to start[b + 1].

    `masks` are the differences that are looked for, those of at most `radius` bits; `places` says which hash each is.
    """

    low: int
    bits: int
    masks: np.ndarray
    start: np.ndarray
    is_filled: np.ndarray
    hashes: np.ndarray
    places: np.ndarray

    @classmethod
    def of(cls, hashes: np.ndarray, low: int, bits: int, radius: int) -> "_Band":
        buckets = _bits(hashes, low, bits)
        start = np.zeros((1 << bits) + 1, np.int32)
        np.cumsum(np.bincount(buckets, minlength=1 << bits), out=start[1:])
        places = np.argsort(buckets).astype(np.int32)
        return cls(low, bits, _masks(bits, radius), start, np.diff(start) > 0, hashes[places], places)

    def near(self, hashes: np.ndarray, distance: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield pairs within the distance: which of these, which of the index. Some pairs have no bucket so near."""
        rows = max(1, _LOOKUPS // len(self.masks))
        for first in range(0, len(hashes), rows):
            some = hashes[first : first + rows]
            buckets = (_bits(some, self.low, self.bits)[:, None] ^ self.masks).ravel()
            filled = np.flatnonzero(self.is_filled.take(buckets))
            buckets, which = buckets[filled], filled // len(self.masks)
            starts, ends = self.start[buckets], self.start[buckets + 1]
            for pairs, found in _near(self.hashes, starts, ends - starts, some[which], distance):
                yield first + which[pairs], self.places[found]


def _near(
    hashes: np.ndarray, starts: np.ndarray, counts: np.ndarray, wanted: np.ndarray, distance: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield pairs, (which bucket, which hash of it), of the hashes within the distance of the one wanted there.

    Bucket i holds `counts[i]` hashes from `starts[i]`. So many are compared at a time that no bucket fills the memory.
    """
    ends = np.cumsum(counts, dtype=np.int64)
    total = int(ends[-1]) if len(ends) else 0
    for low in range(0, total, _CANDIDATES):
        high = min(low + _CANDIDATES, total)
        buckets = slice(int(np.searchsorted(ends, low, "right")), int(np.searchsorted(ends, high, "left")) + 1)
        before = ends[buckets] - counts[buckets]
        shares = np.minimum(ends[buckets], high) - np.maximum(before, low)
        places = np.arange(low, high) + np.repeat(starts[buckets] - before, shares)
        is_near = np.bitwise_count(hashes[places] ^ np.repeat(wanted[buckets], shares)) <= distance
        if is_near.any():
            which = buckets.start + np.searchsorted(np.cumsum(shares), np.flatnonzero(is_near), "right")
            yield which, places[is_near]


@dataclass(frozen=True, slots=True)
class _Index:
    """Kept hashes, in the order of their ordinals, and the bands under which they are found."""

    ordinals: np.ndarray
    hashes: np.ndarray
    distance: int
    bands: tuple[_Band, ...]

    @classmethod
    def of(cls, ordinals: np.ndarray, hashes: np.ndarray, distance: int) -> "_Index":
        hashes = hashes.astype(np.uint64)
        bands = tuple(_Band.of(hashes, *band) for band in _cut(len(hashes), distance)) if len(hashes) else ()
        return cls(ordinals, hashes, distance, bands)

    def first(self, hashes: np.ndarray) -> np.ndarray:
        """Return the ordinal of the first of the index within the distance of each hash; _NOBODY without one."""
        first = np.full(len(hashes), len(self.hashes), np.int64)
        for band in self.bands:
            for rows, found in band.near(hashes, self.distance):
                np.minimum.at(first, rows, found)
        return np.append(self.ordinals, _NOBODY)[first]


def _cut(count: int, distance: int) -> list[tuple[int, int, int]]:
    """Return bands for so many hashes: lowest bit, bits, and the difference within which to look.

    Bands as wide as the count, so that a bucket holds about one. Of hashes d = m r + a bits apart, one of the first
    a + 1 bands differs by at most r bits, or one of the others by fewer.
    """
    num_bands = max(HASH_BITS // max(4, count.bit_length() - 1), -(-HASH_BITS // _WIDEST))
    radius, rest = divmod(distance, num_bands)
    edges = [HASH_BITS * band // num_bands for band in range(num_bands + 1)]
    bands = [
        (low, high - low, radius if band <= rest else radius - 1)
        for band, (low, high) in enumerate(itertools.pairwise(edges))
    ]
    return [band for band in bands if band[2] >= 0]


@cache
def _masks(bits: int, radius: int) -> np.ndarray:
    """Return all numbers of so many bits of which at most `radius` are set."""
    sets = (
        sum(1 << bit for bit in chosen)
        for count in range(radius + 1)
        for chosen in itertools.combinations(range(bits), count)
    )
    return np.array(list(sets), np.intp)


def _bits(hashes: np.ndarray, low: int, bits: int) -> np.ndarray:
    return ((hashes >> np.uint64(low)) & np.uint64((1 << bits) - 1)).astype(np.intp)


def _spread(hashes: np.ndarray) -> np.ndarray:
    """Return hashes with their bits in another order, which leaves every distance as it is."""
    spread = np.zeros_like(hashes)
    for bit in range(HASH_BITS):
        spread |= ((hashes >> np.uint64(bit * _SPREAD % HASH_BITS)) & np.uint64(1)) << np.uint64(bit)
    return spread


def _greedy(ordinals: np.ndarray, hashes: np.ndarray, distance: int) -> np.ndarray:
    """Return the ordinal of the first that stays within the distance of each; its own for one that stays."""
    first = ordinals.copy()
    is_open = np.ones(len(hashes), bool)
    for start in range(0, len(hashes), _TILE):
        tile = np.bitwise_count(hashes[start : start + _TILE, None] ^ hashes[start:]) <= distance
        for row in np.flatnonzero(np.count_nonzero(tile, axis=1) > 1):
            if is_open[start + row]:
                near = start + row + 1 + np.flatnonzero(tile[row, row + 1 :] & is_open[start + row + 1 :])
                first[near] = ordinals[start + row]
                is_open[near] = False
    return first
