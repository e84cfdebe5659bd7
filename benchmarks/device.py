"""Whether a device waits: a stand-in that is busy for a known time without the GIL, fed by a stage and by a plain loop.

    python -m benchmarks device

JPEG of 1024 pixels in, a 16-bit map as PNG out, batches of 8, one worker a core. `in parts` is an annotator that is fed
ahead and emptied behind on threads; `at once` does the same in one call, as a synchronous loop would. What is measured
is the share of a shard's time in which the device worked; the device's time a batch grows from table to table, because
a core can decode and encode only so many pictures a second, and no thread changes that.

Where a CUDA device is, the same is asked of Depth Anything V2 in its large size, with random weights, for how long a
network takes does not depend on what it learnt.
"""

import importlib.util
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.generated import make_recipe, write_photos
from benchmarks.process import run_child
from benchmarks.table import Row, Table, version
from onegen.executor.machine import count_cores, count_gpus
from onegen.shards.dataset import Dataset
from onegen.storage import open_store

BAR = 0.95
BATCH = 8
NETWORK_BAR = 0.97


@dataclass(frozen=True)
class Size:
    """How many pictures of which side, by how many workers, how long the device takes a batch, and how many rounds."""

    photos: int = 288
    side: int = 1024
    workers: int = count_cores()
    milliseconds: tuple[int, ...] = (20, 400, 800)
    rounds: int = 5


TINY = Size(photos=4, side=64, workers=0, milliseconds=(1,), rounds=1)


def run(size: Size = Size()) -> list[Table]:
    """Ingest the photos once, and return a table for each time that the device takes; one more on a GPU."""
    with tempfile.TemporaryDirectory(prefix="onegen-bench-") as folder:
        scratch = Path(folder)
        write_photos(scratch / "photos", size.photos, size.side)
        tables = [_stand_in(scratch, size, milliseconds) for milliseconds in size.milliseconds]
        if count_gpus() and importlib.util.find_spec("torch") is not None and size is not TINY:
            tables.append(_network(scratch, size))
        return tables


def _stand_in(scratch: Path, size: Size, milliseconds: int) -> Table:
    shares: dict[str, list[float]] = {"at once": [], "in parts": []}
    for _ in range(size.rounds):
        for arm, found in shares.items():
            backend = arm.replace(" ", "-")
            options = {"backend": backend, "seconds": milliseconds / 1000 / BATCH}
            seconds, _ = _run(scratch, size, {"benchmarks.napping": options}, size.workers)
            found.append(100 * size.photos * options["seconds"] / seconds)
    rows = [
        _row("at once", shares["at once"], shares["at once"], has_bar=False),
        _row("in parts", shares["in parts"], shares["at once"], has_bar=milliseconds == max(size.milliseconds)),
    ]
    return Table(
        title=f"device: {milliseconds} ms a batch of {BATCH}, {size.workers or 1} worker(s)",
        unit="% of the time busy",
        reference="at once",
        rows=rows,
        notes=[f"{size.photos} JPEGs of {size.side} pixels in shards of {_per_shard(size)}, 16-bit maps out"],
    )


def _network(scratch: Path, size: Size) -> Table:
    """Return what a stage makes of a real network on a GPU, beside the network alone on pictures that are ready."""
    from benchmarks.large_depth import bare_seconds, write_checkpoint

    write_checkpoint(scratch / "large")
    options = {"backend": "depth-anything", "model": str(scratch / "large"), "dtype": "bfloat16"}
    stage: list[float] = []
    bare: list[float] = []
    shares: list[float] = []
    for _ in range(size.rounds):
        seconds, busy = _run(scratch, size, {"depth": options}, 1, num_cpus=count_cores())
        stage.append(size.photos / seconds)
        shares.append(busy / seconds)
        bare.append(size.photos / bare_seconds(scratch / "large", scratch / "photos", size.photos, BATCH))
    ratio = statistics.median(stage) / statistics.median(bare)
    torch = version("torch", "transformers")
    return Table(
        title=f"device: Depth Anything V2 large, random weights, bfloat16, batch {BATCH}, 1 GPU, {count_cores()} cores",
        unit="pictures a second",
        reference="network alone",
        rows=[
            Row("network alone", bare, 1.0, versions=torch),
            Row("stage, in parts", stage, ratio, f">= {NETWORK_BAR}x", ratio >= NETWORK_BAR),
        ],
        notes=[f"{size.photos} JPEGs of {size.side} pixels; busy {statistics.median(shares):.1%} of the shards' time"],
    )


def _run(scratch: Path, size: Size, annotators: dict[str, Any], workers: int, num_cpus: int = 1) -> tuple[float, float]:
    """Build with one annotator; return the seconds that its shards took, and those in which it was at work."""
    out = Path(tempfile.mkdtemp(dir=scratch))
    stage = {"name": "device", "annotators": annotators, "batch_size": BATCH, "num_cpus": num_cpus}
    recipe = make_recipe(scratch / "photos", _per_shard(size), [stage])
    run_child("benchmarks.build", {"recipe": recipe, "out": str(out), "options": {"workers": workers}})
    dataset = Dataset(open_store(str(out)))
    (column,) = (name for name in dataset.columns() if name not in ("image", "select"))
    runs = [manifest.run for manifest in dataset.manifests(column)]
    return sum(run.seconds for run in runs), sum(run.busy_seconds for run in runs)


def _per_shard(size: Size) -> int:
    return max(1, size.photos // max(1, size.workers))


def _row(arm: str, values: list[float], reference: list[float], has_bar: bool) -> Row:
    share = statistics.median(values)
    return Row(
        arm,
        values,
        share / statistics.median(reference),
        f">= {BAR:.0%}" if has_bar else "",
        share >= 100 * BAR if has_bar else None,
        version("onegen"),
    )
