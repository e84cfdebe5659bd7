"""Things that stand about in scenes, put together from primitives: furniture, vehicles, figures, trees, cups, heaps.

Each builder returns its pieces in a cube of half size 1 that stands on y = -1, as shape, centre, size and turn.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True, slots=True)
class Piece:
    """One primitive of a thing; pieces of one `skin` number share a texture."""

    shape: str
    centre: tuple[float, float, float]
    size: tuple[float, float, float]
    skin: int = 0
    turn: np.ndarray = field(default_factory=lambda: np.eye(3))


def around(axis: int, angle: float) -> np.ndarray:
    """Return the rotation (3,3) by `angle` (radians) around coordinate axis 0, 1 or 2."""
    c, s = np.cos(angle), np.sin(angle)
    i, j = [(1, 2), (2, 0), (0, 1)][axis]
    turn = np.eye(3)
    turn[i, i], turn[i, j], turn[j, i], turn[j, j] = c, -s, s, c
    return turn


def single(rng: np.random.Generator) -> list[Piece]:
    """A box, an ellipsoid or a cylinder of some proportions."""
    size = rng.uniform(0.25, 1.0, 3)
    shape = str(rng.choice(["box", "ellipsoid", "cylinder"]))
    if shape == "cylinder":
        size[2] = size[0]
    return [Piece(shape, (0, size[1] - 1, 0), tuple(size))]


def table(rng: np.random.Generator) -> list[Piece]:
    """A table or bench with four legs, often with a box on it."""
    wide, deep, top, leg = rng.uniform(0.6, 1), rng.uniform(0.3, 0.9), rng.uniform(-0.4, 0.6), rng.uniform(0.03, 0.1)
    pieces = [Piece("box", (0, top, 0), (wide, 0.06, deep))]
    for x, z in ((-1, -1), (-1, 1), (1, -1), (1, 1)):
        at = (x * (wide - leg), (top - 1) / 2, z * (deep - leg))
        pieces.append(Piece("box", at, (leg, (top + 1) / 2, leg)))
    if rng.random() < 0.5:
        high = rng.uniform(0.1, 0.3)
        pieces.append(Piece("box", (rng.uniform(-0.3, 0.3), top + 0.06 + high, 0), (0.25, high, 0.2), skin=1))
    return pieces


def chair(rng: np.random.Generator) -> list[Piece]:
    """A chair: seat, back and four legs."""
    pieces = [Piece("box", (0, -0.1, 0), (0.5, 0.07, 0.5)), Piece("box", (0, 0.45, 0.45), (0.5, 0.5, 0.06))]
    corners = ((-0.44, -0.44), (-0.44, 0.44), (0.44, -0.44), (0.44, 0.44))
    return pieces + [Piece("box", (x, -0.57, z), (0.06, 0.43, 0.06), skin=1) for x, z in corners]


def vehicle(rng: np.random.Generator) -> list[Piece]:
    """A car, van or bus: body, cabin and four wheels."""
    body, cabin, wheel = rng.uniform(-0.1, 0.5), rng.uniform(0.4, 0.95), rng.uniform(0.14, 0.22)
    low = -1 + wheel
    pieces = [Piece("box", (0, (low + body) / 2, 0), (1, (body - low) / 2, 0.42))]
    pieces.append(Piece("box", (rng.uniform(-0.2, 0.2), body + 0.15, 0), (cabin, 0.2, 0.38), skin=1))
    tyre = around(0, np.pi / 2)
    for x in (-0.62, 0.62):
        for z in (-0.42, 0.42):
            pieces.append(Piece("cylinder", (x, -1 + wheel, z), (wheel, 0.06, wheel), skin=2, turn=tyre))
    return pieces


def figure(rng: np.random.Generator) -> list[Piece]:
    """A mannequin: head, trunk, arms and legs, standing or striding."""
    stride, swing = rng.uniform(-0.35, 0.35), rng.uniform(-0.9, 0.9, 2)
    pieces = [
        Piece("ellipsoid", (0, 0.84, 0), (0.12, 0.16, 0.13), skin=2),
        Piece(str(rng.choice(["ellipsoid", "box"])), (0, 0.34, 0), (0.24, 0.36, 0.14)),
    ]
    for side, sign in ((-1, 1), (1, -1)):
        leg = around(0, sign * stride)
        pieces.append(Piece("cylinder", (side * 0.12, -0.52, sign * stride * 0.5), (0.1, 0.5, 0.1), 1, leg))
        arm = around(0, float(swing[(side + 1) // 2])) @ around(2, side * rng.uniform(0, 0.5))
        at = np.array([side * 0.3, 0.62, 0.0]) - arm @ np.array([0, 0.3, 0])
        pieces.append(Piece("cylinder", tuple(at), (0.07, 0.33, 0.07), 0, arm))
    return pieces


def bust(rng: np.random.Generator) -> list[Piece]:
    """Head and shoulders."""
    tilt = around(2, rng.uniform(-0.2, 0.2))
    return [
        Piece("ellipsoid", (0, 0.4, 0), (0.4, 0.55, 0.45), 2, tilt),
        Piece("cylinder", (0, -0.25, 0.05), (0.2, 0.25, 0.2), 2),
        Piece("ellipsoid", (0, -0.95, 0.1), (1.0, 0.7, 0.45)),
    ]


def animal(rng: np.random.Generator) -> list[Piece]:
    """A four-legged body with neck, head, ears and tail."""
    long, tilt = rng.uniform(0.5, 0.75), rng.uniform(0.3, 1.2)
    pieces = [Piece("ellipsoid", (0, 0, 0), (long, 0.3, 0.26))]
    for x in (-long * 0.7, long * 0.7):
        for z in (-0.15, 0.15):
            leg = around(2, rng.uniform(-0.3, 0.3))
            pieces.append(Piece("cylinder", (x, -0.55, z), (0.08, 0.45, 0.08), 0, leg))
    neck = np.array([long * 0.85, 0.25, 0]) + 0.25 * np.array([np.cos(tilt), np.sin(tilt), 0])
    pieces.append(Piece("ellipsoid", tuple(neck), (0.28, 0.22, 0.2)))
    pieces += [
        Piece("ellipsoid", tuple(neck + np.array([-0.05, 0.22, z])), (0.07, 0.12, 0.04), 1) for z in (-0.12, 0.12)
    ]
    return [*pieces, Piece("cylinder", (-long - 0.15, 0.1, 0), (0.05, 0.3, 0.05), 1, around(2, rng.uniform(0.3, 1.5)))]


def tree(rng: np.random.Generator) -> list[Piece]:
    """A trunk with a crown of some balls."""
    pieces = [Piece("cylinder", (0, -0.4, 0), (0.1, 0.6, 0.1), skin=1)]
    for _ in range(rng.integers(3, 8)):
        at = (*rng.uniform((-0.45, 0.1), (0.45, 0.65)), rng.uniform(-0.4, 0.4))
        pieces.append(Piece("ellipsoid", at, tuple(rng.uniform(0.25, 0.5, 3))))
    return pieces


def cup(rng: np.random.Generator) -> list[Piece]:
    """A cup with a dark drink on a saucer."""
    high, wide = rng.uniform(0.4, 0.8), rng.uniform(0.4, 0.6)
    return [
        Piece("cylinder", (0, -0.97, 0), (1, 0.03, 1)),
        Piece("cylinder", (0, -0.94 + high / 2, 0), (wide, high / 2, wide), int(rng.integers(0, 2))),
        Piece("cylinder", (0, -0.94 + high, 0), (wide * 0.85, 0.005, wide * 0.85), skin=2),
        Piece("ellipsoid", (wide + 0.1, -0.94 + high / 2, 0), (0.22, high * 0.3, 0.06), int(rng.integers(0, 2))),
    ]


def two_wheeler(rng: np.random.Generator) -> list[Piece]:
    """Two wheels in line with a tangle of bars, tanks and a seat between them."""
    wheel, tyre = rng.uniform(0.28, 0.4), around(0, np.pi / 2)
    pieces = [Piece("cylinder", (x, wheel - 1, 0), (wheel, 0.07, wheel), 2, tyre) for x in (-0.62, 0.62)]
    for _ in range(rng.integers(6, 12)):
        at = (rng.uniform(-0.5, 0.5), rng.uniform(-0.7, 0.1), rng.uniform(-0.12, 0.12))
        bar = around(2, rng.uniform(0, np.pi))
        size = (rng.uniform(0.03, 0.12), rng.uniform(0.12, 0.4), rng.uniform(0.03, 0.14))
        pieces.append(Piece(str(rng.choice(["cylinder", "box", "ellipsoid"])), at, size, int(rng.integers(0, 2)), bar))
    pieces.append(Piece("ellipsoid", (0.1, 0.1, 0), (0.35, 0.16, 0.16)))
    pieces.append(Piece("cylinder", (0.45, 0.3, 0), (0.03, 0.45, 0.03), 1, around(0, np.pi / 2)))
    return pieces


def shelf(rng: np.random.Generator) -> list[Piece]:
    """A rack with boards and boxes on them."""
    pieces = [Piece("box", (x, 0, 0), (0.04, 1, 0.35)) for x in (-0.9, 0.9)]
    for y in np.linspace(-0.95, 0.95, int(rng.integers(3, 6))):
        pieces.append(Piece("box", (0, y, 0), (0.9, 0.03, 0.35)))
        for _ in range(rng.integers(0, 3)):
            high = rng.uniform(0.08, 0.18)
            at = (rng.uniform(-0.7, 0.7), y + 0.03 + high, rng.uniform(-0.1, 0.1))
            pieces.append(Piece("box", at, (rng.uniform(0.06, 0.2), high, 0.2), int(rng.integers(1, 3))))
    return pieces


def heap(rng: np.random.Generator) -> list[Piece]:
    """A heap of odd pieces."""
    pieces = []
    for _ in range(rng.integers(4, 10)):
        turn = around(0, rng.uniform(0, 3)) @ around(1, rng.uniform(0, 3))
        at = (*rng.uniform((-0.6, -0.8), (0.6, 0.5)), rng.uniform(-0.5, 0.5))
        shape = str(rng.choice(["box", "ellipsoid", "cylinder"]))
        pieces.append(Piece(shape, at, tuple(rng.uniform(0.06, 0.4, 3)), int(rng.integers(0, 3)), turn))
    return pieces


THINGS: dict[str, Callable[[np.random.Generator], list[Piece]]] = {
    function.__name__: function
    for function in (single, table, chair, vehicle, figure, bust, animal, tree, cup, two_wheeler, shelf, heap)
}
