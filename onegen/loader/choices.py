"""How examples are made, beside which: resolutions, dropout, captions. A trainer's config holds these fields."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from onegen.errors import ConfigError
from onegen.tasks.table import TASKS, find_task


@dataclass(frozen=True, slots=True)
class Choices:
    """What a training run chooses of its examples.

    `resolution` is the base of the buckets in pixels, `resolutions` that of single tasks, `crowded` that of examples
    with more than three pictures (None: as the others); a token is `token` pixels a side (16: latents 8 times smaller,
    2 x 2 of them a token). `text_dropout` is the share of examples whose prompt is the task token alone,
    `condition_dropout` that of examples of two views that keep only the first. `captions` are columns of captions of
    which one is drawn, `original` being the one that came with the image; empty: column `caption`, else the original.
    """

    resolution: int = 512
    resolutions: Mapping[str, int] = field(default_factory=dict)
    crowded: int | None = None
    token: int = 16
    text_dropout: float = 0.1
    condition_dropout: float = 0.0
    captions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("text_dropout", "condition_dropout"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ConfigError(f"{name} must be in [0, 1], got {getattr(self, name)}.")
        for task in self.resolutions:
            find_task(task)

    def base(self, task: str, pictures: int) -> int:
        """Return the base of the buckets of an example with so many pictures."""
        if self.crowded is not None and pictures > 3:
            return self.crowded
        return self.resolutions.get(task, self.resolution)


def may_lose_condition(task: str) -> bool:
    """Say whether a task is one of two views whose second may be dropped: a prompt that numbers views keeps them."""
    return len(TASKS[task].views) == 2 and not TASKS[task].repeats and not TASKS[task].numbered
