"""The order of visits in an epoch: a pure function of (seed, epoch), whatever the ranks and workers.

A dataset is walked in passes, each of which visits every sample once. Without a share an epoch is one pass; with one it
is as many visits as its part of the epoch, and the next epoch goes on where it stopped. A pass shuffles the shards, and
the samples among `WINDOW` neighbouring ones of them, so that few indexes are open at a time; the visits of all datasets
are spread evenly over the epoch.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from onegen.loader.inventory import Inventory
from onegen.loader.seeds import named, scrambled

WINDOW = 64


class Visits(NamedTuple):
    """The visits of an epoch in order: the sample of each, and the pass over its dataset that it belongs to."""

    samples: np.ndarray
    passes: np.ndarray


def visits(inventory: Inventory, seed: int, epoch: int) -> Visits:
    """Return the visits of an epoch."""
    members = [np.flatnonzero(inventory.set_of == number) for number in range(len(inventory.sets))]
    lengths = visits_by_set(inventory)
    samples, passes, places = [], [], []
    for number, (own, length) in enumerate(zip(members, lengths, strict=True)):
        rng = np.random.default_rng([scrambled(seed), epoch, named(inventory.sets[number].name)])
        of_set = _walk(inventory, number, own, seed, epoch * length, length)
        samples.append(of_set.samples)
        passes.append(of_set.passes)
        places.append((np.arange(length) + rng.random(length)) / max(1, length))
    order = np.argsort(np.concatenate(places), kind="stable")
    return Visits(np.concatenate(samples)[order], np.concatenate(passes)[order])


def visits_by_set(inventory: Inventory) -> list[int]:
    """Return how many visits each dataset has in an epoch.

    An epoch is as many visits as there are samples. Datasets without a share have one a sample, and what is left goes
    to the others by their shares.
    """
    sizes = [int((inventory.set_of == number).sum()) for number in range(len(inventory.sets))]
    shares = [opened.spec.share for opened in inventory.sets]
    given = [share if size else 0.0 for share, size in zip(shares, sizes, strict=True) if share is not None]
    left = sum(size for share, size in zip(shares, sizes, strict=True) if share is not None)
    whole = sum(given)
    return [
        size if share is None else (round(left * share / whole) if size else 0)
        for share, size in zip(shares, sizes, strict=True)
    ]


def _walk(inventory: Inventory, number: int, own: np.ndarray, seed: int, start: int, length: int) -> Visits:
    """Return `length` visits of a dataset from visit `start` on, counted over all epochs."""
    if not length:
        return Visits(own[:0], np.zeros(0, np.int64))
    pieces: list[np.ndarray] = []
    passes: list[np.ndarray] = []
    end = start + length
    for number_of_pass in range(start // len(own), (end - 1) // len(own) + 1):
        first = number_of_pass * len(own)
        order = _shuffled(inventory.shard[own], [scrambled(seed), number_of_pass, named(inventory.sets[number].name)])
        piece = own[order[max(0, start - first) : max(0, end - first)]]
        pieces.append(piece)
        passes.append(np.full(len(piece), number_of_pass, np.int64))
    return Visits(np.concatenate(pieces), np.concatenate(passes))


def _shuffled(shards: np.ndarray, seed: Sequence[int]) -> np.ndarray:
    """Return an order of samples, given the shard of each: shards shuffled, and samples within windows of them."""
    rng = np.random.default_rng(list(seed))
    different, place = np.unique(shards, return_inverse=True)
    window = rng.permutation(len(different))[place] // WINDOW
    return np.lexsort((rng.random(len(shards)), window))
