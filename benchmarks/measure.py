"""Time arms against each other on a machine that others use too: CPU-seconds, interleaved, in a fresh order each round.

Wall time moves up to threefold with the neighbours of a shared machine, CPU time far less; and what is left of that
hits all arms alike when they take turns. So only ratios of medians within one run are claims.
"""

import os
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

BUSY_LOAD = 2.5
"""Load average above which a round counts as disturbed."""


@dataclass(frozen=True)
class Timing:
    """What one run of one arm took: CPU-seconds (user and system), seconds of wall time, and the load at its end.

    `daemons` are the CPU-seconds of a cluster's own daemons, part of `cpu`.
    """

    cpu: float
    wall: float
    load: float
    daemons: float = 0.0


def time_here(run: Callable[[], object]) -> Timing:
    """Return what a call took in this process, all its threads counted."""
    cpu, wall = time.process_time(), time.perf_counter()
    run()
    return Timing(time.process_time() - cpu, time.perf_counter() - wall, os.getloadavg()[0])


def interleave(
    arms: Mapping[str, Callable[[], Timing]], rounds: int, warm_up: bool = True, seed: int = 0
) -> dict[str, list[Timing]]:
    """Run every arm once a round, in a shuffled order; return the timings by arm, those of a warm-up round left out."""
    order = random.Random(seed)
    found: dict[str, list[Timing]] = {name: [] for name in arms}
    for number in range(-1 if warm_up else 0, rounds):
        for name in order.sample(list(arms), len(arms)):
            timing = arms[name]()
            if number >= 0:
                found[name].append(timing)
    return found
