"""What a dataset on an object store costs beside the same in a folder: CPU-seconds of driver and workers.

    python -m benchmarks stores

Small photos, a cheap annotator, packed; two local workers. The store is moto's S3 server, whose own time does not
count. Every round builds both from nothing, and both must end with one digest.
"""

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

from benchmarks.generated import make_recipe, write_photos
from benchmarks.measure import Timing, interleave
from benchmarks.object_server import BUCKET, environment, served_bucket
from benchmarks.process import run_child
from benchmarks.table import Row, Table, version

BAR = 1.3


@dataclass(frozen=True)
class Size:
    """How many photos of which side, in shards of how many, by how many workers, and how many rounds."""

    photos: int = 1000
    side: int = 512
    per_shard: int = 100
    workers: int = 2
    rounds: int = 5


TINY = Size(photos=4, side=32, per_shard=2, workers=0, rounds=1)


def run(size: Size = Size()) -> list[Table]:
    """Build in a folder and on the store by turns, and return the table."""
    with tempfile.TemporaryDirectory(prefix="onegen-bench-") as folder, served_bucket() as endpoint:
        scratch = Path(folder)
        write_photos(scratch / "photos", size.photos, size.side)
        digests: set[str] = set()
        places = {"folder": lambda: tempfile.mkdtemp(dir=scratch), "object store": _fresh_place}
        with patch.dict(os.environ, environment(endpoint)):
            found = interleave(
                {arm: _built(scratch, size, place, digests) for arm, place in places.items()}, size.rounds
            )
    if len(digests) != 1:
        raise RuntimeError(f"folder and store must end with one digest, got {sorted(digests)}")
    bare = statistics.median(timing.cpu for timing in found["folder"])
    rows = []
    for arm, timings in found.items():
        ratio = statistics.median(timing.cpu for timing in timings) / bare
        has_bar = arm != "folder"
        wall = f"{statistics.median(timing.wall for timing in timings):.1f} s"
        rows.append(
            Row(
                arm,
                [timing.cpu for timing in timings],
                ratio,
                f"< {BAR}x" if has_bar else "",
                ratio < BAR if has_bar else None,
                version("onegen", "obstore") if has_bar else version("onegen"),
                wall,
            )
        )
    return [
        Table(
            title=f"stores: {size.photos} photos of {size.side} pixels ingested, looked at and packed",
            unit="CPU-seconds",
            reference="folder",
            rows=rows,
            loads=[timing.load for timings in found.values() for timing in timings],
        )
    ]


def _built(scratch: Path, size: Size, place: Callable[[], str], digests: set[str]) -> Callable[[], Timing]:
    """Return a build in a fresh place, which adds its digest to `digests`."""
    stage = {"name": "look", "annotators": {"scores": {}}}
    recipe: dict[str, Any] = make_recipe(scratch / "photos", size.per_shard, [stage], ["image", "scores"])

    def once() -> Timing:
        orders = {"recipe": recipe, "out": place(), "options": {"workers": size.workers}}
        watched = run_child("benchmarks.build", orders)
        digests.add(watched.said["digest"])
        return watched.timing

    return once


def _fresh_place() -> str:
    return f"s3://{BUCKET}/{time.time_ns()}"
