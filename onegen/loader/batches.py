"""The loader: what a trainer takes of a dataset or a collection, step by step, and can take up again at any step.

    loader = Loader(["out"], tokens=8192)
    for bins in loader:                    # one optimiser step
        for bin_ in bins:                  # what a network sees at once
            for example in bin_:           # views, prompt, task

The order is a pure function of (seed, epoch); ranks share out the bins of a step, and worker processes read ahead.
docs/training.md.
"""

import time
from collections import Counter
from collections.abc import Collection as Keys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Literal

import numpy as np

from onegen.errors import ConfigError
from onegen.loader.choices import Choices
from onegen.loader.draw import Draw
from onegen.loader.epoch import Budget, EpochPlan, draw_epoch
from onegen.loader.example import Example
from onegen.loader.inventory import Inventory, Wanted, require_tasks, served_tasks, take_inventory
from onegen.loader.making import Maker, Place, Skipped
from onegen.loader.mixture import Mixture, of_paper
from onegen.loader.plan import Plan, describe
from onegen.loader.scan import Packed
from onegen.loader.sets import Datasets, training_sets
from onegen.loader.worker import Pool

KEPT = 100
"""Skipped samples that are remembered by name; all are counted."""
PARDONED = 10
"""Bad samples that never end a run, however few were read."""


class Loader:
    """Examples of datasets, in steps of `bins` bins of at most `tokens` tokens, an epoch an iteration.

    `datasets` are paths, URLs, stores or `TrainingSet`s, or a mapping of them to their shares; the folder of a
    collection stands for its datasets. `mixture` weighs the tasks; `paper` its three super-categories alike. `bins` are
    those of all ranks in a step, a multiple of `world`; one is empty only where no example is left for it: each of its
    own was bad, or the epoch ends in bins of a single one. `workers` processes read ahead; 0: this one reads.
    `takedowns` are keys to leave out. More bad samples than `max_bad` of those read end the run. Close it when done, or
    use it as a context manager.
    Raises ConfigError for datasets that cannot serve the mixture.
    """

    def __init__(
        self,
        datasets: Datasets,
        mixture: Mixture | Mapping[str, float] | Literal["paper"] | None = None,
        seed: int = 0,
        *,
        tokens: int = 16_384,
        bins: int = 8,
        rank: int = 0,
        world: int = 1,
        workers: int = 0,
        split: str = "train",
        choices: Choices | None = None,
        validation: float = 0.01,
        takedowns: Keys[str] = frozenset(),
        check_parts: bool = False,
        max_bad: float = 0.01,
        budget: Budget | None = None,
    ) -> None:
        self._budget, choices = budget or Budget(tokens, bins), choices or Choices()
        _check(self._budget, rank, world, workers)
        self._rank, self._world, self._num_workers = rank, world, workers
        self._seed, self._choices, self._max_bad = seed, choices, max_bad
        self._mixture = _mixture_of(mixture)
        wanted = Wanted(split, validation, frozenset(takedowns), choices.captions, self._mixture.bits)
        self._inventory, self._unused = take_inventory(training_sets(datasets), wanted)
        if mixture == "paper":
            self._mixture = of_paper(served_tasks(self._inventory))
        require_tasks(self._inventory, self._mixture.named)
        if not len(self._inventory):
            raise ConfigError(f"datasets must have samples of split {split!r} that serve a task, got none.")
        self._settings = {
            "seed": seed,
            "split": split,
            "validation": validation,
            "mixture": dict(self._mixture.tasks),
            **{name: _plain(value) for name, value in (asdict(choices) | asdict(self._budget)).items()},
            "samples": self._inventory.digest(),
        }
        self._making = (_places(self._inventory, workers), choices, check_parts)
        self._pool: Pool | None = None
        self._maker: Maker | None = None
        self._planned: tuple[int, EpochPlan] | None = None
        self._epoch = self._position = 0
        self.read = 0
        self.waited = 0.0
        self.bad: Counter[str] = Counter()
        self.skipped: list[Skipped] = []

    def __enter__(self) -> "Loader":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """End the workers and close the files; iterating again opens them again."""
        if self._pool is not None:
            self._pool.close()
        if self._maker is not None:
            self._maker.close()
        self._pool = self._maker = None

    @property
    def epoch(self) -> int:
        """The epoch that is being read, from 0."""
        return self._epoch

    @property
    def steps(self) -> int:
        """The number of steps of this epoch."""
        return self._plan().steps

    def __iter__(self) -> Iterator[list[list[Example]]]:
        """Yield this rank's bins of each step that is left of the epoch; then the next epoch begins."""
        plan = self._plan()
        steps = [plan.step(number, self._rank, self._world) for number in range(self._position, plan.steps)]
        made = self._make(plan.draws(places) for step in steps for places in step)
        for step in steps:
            started = time.perf_counter()
            bins = self._kept([next(made) for _ in step])
            self.waited += time.perf_counter() - started
            # Before the step is taken: a checkpoint after it must not take it again.
            self._position += 1
            yield bins
        self._epoch, self._position = self._epoch + 1, 0

    def state_dict(self) -> dict[str, Any]:
        """Return where the loader is, the same on every rank: it goes on from there at any world size.

        `datasets` has the version of each, which says what was trained on.
        """
        versions = {opened.name: opened.version for opened in self._inventory.sets}
        state = {"epoch": self._epoch, "position": self._position, "settings": dict(self._settings)}
        return {**state, "datasets": versions}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state; raises ConfigError where the order would be another, naming what has changed.

        A state without `settings` is taken as it is.
        """
        before = state.get("settings", self._settings)
        changed = [name for name, value in self._settings.items() if _plain(before.get(name)) != _plain(value)]
        if changed:
            name = changed[0]
            what = (
                self._other_samples(state)
                if name == "samples"
                else f"{name} {before.get(name)!r} -> {self._settings[name]!r}"
            )
            raise ConfigError(
                f"loader must go on with what it began with, got {what}. Put it back, or begin an epoch with it: "
                f"load_state_dict({{'epoch': {int(state['epoch']) + 1}, 'position': 0}})."
            )
        self._epoch, self._position = int(state["epoch"]), int(state["position"])

    def _other_samples(self, state: Mapping[str, Any]) -> str:
        """Return which datasets have another version than in a state: a takedown makes one."""
        before = state.get("datasets") or {}
        now = {opened.name: opened.version for opened in self._inventory.sets}
        changed = [f"{name} {before[name]} -> {now.get(name)}" for name in before if before[name] != now.get(name)]
        return f"other samples ({'; '.join(changed)})" if changed else "other samples"

    def plan(self) -> Plan:
        """Return what this epoch holds by bucket, task and dataset; nothing is read for it."""
        return describe(self._plan(), self._mixture, self._unused, self._world)

    def _plan(self) -> EpochPlan:
        if self._planned is None or self._planned[0] != self._epoch:
            drawn = draw_epoch(self._inventory, self._mixture, self._choices, self._seed, self._epoch)
            self._planned = self._epoch, EpochPlan(self._inventory, drawn, self._budget)
        return self._planned[1]

    def _make(self, bins: Iterable[Sequence[Draw]]) -> Iterator[list[Example | Skipped]]:
        if not self._num_workers:
            self._maker = self._maker or Maker(*self._making)
            return map(self._maker.make, bins)
        self._pool = self._pool or Pool(self._num_workers, *self._making)
        return self._pool.make_all(bins)

    def _kept(self, made: Sequence[Sequence[Example | Skipped]]) -> list[list[Example]]:
        """Return the examples that were made; count the others, and raise ConfigError when they are too many."""
        for answer in (answer for bin_ in made for answer in bin_):
            self.read += 1
            if isinstance(answer, Skipped):
                self.bad[answer.reason] += 1
                if len(self.skipped) < KEPT:
                    self.skipped.append(answer)
                if self.bad.total() > max(PARDONED, self._max_bad * self.read):
                    raise ConfigError(
                        f"samples must be whole but for {self._max_bad:.1%}, got {self.bad.total():,} bad ones of "
                        f"{self.read:,}; the last: {answer}. `onegen verify --full` finds what is damaged; max_bad "
                        f"allows for more."
                    )
        return lent([[answer for answer in bin_ if isinstance(answer, Example)] for bin_ in made])


def _mixture_of(given: Mixture | Mapping[str, float] | str | None) -> Mixture:
    """Return a mixture however it was given; that of the paper is known once the samples are."""
    if isinstance(given, Mixture):
        return given
    if isinstance(given, str) and given != "paper":
        raise ConfigError(f"mixture must be weights by task, or 'paper', got {given!r}.")
    return Mixture({} if given is None or isinstance(given, str) else dict(given))


def _places(inventory: Inventory, workers: int) -> list[Place]:
    """Return the datasets as readers open them; raises ConfigError for one that workers could not see."""
    places = [Place(own.store, own.name, isinstance(own.view, Packed)) for own in inventory.sets]
    if workers and any(place.store.url.startswith("memory:") for place in places):
        raise ConfigError("workers must be 0 for a dataset in memory://, which other processes cannot see.")
    return places


def lent(bins: list[list[Example]]) -> list[list[Example]]:
    """Return the bins of a step with none empty that another could lend an example to."""
    for empty in (bin_ for bin_ in bins if not bin_):
        fullest = max(bins, key=len)
        if len(fullest) > 1:
            empty.append(fullest.pop())
    return bins


def _plain(value: Any) -> Any:
    """Return a setting as JSON gives it back."""
    if isinstance(value, Mapping):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(inner) for inner in value]
    return value.item() if isinstance(value, np.generic) else value


def _check(budget: Budget, rank: int, world: int, workers: int) -> None:
    if budget.tokens < 1 or budget.bins < 1:
        raise ConfigError(f"tokens and bins must be at least 1, got {budget.tokens} and {budget.bins}.")
    if not 0 <= rank < world:
        raise ConfigError(f"rank must be from 0 to world - 1, got {rank} of {world}.")
    if budget.bins % world:
        raise ConfigError(
            f"bins of a step must be a multiple of the ranks, got {budget.bins} bins for {world} ranks. Use "
            f"{-(-budget.bins // world) * world}."
        )
    if workers < 0:
        raise ConfigError(f"workers must be 0 or more, got {workers}.")
