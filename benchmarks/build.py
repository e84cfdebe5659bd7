"""A build in a process of its own, watched by `benchmarks.process`; its orders come as JSON on stdin."""

import time
from collections.abc import Mapping, Sequence

from benchmarks.process import mark, receive, tell
from onegen.build.build import build
from onegen.build.work import Options
from onegen.config.recipe import Recipe
from onegen.shards.manifest import Manifest
from onegen.storage import open_store


class Marking:
    """A listener that has the process tree looked at when a step ends, while its cluster is still up."""

    def __init__(self) -> None:
        self.cpu = 0.0
        self.commits: list[tuple[float, int, str]] = []

    def note(self, text: str) -> None:
        """Do nothing."""

    def plan(self, steps: Sequence[str], shards: int) -> None:
        """Do nothing."""

    def begin(self, step: str, shards: int, done: int) -> None:
        """Do nothing."""

    def committed(self, step: str, manifest: Manifest) -> None:
        """Note when, how many rows, and by whom."""
        self.commits.append((time.perf_counter(), manifest.run.computed, manifest.run.host))

    def waiting(self, step: str, workers: Mapping[int, str]) -> None:
        """Do nothing."""

    def end(self, step: str) -> None:
        """Mark."""
        mark()
        self.cpu = time.process_time()


def main() -> None:
    """Build as the orders say: recipe, out, and options."""
    orders = receive()
    options = {name: tuple(v) if isinstance(v, list) else v for name, v in orders["options"].items()}
    listener = Marking()
    mark()
    began = time.perf_counter()
    summary = build(Recipe.model_validate(orders["recipe"]), open_store(orders["out"]), Options(**options), listener)
    wall = time.perf_counter() - began
    counts = {column: found.model_dump() for column, found in summary.counts.items()}
    said = {"counts": counts, "commits": listener.commits, "digest": summary.digest}
    tell({"wall": wall, "cpu_after": time.process_time() - listener.cpu, **said})


if __name__ == "__main__":
    main()
