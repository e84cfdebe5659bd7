"""What is decided of an example before anything is read: which sample, for which task, which images, what size."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from onegen.loader.choices import Choices
from onegen.loader.needs import NEEDS
from onegen.loader.scan import CAPTION, ORIGINAL
from onegen.loader.seeds import named, uniform
from onegen.tasks.table import TASKS


class Draw(NamedTuple):
    """One example to be made.

    `set` is the number of the training set, `key` the first 64 bits of the sample's key; `images` are those shown, the
    target first; `size` is the (height, width) of all views; `seed` has 63 bits. `is_alone`: the condition is dropped.
    """

    set: int
    shard: int
    position: int
    key: int
    task: str
    images: tuple[int, ...]
    size: tuple[int, int]
    seed: int
    is_alone: bool = False


def drawn_images(task: str, target: int, pictures: int, num_images: int, seed: int) -> tuple[int, ...]:
    """Return which images an example shows, the target first, the others in an order drawn by the seed."""
    if pictures == 1 or NEEDS[task].kind == "pair":
        return (target, 1 - target)[:pictures]
    others = [image for image in range(num_images) if image != target]
    order = np.random.default_rng([seed, named("images")]).permutation(len(others))
    return (target, *(others[index] for index in order[: pictures - 1]))


def chance(seed: int, name: str) -> float:
    """Return a number in [0, 1) of an example's own, another for every name."""
    return float(uniform(np.array([seed], np.uint64), named(name))[0])


@dataclass(frozen=True, slots=True)
class Reading:
    """What is read of a sample for one example: columns, and the parts of each image beside its pixels."""

    columns: tuple[str, ...]
    parts: tuple[str, ...]


def drops_text(draw: Draw, choices: Choices) -> bool:
    """Say whether the prompt of an example is its token alone."""
    return chance(draw.seed, "text") < choices.text_dropout


def caption_names(choices: Choices) -> tuple[str, ...]:
    """Return the columns of captions; `original` is no column."""
    return tuple(name for name in choices.captions or (CAPTION,) if name != ORIGINAL)


def is_captioned(task: str) -> bool:
    """Say whether the prompt of a task has a caption; an edit has its instruction."""
    return task != "image_editing"


def views_of(draw: Draw) -> tuple[str, ...]:
    """Return the roles of an example's views, in order."""
    task = TASKS[draw.task]
    if draw.is_alone:
        return task.views[:1]
    if task.repeats == "frame":
        return task.views * len(draw.images)
    return (*task.views[:1], *(task.views[1:] * (len(draw.images) - 1 if task.repeats else 1)))
