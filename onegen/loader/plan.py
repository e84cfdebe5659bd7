"""What an epoch will hold, before it is read: samples and tokens by bucket, bins, balance, the realised mixture."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from onegen.loader.bins import dealt
from onegen.loader.epoch import EpochPlan
from onegen.loader.mixture import Mixture
from onegen.loader.needs import ORDER


@dataclass(frozen=True, slots=True)
class Bucket:
    """The examples of one size: how many, and their tokens."""

    height: int
    width: int
    samples: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What an epoch will hold.

    `examples` of which `dropped` go into no bin (0, or the loader is wrong); `unused` are samples that no task of the
    mixture takes. `fill` is the share of tokens a bin holds of those it may; `balance` the mean over the slowest rank's
    work in a step. `mixture` and `datasets` are shares of the examples, `wanted` those of tasks that were asked for.
    """

    buckets: tuple[Bucket, ...]
    examples: int
    dropped: int
    unused: int
    tokens: int
    steps: int
    bins: int
    fill: float
    balance: float
    mixture: Mapping[str, float]
    wanted: Mapping[str, float]
    datasets: Mapping[str, float]

    def lines(self) -> list[str]:
        """Return the plan for people, a line each."""
        lines = [
            f"{self.examples:,} examples an epoch in {self.steps:,} steps of {self.bins} bins, {self.tokens:,} tokens; "
            f"{self.dropped:,} dropped, {self.unused:,} samples serve no task",
            f"bins are filled to {self.fill:.1%}; ranks are busy for {self.balance:.1%} of a step",
        ]
        for name, share in self.mixture.items():
            asked = f", asked for {self.wanted[name]:.2%}" if name in self.wanted else ""
            lines.append(f"task {name}: {share:.2%}{asked}")
        lines += [f"dataset {name}: {share:.2%}" for name, share in self.datasets.items()]
        lines += [f"bucket {b.width}x{b.height}: {b.samples:,} examples, {b.tokens:,} tokens" for b in self.buckets]
        return lines

    def __str__(self) -> str:
        return "\n".join(self.lines())


def describe(plan: EpochPlan, mixture: Mixture, unused: int, world: int) -> Plan:
    """Return what an epoch holds; `world` is the number of ranks whose balance is told."""
    drawn, budget = plan.drawn, plan.budget
    held = sum(len(bin_) for bin_ in plan.bins)
    tokens = int(drawn.tokens.sum())
    count = max(1, len(drawn))
    tasks = np.bincount(drawn.task, minlength=len(ORDER))
    whole = sum(mixture.tasks.values())
    sets = np.bincount(plan.inventory.set_of[drawn.sample], minlength=len(plan.inventory.sets))
    return Plan(
        _buckets(plan),
        len(drawn),
        len(drawn) - held,
        unused,
        tokens,
        plan.steps,
        budget.bins,
        tokens / max(1, len(plan.bins) * budget.tokens),
        _balance(plan, world),
        {name: float(tasks[number] / count) for number, name in enumerate(ORDER) if tasks[number]},
        {name: weight / whole for name, weight in mixture.tasks.items() if weight > 0},
        {opened.name: float(number / count) for opened, number in zip(plan.inventory.sets, sets, strict=True)},
    )


def _buckets(plan: EpochPlan) -> tuple[Bucket, ...]:
    sizes, place, counts = np.unique(plan.drawn.sizes, axis=0, return_inverse=True, return_counts=True)
    tokens = np.bincount(place.ravel(), plan.drawn.tokens, minlength=len(sizes))
    return tuple(
        Bucket(int(height), int(width), int(count), int(total))
        for (height, width), count, total in zip(sizes, counts, tokens, strict=True)
    )


def _balance(plan: EpochPlan, world: int) -> float:
    """Return the mean work of the ranks over that of the slowest, summed over all steps."""
    mean = slowest = 0.0
    for number in range(plan.steps):
        costs = plan.costs(number)
        ranks = [sum(costs[index] for index in own) for own in dealt(costs, world)]
        mean += sum(ranks) / world
        slowest += max(ranks)
    return mean / slowest if slowest else 1.0
