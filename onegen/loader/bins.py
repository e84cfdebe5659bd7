"""Cut a sequence of examples into bins of at most so many tokens and so much work, with no padding and nothing dropped.

A bin is what a network sees at once. Attention grows with the square of an example's length, so tokens alone would
leave ranks waiting for the one with the long example: a bin is bounded in both. arXiv 2605.17923 does the same.
"""

from collections.abc import Sequence

import numpy as np

from onegen.errors import ConfigError

ATTENTION_TOKENS = 20_000
"""Length of an example at which attention costs as much as all else: of the released network (154.8 M / (2 x 3840))."""
OPEN_BINS = 16
"""Bins that wait for an example that fits; more would fill them better, and mix what lies further apart."""


def work_of(tokens: np.ndarray, attention_tokens: int = ATTENTION_TOKENS) -> np.ndarray:
    """Return the work of examples of these lengths, in tokens whose attention costs nothing, float64."""
    lengths = np.asarray(tokens, np.float64)
    return lengths * (1.0 + lengths / attention_tokens)


def most_work(tokens: np.ndarray, limit: int, attention_tokens: int = ATTENTION_TOKENS) -> float:
    """Return the work of `limit` tokens that are divided as they are over all of `tokens`: an average full bin's."""
    total = float(np.sum(tokens))
    return limit * float(work_of(tokens, attention_tokens).sum()) / total if total else float(limit)


def cut(tokens: np.ndarray, limit: int, work: np.ndarray, work_limit: float) -> list[np.ndarray]:
    """Return the bins of a sequence, each the places of its examples, in the order in which they fill up.

    An example goes into the oldest bin that has room; where none has, the fullest is closed and a new one opened. One
    that is too much work for any bin has one to itself. Raises ConfigError for an example longer than `limit`.
    """
    longest = int(np.max(tokens, initial=0))
    if longest > limit:
        raise ConfigError(
            f"tokens of a bin must hold the longest example, which has {longest:,}, got {limit:,}. Raise them, or "
            f"lower the resolution."
        )
    closed: list[np.ndarray] = []
    opened: list[_Bin] = []
    for place, (length, cost) in enumerate(zip(tokens.tolist(), work.tolist(), strict=True)):
        for bin_ in opened:
            if bin_.tokens + length <= limit and bin_.work + cost <= work_limit:
                bin_.add(place, length, cost)
                break
        else:
            if len(opened) == OPEN_BINS:
                fullest = max(opened, key=lambda bin_: max(bin_.tokens / limit, bin_.work / work_limit))
                opened.remove(fullest)
                closed.append(fullest.array())
            opened.append(_Bin(place, length, cost))
    return [*closed, *(bin_.array() for bin_ in opened)]


class _Bin:
    """A bin that is being filled."""

    __slots__ = ("places", "tokens", "work")

    def __init__(self, place: int, tokens: int, work: float) -> None:
        self.places, self.tokens, self.work = [place], tokens, work

    def add(self, place: int, tokens: int, work: float) -> None:
        """Add an example."""
        self.places.append(place)
        self.tokens += tokens
        self.work += work

    def array(self) -> np.ndarray:
        """Return the places of its examples."""
        return np.array(self.places, np.int64)


def whole_steps(bins: list[np.ndarray], per_step: int, work: np.ndarray) -> list[np.ndarray]:
    """Return the bins with as many of the last ones halved as make the last step whole: every step has `per_step`.

    Where bins of one example are left alone, which nothing halves, empty ones make up the last step. Raises ConfigError
    where there are fewer examples than bins of a step.
    """
    missing = -len(bins) % per_step
    examples = sum(len(bin_) for bin_ in bins)
    if examples < per_step:
        raise ConfigError(
            f"bins of a step must be at most the examples of an epoch, got {per_step} bins for {examples} examples. "
            f"Lower them, or add samples."
        )
    bins = list(bins)
    empty = max(0, len(bins) + missing - examples)
    missing -= empty
    while missing:
        # the last steps first, of these the bin with most work
        candidates = [index for index in range(max(0, len(bins) - per_step), len(bins)) if len(bins[index]) > 1]
        candidates = candidates or [index for index, bin_ in enumerate(bins) if len(bin_) > 1]
        chosen = max(candidates, key=lambda index: float(work[bins[index]].sum()))
        half = halves(bins[chosen], work)
        bins[chosen : chosen + 1] = half
        missing -= 1
    return [*bins, *[np.empty(0, np.int64)] * empty]


def halves(bin_: np.ndarray, work: np.ndarray) -> list[np.ndarray]:
    """Return a bin of two or more examples as two of about equal work."""
    ends = np.cumsum(work[bin_])
    middle = int(np.searchsorted(ends, ends[-1] / 2)) + 1
    middle = min(max(1, middle), len(bin_) - 1)
    return [bin_[:middle], bin_[middle:]]


def dealt(costs: Sequence[float], world: int) -> list[list[int]]:
    """Return which bins of a step each rank gets: as many each, and the dearest dealt out to and fro."""
    order = sorted(range(len(costs)), key=lambda index: (-costs[index], index))
    ranks: list[list[int]] = [[] for _ in range(world)]
    for place, index in enumerate(order):
        turn, seat = divmod(place, world)
        ranks[seat if turn % 2 == 0 else world - 1 - seat].append(index)
    return ranks
