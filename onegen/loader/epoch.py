"""Everything that is decided of an epoch before a picture is read: its examples in order, their sizes, its bins."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from onegen.loader import buckets
from onegen.loader.bins import ATTENTION_TOKENS, cut, dealt, most_work, whole_steps, work_of
from onegen.loader.choices import Choices, may_lose_condition
from onegen.loader.draw import Draw, drawn_images
from onegen.loader.inventory import Inventory
from onegen.loader.mixture import Mixture, fitted
from onegen.loader.needs import NEEDS, ORDER
from onegen.loader.order import Visits, visits
from onegen.loader.seeds import below, mixed, named, uniform
from onegen.tasks.table import TASKS

_PASS = np.uint64(0xD1342543DE82EF95)
"""Odd, so that no two passes over a key draw alike."""


@dataclass(frozen=True, slots=True)
class Budget:
    """What a step holds: `bins` bins over all ranks, each of at most `tokens` tokens.

    `work` is the most work of a bin, in tokens whose attention costs nothing; None: that of an average full bin.
    `attention_tokens` is the length at which attention costs a network as much as all else.
    """

    tokens: int
    bins: int
    work: float | None = None
    attention_tokens: int = ATTENTION_TOKENS


@dataclass(frozen=True)
class Drawn:
    """The examples of an epoch in order, an entry each.

    `sample` is the number in the inventory, `task` in the task table, `target` the image shown first, `pictures` how
    many are shown, `sizes` (height, width) of all views, `tokens` their number over all views, `seeds` of 63 bits.
    """

    sample: np.ndarray
    task: np.ndarray
    target: np.ndarray
    pictures: np.ndarray
    is_alone: np.ndarray
    sizes: np.ndarray
    tokens: np.ndarray
    seeds: np.ndarray

    def __len__(self) -> int:
        return len(self.sample)


def draw_epoch(inventory: Inventory, mixture: Mixture, choices: Choices, seed: int, epoch: int) -> Drawn:
    """Return the examples of an epoch, a pure function of what is given."""
    return draw_visits(inventory, visits(inventory, seed, epoch), mixture, choices, seed)


def draw_visits(inventory: Inventory, walk: Visits, mixture: Mixture, choices: Choices, seed: int) -> Drawn:
    """Return the examples of visits, each a function of the seed, the sample's key and the pass alone."""
    numbers = mixed(mixed(inventory.keys[walk.samples], seed) + walk.passes.astype(np.uint64) * _PASS)
    numbers = mixed(numbers, named("visit"))
    task = _tasks(inventory.tasks[walk.samples], numbers, mixture)
    num_images = inventory.num_images[walk.samples]
    target, pictures, is_alone = _images(task, num_images, numbers, choices)
    bucket = buckets.nearest(inventory.sizes[inventory.first[walk.samples] + target])
    sizes = _sizes(task, pictures, bucket, choices)
    views = pictures * np.where(_are("multiview", task), 2, 1) + (~is_alone & _is_drawn(task))
    tokens = views * (sizes[:, 0] // choices.token).astype(np.int64) * (sizes[:, 1] // choices.token)
    return Drawn(walk.samples, task, target, pictures, is_alone, sizes, tokens, numbers >> np.uint64(1))


def _tasks(masks: np.ndarray, numbers: np.ndarray, mixture: Mixture) -> np.ndarray:
    """Return the task of each visit, int8."""
    kinds, kind, counts = np.unique(masks & np.uint32(mixture.bits), return_inverse=True, return_counts=True)
    chances = fitted(kinds, counts.astype(np.float64), mixture)
    chosen = uniform(numbers, named("task"))
    task = np.zeros(len(masks), np.int8)
    for number, row in enumerate(chances):
        possible = np.flatnonzero(row)
        ends = np.cumsum(row[possible])
        own = kind == number
        place = np.searchsorted(ends, chosen[own] * ends[-1], side="right")
        task[own] = possible[np.minimum(place, len(possible) - 1)]
    return task


def _images(
    task: np.ndarray, num_images: np.ndarray, numbers: np.ndarray, choices: Choices
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return of each visit the image shown first, how many are shown, and whether its condition is dropped."""
    target = np.zeros(len(task), np.int64)
    pictures = np.ones(len(task), np.int64)
    can_lose = np.array([may_lose_condition(name) for name in ORDER])[task]
    is_alone = can_lose & (uniform(numbers, named("condition")) < choices.condition_dropout)
    for name, needs in NEEDS.items():
        own = _are(name, task)
        if needs.most == 1 or not own.any():
            continue
        most = np.minimum(needs.most, num_images[own])
        pictures[own] = 2 + below(numbers[own], most - 1, named("pictures"))
        if name != "image_editing":
            # subject pairs are shown both ways round, and any image of a person or place may be the one to generate
            of = np.full(len(most), 2) if needs.kind == "pair" else num_images[own]
            target[own] = below(numbers[own], of, named("target"))
    pictures[is_alone] = 1
    return target, pictures, is_alone


def _sizes(task: np.ndarray, pictures: np.ndarray, bucket: np.ndarray, choices: Choices) -> np.ndarray:
    """Return the (height, width) of every visit's views, int32 (n,2); scenes are square."""
    square = int(np.flatnonzero(buckets.ratios() == 1.0)[0])
    bucket = np.where(_are("multiview", task), square, bucket)
    sizes = np.zeros((len(task), 2), np.int32)
    for number, name in enumerate(ORDER):
        for is_crowded in (False, True):
            own = (task == number) & ((pictures > 3) == is_crowded)
            if own.any():
                table = buckets.sides(choices.base(name, 4 if is_crowded else 1), choices.token)
                sizes[own] = table[bucket[own]]
    return sizes


def _are(name: str, task: np.ndarray) -> np.ndarray:
    return np.asarray(task == ORDER.index(name))


def _is_drawn(task: np.ndarray) -> np.ndarray:
    """Return which tasks have a view that is drawn from the picture, or stored beside it."""
    drawn = [len(TASKS[name].views) == 2 and NEEDS[name].most == 1 for name in ORDER]
    return np.array(drawn)[task]


class EpochPlan:
    """The steps of an epoch. `bins` are all of them in order, `budget.bins` a step, each the places of its examples."""

    def __init__(self, inventory: Inventory, drawn: Drawn, budget: Budget) -> None:
        self.inventory, self.drawn, self.budget = inventory, drawn, budget
        self.work = work_of(drawn.tokens, budget.attention_tokens)
        limit = budget.work or most_work(drawn.tokens, budget.tokens, budget.attention_tokens)
        self.bins = whole_steps(cut(drawn.tokens, budget.tokens, self.work, limit), budget.bins, self.work)

    @property
    def steps(self) -> int:
        """The number of steps of the epoch."""
        return len(self.bins) // self.budget.bins

    def step(self, number: int, rank: int, world: int) -> list[np.ndarray]:
        """Return the bins of one step that a rank gets, each the places of its examples."""
        bins = self.bins[number * self.budget.bins : (number + 1) * self.budget.bins]
        return [bins[index] for index in dealt(self.costs(number), world)[rank]]

    def costs(self, number: int) -> list[float]:
        """Return the work of the bins of a step."""
        bins = self.bins[number * self.budget.bins : (number + 1) * self.budget.bins]
        return [float(self.work[bin_].sum()) for bin_ in bins]

    def draws(self, places: Sequence[int] | np.ndarray) -> list[Draw]:
        """Return what is to be read and made for a bin."""
        return [draw_of(self.inventory, self.drawn, int(place)) for place in places]


def draw_of(inventory: Inventory, drawn: Drawn, place: int) -> Draw:
    """Return what is to be read and made for one example."""
    sample = int(drawn.sample[place])
    task, seed = ORDER[drawn.task[place]], int(drawn.seeds[place])
    images = inventory.images[inventory.first[sample] : inventory.first[sample + 1]].tolist()
    target, pictures = int(drawn.target[place]), int(drawn.pictures[place])
    return Draw(
        int(inventory.set_of[sample]),
        int(inventory.shard[sample]),
        int(inventory.position[sample]),
        int(inventory.keys[sample]),
        task,
        tuple(images[index] for index in drawn_images(task, target, pictures, len(images), seed)),
        (int(drawn.sizes[place, 0]), int(drawn.sizes[place, 1])),
        seed,
        bool(drawn.is_alone[place]),
    )
