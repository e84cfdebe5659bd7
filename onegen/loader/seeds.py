"""Chance without state: numbers that are pure functions of keys, so that no order and no worker changes a draw.

SplitMix64's finaliser (Steele, Lea and Flood, 2014) over 64-bit keys, vectorised.
"""

import hashlib

import numpy as np

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15


def mixed(keys: np.ndarray, *salts: int) -> np.ndarray:
    """Return uint64 numbers drawn from keys (n,) uint64 and any further numbers, which change all of them."""
    state = np.asarray(keys, np.uint64)
    for salt in salts:
        state = _finalised(state ^ np.uint64(scrambled(salt)))
    return state


def _finalised(state: np.ndarray) -> np.ndarray:
    state = state + np.uint64(_GOLDEN)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


def scrambled(number: int) -> int:
    """Return a number of 64 bits that looks like no other's: neighbouring seeds must not draw alike."""
    return int.from_bytes(hashlib.blake2b(str(number).encode(), digest_size=8).digest(), "big") & _MASK


def named(text: str) -> int:
    """Return the number of 64 bits that stands for a name."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def uniform(keys: np.ndarray, *salts: int) -> np.ndarray:
    """Return float64 in [0, 1), a number a key."""
    return (mixed(keys, *salts) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def below(keys: np.ndarray, limits: np.ndarray, *salts: int) -> np.ndarray:
    """Return int64 in [0, limit), a number a key; limits are far below 2^53."""
    return np.minimum((uniform(keys, *salts) * limits).astype(np.int64), np.asarray(limits, np.int64) - 1)


def part_seed(seed: int, name: str) -> int:
    """Return the seed (63 bits) with which a part of an example is drawn, another for every name."""
    return (seed ^ named(name)) & ((1 << 63) - 1)
