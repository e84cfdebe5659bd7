"""How long it takes to group ten thousand faces by whom they show.

    python -m benchmarks group

The vectors are made here: people as far apart as strangers, each in several pictures that differ as pictures of one
person do. Another arm has people who look alike, so that many faces hang together and the clustering itself has work.
Every person must come out whole and alone in the first arm, or it is void. Needs scipy, of the extra `annotators`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from benchmarks.measure import Timing, interleave, time_here
from benchmarks.table import Row, Table, version
from onegen.build.group import DISTANCES, cluster

SECONDS = 30.0
DIMENSIONS, PHOTOS = 128, 8
"""Numbers of an identity as dlib gives it, and pictures of a person."""


@dataclass(frozen=True)
class Size:
    """Faces, and rounds."""

    faces: int = 10_000
    rounds: int = 3


TINY = Size(faces=80, rounds=1)


def run(size: Size = Size()) -> list[Table]:
    """Group and return the table."""
    people = {"strangers": 1.0, "people who look alike": 0.35}
    faces = {name: _faces(size.faces, apart) for name, apart in people.items()}
    found: dict[str, list[list[int]]] = {}

    def once(name: str) -> Callable[[], Timing]:
        def grouped() -> None:
            found[name] = cluster(faces[name][0], DISTANCES["faces"])

        return lambda: time_here(grouped)

    timings = interleave({name: once(name) for name in people}, size.rounds)
    rows = []
    for name, taken in timings.items():
        is_void = name == "strangers" and not _is_right(found[name], faces[name][1])
        values = [] if is_void else [timing.wall for timing in taken]
        arm = f"{name} (void: someone is mixed)" if is_void else name
        told = f"{len(found[name]):,} groups"
        is_met = max(values) < SECONDS if values else False
        rows.append(Row(arm, values, None, f"< {SECONDS:g} s", is_met, version("numpy", "scipy"), told))
    notes = [f"vectors of {DIMENSIONS} numbers, {PHOTOS} a person; distance {DISTANCES['faces']}"]
    return [Table(f"group: {size.faces:,} faces", "seconds of wall time", "nothing", rows, notes)]


def _faces(count: int, apart: float) -> tuple[np.ndarray, np.ndarray]:
    """Return identities float32 (count,128) in a mixed order, and of whom each is; people lie about `apart` apart."""
    rng = np.random.default_rng(7)
    centres = rng.normal(size=(count // PHOTOS, DIMENSIONS))
    centres *= apart / np.sqrt(2) / np.linalg.norm(centres, axis=1, keepdims=True)
    whose = rng.permutation(np.repeat(np.arange(count // PHOTOS), PHOTOS))
    return (centres[whose] + rng.normal(scale=0.02, size=(count, DIMENSIONS))).astype(np.float32), whose


def _is_right(groups: list[list[int]], whose: np.ndarray) -> bool:
    """Say whether every group is all of one person."""
    return len(groups) == len(np.unique(whose)) and all(len(set(whose[members])) == 1 for members in groups)
