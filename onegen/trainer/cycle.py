"""Do the pictures of a validation keep to what they were drawn from? Each number beside that of another condition.

What was generated from a condition has the condition read off it again, and a condition that was generated is held
against the true one. The gap between a number and its shuffled one is the result: a network that ignores what it is
given has none.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from onegen.config.registry import find
from onegen.errors import ConfigError
from onegen.loader.example import Example
from onegen.loader.seeds import part_seed
from onegen.sample import Annotation, Annotator, Item
from onegen.tasks.closeness import KEPT, colour_share, edge_f1, kept, mean_difference, spearman
from onegen.tasks.conditions import grey_map
from onegen.tasks.table import TASKS


@dataclass(frozen=True, slots=True)
class Drawn:
    """What was drawn for an example: `role` was generated from all else, `pixels` RGB uint8 (H,W,3) came."""

    example: Example
    role: str
    pixels: np.ndarray

    def view(self, role: str) -> np.ndarray:
        """Return the true view of a role, RGB uint8 (H,W,3)."""
        view = self.example.views[self.example.roles.index(role)]
        assert isinstance(view, np.ndarray), "tasks of two views have no cameras"
        return view


Measure = Callable[[np.ndarray, Drawn], float | None]
"""How near a drawn picture is to the views of an example: its own, or another's."""


def _kept(role: str) -> Measure:
    def measure(pixels: np.ndarray, of: Drawn) -> float | None:
        return kept(role, pixels, of.view(role), of.view("image"), part_seed(of.example.seed, role))

    return measure


def _read_again(column: str, pixels: np.ndarray) -> np.ndarray | None:
    """Return the map, grey (H,W) uint8, that an embedded annotator reads off a picture; None without its weights."""
    annotator = _annotator(column)
    if annotator is None:
        return None
    (answer,) = annotator.annotate([Item(key="", pixels=pixels, annotations={})])
    return grey_map(np.asarray(answer.parts[f"{column}.png"]))[..., 0] if isinstance(answer, Annotation) else None


@functools.cache
def _annotator(name: str) -> Annotator | None:
    try:
        annotator: Annotator = find("annotators", name, {"backend": "embedded"})(backend="embedded")
        annotator.load()
    except (ConfigError, ModuleNotFoundError):
        return None
    return annotator


def _depth_again(pixels: np.ndarray, of: Drawn) -> float | None:
    depth = _read_again("depth", pixels)
    return None if depth is None else spearman(depth, of.view("depth")[..., 0])


def _hed_again(pixels: np.ndarray, of: Drawn) -> float | None:
    edges = _read_again("hed", pixels)
    return None if edges is None else mean_difference(edges / 255.0, of.view("hed")[..., 0] / 255.0)


def _colours(role: str) -> Measure:
    return lambda pixels, of: colour_share(pixels, of.view(role))


_FROM: Mapping[str, tuple[str, Measure]] = {
    "depth": ("depth_spearman", _depth_again),
    "hed": ("hed_l1", _hed_again),
    **{role: (name, _kept(role)) for role, name in KEPT.items()},
}
"""What is measured of an image by the condition that it was drawn from."""
_OF: Mapping[str, tuple[str, Measure]] = {
    "canny": ("edge_f1", lambda pixels, of: edge_f1(pixels[..., 0] > 127, of.view("canny")[..., 0] > 127)),
    "depth": ("spearman", lambda pixels, of: spearman(pixels.mean(2), of.view("depth")[..., 0])),
    "hed": ("l1", lambda pixels, of: mean_difference(pixels.mean(2) / 255.0, of.view("hed")[..., 0] / 255.0)),
    **{role: ("colour_share", _colours(role)) for role in ("semantic_map", "boxes", "pose")},
}
"""What is measured of a condition that was drawn from an image."""


def cycle_metrics(drawn: Sequence[Drawn]) -> dict[str, float]:
    """Return `cycle/TASK/METRIC` and the same with `.shuffled` for a task's pictures of each direction, of two or more.

    A shuffled number is that of the same pictures against the next example's views, brought to their size. What has
    nothing to be measured by, a pose that nobody reads off again, is left out.
    """
    groups: dict[tuple[str, str], list[Drawn]] = {}
    for one in drawn:
        groups.setdefault((one.example.task, one.role), []).append(one)
    numbers: dict[str, float] = {}
    for (task, role), group in sorted(groups.items()):
        measured = _FROM.get(TASKS[task].views[-1]) if role == "image" else _OF.get(role)
        if measured is None or len(group) < 2:
            continue
        name, measure = measured
        pairs = [(measure(one.pixels, one), _measured(measure, one, group)) for one in group]
        both = [(own, other) for own, other in pairs if own is not None and other is not None]
        if both:
            numbers[f"cycle/{task}/{name}"] = float(np.mean([own for own, _ in both]))
            numbers[f"cycle/{task}/{name}.shuffled"] = float(np.mean([other for _, other in both]))
    return numbers


def _measured(measure: Measure, one: Drawn, group: Sequence[Drawn]) -> float | None:
    """Return what is measured of a picture against the example after its own."""
    other = group[(group.index(one) + 1) % len(group)]
    height, width = other.example.size
    pixels = one.pixels
    if pixels.shape[:2] != (height, width):
        pixels = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
    return measure(pixels, other)
