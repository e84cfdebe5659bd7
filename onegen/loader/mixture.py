"""Which task each sample is drawn for: weights a task, met over the whole epoch as far as the samples allow.

Where every sample serves every task, drawing by weight is all there is to it. Where some serve only a few, the scarce
tasks must be drawn more often from those that have them: iterative proportional fitting (Deming and Stephan, 1940)
finds the probabilities by kind of sample that give the wanted totals, and leave every sample its one visit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from onegen.errors import ConfigError
from onegen.loader.needs import ORDER
from onegen.tasks.table import find_task

ROUNDS = 200
SUPER_CATEGORIES: Mapping[str, tuple[str, ...]] = {
    "text_to_image": ("text2image",),
    "image_to_image": tuple(
        name for name in ORDER if name not in ("text2image", "faceid", "multiview", "subject_driven")
    ),
    "several_views": ("faceid", "subject_driven", "multiview"),
}
"""Three with equal budget, as in the paper's Figure 9, which draws identities among image to image and names multiview
alone as the third; section 3.3 counts four. Here the third is all that shows one thing in several pictures."""


@dataclass(frozen=True, slots=True)
class Mixture:
    """The weights of tasks, of any sum. Empty: each sample serves the tasks it can with equal chance.

    Tasks that are not named are not trained on.
    """

    tasks: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, weight in self.tasks.items():
            find_task(name)
            if not (weight >= 0 and np.isfinite(weight)):
                raise ConfigError(f"weight of {name} must be a number from 0 on, got {weight}.")
        if self.tasks and not any(self.tasks.values()):
            raise ConfigError("weights of tasks must have one above 0, got none.")

    @property
    def named(self) -> tuple[str, ...]:
        """The tasks that must be served, in the order of the table."""
        return tuple(name for name in ORDER if self.tasks.get(name, 0) > 0)

    @property
    def bits(self) -> int:
        """The tasks that are trained on, a bit a task."""
        return sum(1 << ORDER.index(name) for name in self.named) if self.tasks else (1 << len(ORDER)) - 1


def of_paper(served: Sequence[str]) -> Mixture:
    """Return the mixture of the paper over the tasks that are served: super-categories alike, and tasks in them."""
    groups = [[name for name in names if name in served] for names in SUPER_CATEGORIES.values()]
    used = [names for names in groups if names]
    return Mixture({name: 1.0 / len(used) / len(names) for names in used for name in names})


def fitted(masks: np.ndarray, counts: np.ndarray, mixture: Mixture) -> np.ndarray:
    """Return the chance of each task for each kind of sample, float64 (kinds, tasks), rows summing to 1.

    `masks` are the tasks that a kind serves, a bit a task; `counts` how many visits it has. Without weights the tasks
    of a kind are alike. Where the weights cannot be met, they are met as nearly as the fitting comes.
    """
    allowed = (masks[:, np.newaxis] >> np.arange(len(ORDER), dtype=np.uint32) & np.uint32(1)).astype(np.float64)
    if not mixture.tasks:
        return allowed / np.maximum(1.0, allowed.sum(axis=1, keepdims=True))
    weights = np.array([mixture.tasks.get(name, 0.0) for name in ORDER])
    weights = weights * (allowed.sum(axis=0) > 0)
    wanted = weights / max(weights.sum(), 1e-300) * counts.sum()
    table = allowed * weights
    for _ in range(ROUNDS):
        rows = table.sum(axis=1, keepdims=True)
        table = table * np.divide(counts[:, np.newaxis], rows, out=np.zeros_like(rows), where=rows > 0)
        columns = table.sum(axis=0)
        table = table * np.divide(wanted, columns, out=np.zeros_like(columns), where=columns > 0)
    rows = table.sum(axis=1, keepdims=True)
    return np.divide(table, rows, out=np.zeros_like(table), where=rows > 0)
