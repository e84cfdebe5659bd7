"""How GenEval judges one picture from what a detector says of it: classes, counts, colours, relations.

Ghosh et al., NeurIPS 2023; the rules of the published scorer, version 1.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from onegen.pixels.boxes import Box

MOST_OF_A_CLASS = 16
"""Detections of a class that are looked at, best first."""
_APART = 0.1
"""Share of the summed sizes that an offset must exceed on its axis."""
_NOWHERE = 1e-3
"""Offset in pixels below which two things lie on one another."""
_DIRECTED = 0.5
"""Share of the unreduced offset that the rest of it must exceed for a direction to hold."""


@dataclass(frozen=True, slots=True)
class Thing:
    """One object that a detector sees: the benchmark's class name, box in pixels, score, mask (H,W) bool or None."""

    label: str
    box: Box
    score: float
    mask: np.ndarray | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a picture shows what its prompt asks for, and what is wrong with it otherwise, a sentence a fault."""

    is_correct: bool
    reason: str = ""


Colours = Callable[[Sequence[Thing]], Sequence[str]]
"""What says the colour of each of some things of one class, of the picture in question."""


def relations(box: Box, other: Box) -> set[str]:
    """Return where a box lies from another, of `left of`, `right of`, `above`, `below`; two may hold, or none.

    The offset between the centres counts beyond a tenth of the summed sizes, and is measured by the whole offset's
    length: a direction holds where more than half of it is left. Exactly half is not.
    """
    (ax0, ay0, ax1, ay1), (bx0, by0, bx1, by1) = box, other
    offset = np.array([(ax0 + ax1) / 2 - (bx0 + bx1) / 2, (ay0 + ay1) / 2 - (by0 + by1) / 2])
    sizes = np.array([abs(ax1 - ax0) + abs(bx1 - bx0), abs(ay1 - ay0) + abs(by1 - by0)])
    beyond = direction(offset, sizes)
    if beyond is None:
        return set()
    dx, dy = beyond
    holds = {"left of": dx < -_DIRECTED, "right of": dx > _DIRECTED, "above": dy < -_DIRECTED, "below": dy > _DIRECTED}
    return {name for name, is_so in holds.items() if is_so}


def direction(offset: np.ndarray, sizes: np.ndarray) -> np.ndarray | None:
    """Return what is left of an offset (2,) beyond a tenth of the sizes (2,), over its length; None where nothing is.

    y points down.
    """
    beyond = np.sign(offset) * np.maximum(np.abs(offset) - _APART * sizes, 0.0)
    if (np.abs(beyond) < _NOWHERE).all():
        return None
    unit: np.ndarray = beyond / np.linalg.norm(offset)
    return unit


def kept(things: Sequence[Thing], threshold: float) -> dict[str, list[Thing]]:
    """Return the things above a score by class, best first, at most 16 of each."""
    best = sorted((thing for thing in things if thing.score > threshold), key=lambda thing: -thing.score)
    by_class: dict[str, list[Thing]] = {}
    for thing in best:
        of_class = by_class.setdefault(thing.label, [])
        if len(of_class) < MOST_OF_A_CLASS:
            of_class.append(thing)
    return by_class


def judge(record: Mapping[str, Any], seen: Mapping[str, Sequence[Thing]], colours: Colours) -> Verdict:
    """Return the verdict on a picture: `record` is its prompt's, `seen` what is kept of the detections by class."""
    faults: list[str] = []
    matched: list[Sequence[Thing] | None] = []
    for wanted in record["include"]:
        found = list(seen.get(wanted["class"], ()))[: wanted["count"]]
        fault = _too_few(wanted, found) or _wrong_colours(wanted, found, colours) or _misplaced(wanted, found, matched)
        if fault:
            faults.append(fault)
        matched.append(None if fault else found)
    for unwanted in record.get("exclude", ()):
        count = len(seen.get(unwanted["class"], ()))
        if count >= unwanted["count"]:
            faults.append(f"expected {unwanted['class']}<{unwanted['count']}, found {count}")
    return Verdict(not faults, "; ".join(faults))


def _too_few(wanted: Mapping[str, Any], found: Sequence[Thing]) -> str:
    if len(found) >= wanted["count"]:
        return ""
    return f"expected {wanted['class']}>={wanted['count']}, found {len(found)}"


def _wrong_colours(wanted: Mapping[str, Any], found: Sequence[Thing], colours: Colours) -> str:
    if "color" not in wanted:
        return ""
    said = list(colours(found))
    if said.count(wanted["color"]) >= wanted["count"]:
        return ""
    return f"expected {wanted['color']} {wanted['class']}>={wanted['count']}, found {' and '.join(said)}"


def _misplaced(wanted: Mapping[str, Any], found: Sequence[Thing], matched: Sequence[Sequence[Thing] | None]) -> str:
    if "position" not in wanted:
        return ""
    relation, target = wanted["position"]
    others = matched[target]
    if others is None:
        return f"no target for {wanted['class']} to be {relation}"
    for thing in found:
        for other in others:
            holding = relations(thing.box, other.box)
            if relation not in holding:
                where = " and ".join(sorted(holding)) or "nowhere"
                return f"expected {wanted['class']} {relation} target, found it {where}"
    return ""
