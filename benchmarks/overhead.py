"""What the pipeline costs around an annotator: marginal CPU per sample, on both executors, beside Ray Data.

    python -m benchmarks overhead

Ingest, select and pack are done once, outside the clock. Each run is then a process of its own that builds one column
(`no-op`), or one column and the packed view (`no-op + pack`, the same output as Ray Data's: tar shards). It is run at
two sizes: the marginal cost is the difference in CPU-seconds of driver, workers and daemons over the difference in
samples, so that start-up does not count. The second table puts 20 ms of computing into the annotator and compares
with a bare loop over it.
"""

import os
import shutil
import statistics
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.generated import make_recipe, write_photos
from benchmarks.measure import Timing, interleave, time_here
from benchmarks.noop import Busy
from benchmarks.process import Watched, run_child
from benchmarks.table import Row, Table, version
from onegen.sample import Item

BATCH = 16
BARS_MS = {"local": 0.3, "ray": 0.6}
BUSY_SECONDS = 0.02
BUSY_BAR = 0.97
RAY_DATA = "Ray Data, tuned: no-op, tars written"
BARE = "bare loop"


@dataclass(frozen=True)
class Size:
    """The two dataset sizes and the shard size, for the no-op rows and for the busy ones, and the rounds."""

    noop: tuple[int, int] = (2000, 10000)
    noop_shard: int = 1000
    busy: tuple[int, int] = (200, 600)
    busy_shard: int = 100
    rounds: int = 5
    workers: int = 2
    executors: tuple[str, ...] = ("local", "ray")


TINY = Size(noop=(16, 48), noop_shard=16, busy=(4, 8), busy_shard=4, rounds=1, workers=0, executors=("local",))


@dataclass(frozen=True)
class Base:
    """A dataset with image, select and packed columns, ready for a column to be added."""

    samples: int
    shard: int
    workers: int
    photos: Path
    out: Path


@dataclass
class Slopes:
    """An arm's runs at both sizes, by size, in the order of the rounds."""

    cpu: dict[int, list[float]] = field(default_factory=dict)
    wall: dict[int, list[float]] = field(default_factory=dict)
    loads: list[float] = field(default_factory=list)

    def marginal_ms(self, of: Mapping[int, list[float]]) -> list[float]:
        """Return milliseconds per additional sample, one value a round."""
        small, large = sorted(of)
        pairs = zip(of[small], of[large], strict=True)
        return [1000 * (more - less) / (large - small) for less, more in pairs]

    def start_up(self, of: Mapping[int, list[float]]) -> float:
        """Return the seconds that do not depend on the number of samples, as the median over rounds."""
        small = min(of)
        pairs = zip(self.marginal_ms(of), of[small], strict=True)
        return statistics.median(less - slope * small / 1000 for slope, less in pairs)


def run(size: Size = Size()) -> list[Table]:
    """Make the datasets, run every arm at both sizes, and return the two tables."""
    with tempfile.TemporaryDirectory(prefix="onegen-bench-") as folder:
        scratch = Path(folder)
        bases = [make_base(scratch, samples, size.noop_shard, size.workers) for samples in size.noop]
        noop = _measure(_noop_arms(size), bases, scratch, size)
        bases = [make_base(scratch, samples, size.busy_shard, size.workers) for samples in size.busy]
        busy = _measure(_busy_arms(size), bases, scratch, size)
        bare = _bare(max(size.busy) - min(size.busy), size.rounds)
    return [_noop_table(size, noop), _busy_table(size, busy, bare)]


def make_base(scratch: Path, samples: int, shard: int, workers: int) -> Base:
    """Build a dataset of generated photos, image and select and packed view."""
    name = f"{samples}-{shard}"
    base = Base(samples, shard, workers, scratch / f"photos-{name}", scratch / f"base-{name}")
    write_photos(base.photos, samples)
    recipe = make_recipe(base.photos, shard, pack=["image"])
    done = run_child("benchmarks.build", {"recipe": recipe, "out": str(base.out), "options": {"workers": workers}})
    assert done.said["counts"]["image"]["ok"] == samples, "every generated photo is good"
    return base


def _noop_arms(size: Size) -> dict[str, Callable[[Base, Path], Watched]]:
    arms: dict[str, Callable[[Base, Path], Watched]] = {}
    for executor in size.executors:
        arms[f"{executor}: no-op"] = _ours(executor, {"backend": "blind"})
        arms[f"{executor}: no-op, 64 px JPEG decoded"] = _ours(executor, {"backend": "seeing"})
        arms[f"{executor}: no-op + pack, tars written"] = _ours(executor, {"backend": "blind"}, packs=True)
    if "ray" in size.executors:
        arms[RAY_DATA] = _ray_data
    return arms


def _busy_arms(size: Size) -> dict[str, Callable[[Base, Path], Watched]]:
    options = {"backend": "busy", "seconds": BUSY_SECONDS}
    return {
        f"{executor}: {BUSY_SECONDS * 1000:g} ms annotator": _ours(executor, options) for executor in size.executors
    }


def _ours(executor: str, options: Mapping[str, Any], packs: bool = False) -> Callable[[Base, Path], Watched]:
    def build(base: Base, out: Path) -> Watched:
        # Links are enough: a build replaces files, it never writes into one.
        shutil.copytree(base.out, out, copy_function=os.link, ignore=shutil.ignore_patterns(".lease", "log"))
        stage = {"name": "stage", "annotators": {"benchmarks.noop": dict(options)}, "batch_size": BATCH}
        recipe = make_recipe(base.photos, base.shard, [stage], ["image", "noop"] if packs else None)
        options_of_build = {
            "workers": base.workers,
            "executor": executor,
            "only": ["stage", *(["pack"] if packs else [])],
        }
        done = run_child("benchmarks.build", {"recipe": recipe, "out": str(out), "options": options_of_build})
        assert done.said["counts"]["noop"]["ok"] == base.samples, "the stage must have run over every sample"
        return done

    return build


def _ray_data(base: Base, out: Path) -> Watched:
    shards = base.out / "shards"
    done = run_child("benchmarks.ray_data", {"shards": str(shards), "out": str(out), "workers": base.workers})
    assert done.said["keys"] == base.samples, "Ray Data must have written every sample"
    return done


def _measure(
    arms: Mapping[str, Callable[[Base, Path], Watched]], bases: list[Base], scratch: Path, size: Size
) -> dict[str, Slopes]:
    def timed(name: str, base: Base) -> Callable[[], Timing]:
        def once() -> Timing:
            out = scratch / "out"
            try:
                return arms[name](base, out).timing
            finally:
                shutil.rmtree(out, ignore_errors=True)

        return once

    runs = {(name, base.samples): timed(name, base) for name in arms for base in bases}
    labels = {f"{name} {samples}": (name, samples) for name, samples in runs}
    # Every run is a fresh process and the files lie in the page cache already: a warm-up round would warm nothing.
    found = interleave({label: runs[of] for label, of in labels.items()}, size.rounds, warm_up=False)
    slopes = {name: Slopes() for name in arms}
    for label, (name, samples) in labels.items():
        slopes[name].cpu[samples] = [timing.cpu for timing in found[label]]
        slopes[name].wall[samples] = [timing.wall for timing in found[label]]
        slopes[name].loads += [timing.load for timing in found[label]]
    return slopes


def _bare(samples: int, rounds: int) -> list[Timing]:
    annotator = Busy(seconds=BUSY_SECONDS)
    batches = [[Item("", None)] * len(range(start, min(start + BATCH, samples))) for start in range(0, samples, BATCH)]
    return [time_here(lambda: [annotator.annotate(batch) for batch in batches]) for _ in range(rounds)]


def _noop_table(size: Size, found: Mapping[str, Slopes]) -> Table:
    reference = statistics.median(found[RAY_DATA].marginal_ms(found[RAY_DATA].cpu)) if RAY_DATA in found else None
    rows = []
    for name, slopes in found.items():
        values = slopes.marginal_ms(slopes.cpu)
        executor, _, what = name.partition(": ")
        bar = BARS_MS[executor] if what == "no-op" else None
        rows.append(
            Row(
                arm=name,
                values=values,
                ratio=statistics.median(values) / reference if reference else None,
                bar=f"<= {bar} ms" if bar else "",
                is_met=statistics.median(values) <= bar if bar else None,
                versions=_versions(name),
                wall=_wall(slopes),
            )
        )
    small, large = size.noop
    return Table(
        title=f"overhead: marginal cost of a no-op stage, batch {BATCH}, {size.workers} workers",
        unit="CPU-ms per sample",
        reference="Ray Data",
        rows=rows,
        notes=[
            f"({large:,} - {small:,} samples) in shards of {size.noop_shard:,}; CPU of driver, workers and daemons; a "
            f"lower ratio is better",
            "wall: marginal ms per sample, and start-up in seconds",
            "Ray Data passes and writes whole samples: compare it with `no-op + pack`",
        ],
        loads=[load for slopes in found.values() for load in slopes.loads],
    )


def _busy_table(size: Size, found: Mapping[str, Slopes], bare: list[Timing]) -> Table:
    samples = max(size.busy) - min(size.busy)
    per_sample = [1000 * timing.cpu / samples for timing in bare]
    rows = [Row(BARE, per_sample, 1.0, wall=f"{statistics.median(1000 * t.wall / samples for t in bare):.2f}")]
    for name, slopes in found.items():
        values = slopes.marginal_ms(slopes.cpu)
        kept = statistics.median(per_sample) / statistics.median(values)
        rows.append(
            Row(
                arm=name,
                values=values,
                ratio=kept,
                bar=f">= {BUSY_BAR}x",
                is_met=kept >= BUSY_BAR,
                versions=_versions(name),
                wall=_wall(slopes),
            )
        )
    small, large = size.busy
    return Table(
        title=f"overhead: what a {BUSY_SECONDS * 1000:g} ms annotator keeps of its bare loop",
        unit="CPU-ms per sample",
        reference="speed of the bare loop",
        rows=rows,
        notes=[
            f"({large} - {small} samples) in shards of {size.busy_shard}, images decoded; wall as above, "
            f"{size.workers} workers at once"
        ],
        loads=[load for slopes in found.values() for load in slopes.loads],
    )


def _wall(slopes: Slopes) -> str:
    middle = statistics.median(slopes.marginal_ms(slopes.wall))
    return f"{middle:.2f} ms, {slopes.start_up(slopes.wall):.1f} s"


def _versions(arm: str) -> str:
    return (
        version("onegen")
        if arm.startswith("local")
        else version("ray")
        if arm == RAY_DATA
        else version("onegen", "ray")
    )
