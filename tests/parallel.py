"""How tests share the cores of this machine: a file goes to one process, and all that share a Ray to the same one.

Long files come first, so that no process is left alone with one. `make test` uses it; pytest by itself runs in order.
"""

import functools
from pathlib import Path

from xdist.scheduler.loadscope import LoadScopeScheduling

ROOT = Path(__file__).parents[1]
RAY = "Ray"
"""The share of the files that use the session's Ray, or clusters. Some others start a small one of their own."""


@functools.cache
def share(path: str) -> str:
    """Return the name of the share that a test file belongs to."""
    text = (ROOT / path).read_text(encoding="utf-8")
    return RAY if "ray_session" in text or "tests.cluster" in text else path


@functools.cache
def order(path: str) -> tuple[bool, bool]:
    """Return what files are sorted by: those that share a Ray first, then those with slow tests."""
    return share(path) != RAY, "mark.slow" not in (ROOT / path).read_text(encoding="utf-8")


class Shares(LoadScopeScheduling):  # type: ignore[misc]
    """Gives each process one share after the other."""

    def _split_scope(self, nodeid: str) -> str:
        return share(nodeid.partition("::")[0])
