"""Whether a build's memory grows with the dataset: peak RSS of driver and workers at ten times the images.

    python -m benchmarks memory

Full builds (ingest, two annotators, select with near duplicates, pack) of small generated photos, in the same shard
size, each as a process of its own; peaks are the kernel's high-water marks, read while the processes live.
"""

import shutil
import statistics
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.generated import make_recipe, write_photos
from benchmarks.measure import Timing, interleave
from benchmarks.process import Watched, run_child
from benchmarks.table import Row, Table, version

BAR = 1.1
MIB = 2**20


@dataclass(frozen=True)
class Size:
    """The two dataset sizes, the shard size, and the rounds."""

    images: tuple[int, int] = (1000, 10000)
    shard: int = 250
    workers: int = 2
    rounds: int = 3


TINY = Size(images=(8, 16), shard=4, workers=1, rounds=1)


def run(size: Size = Size()) -> list[Table]:
    """Build both sizes and return the table."""
    found: dict[int, list[Watched]] = {images: [] for images in size.images}
    with tempfile.TemporaryDirectory(prefix="onegen-bench-") as folder:
        scratch = Path(folder)
        for images in size.images:
            write_photos(scratch / f"photos-{images}", images)

        def once(images: int) -> Callable[[], Timing]:
            def build() -> Timing:
                done = _build(scratch, images, size)
                found[images].append(done)
                return done.timing

            return build

        interleave({str(images): once(images) for images in size.images}, size.rounds, warm_up=False)
    rows = []
    for who in ("driver", "largest worker"):
        peaks = {images: [_peak(done, who) / MIB for done in runs] for images, runs in found.items()}
        small, large = sorted(peaks)
        ratio = statistics.median(peaks[large]) / statistics.median(peaks[small])
        rows.append(Row(f"{who}, {small:,} images", peaks[small], 1.0, versions=version("onegen", "duckdb", "pyarrow")))
        rows.append(Row(f"{who}, {large:,} images", peaks[large], ratio, f"< {BAR}x", ratio < BAR))
    return [
        Table(
            title="memory: peak RSS of a full build",
            unit="MiB",
            reference=f"{min(size.images):,} images",
            rows=rows,
            notes=[
                f"shards of {size.shard}, {size.workers} local workers; scores and no-op annotators, near duplicates"
            ],
            loads=[done.timing.load for runs in found.values() for done in runs],
        )
    ]


def _build(scratch: Path, images: int, size: Size) -> Watched:
    stage: dict[str, Any] = {"name": "look", "annotators": {"scores": {}, "benchmarks.noop": {"backend": "seeing"}}}
    recipe = make_recipe(scratch / f"photos-{images}", size.shard, [stage], pack=["image", "scores", "noop"])
    recipe["select"] = {"near_duplicates": {"distance": 4}}
    out = scratch / "out"
    try:
        orders = {"recipe": recipe, "out": str(out), "options": {"workers": size.workers}}
        done = run_child("benchmarks.build", orders)
    finally:
        shutil.rmtree(out, ignore_errors=True)
    assert done.said["counts"]["image"]["ok"] == images, "every generated photo is good"
    return done


def _peak(done: Watched, who: str) -> int:
    return done.peak_rss if who == "driver" else done.peak_rss_worker
