"""Whether a second node doubles the speed: a build on one node of one core, and on two, simulated on this machine.

    python -m benchmarks nodes

A head without cores, where the driver is, and one or two nodes of one core each, all on this machine. Ingest and select
are done once, outside the clock; each run adds one column of a 20 ms annotator to a copy. It is run at two sizes, so
that what starts up does not count: the speed is the difference in samples over the difference in seconds. A napping
annotator leaves the cores to others and shows what the machinery costs; a computing one needs two cores that are free.
"""

import os
import shutil
import statistics
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.generated import make_recipe
from benchmarks.measure import Timing, interleave
from benchmarks.overhead import Base, make_base
from benchmarks.process import run_child
from benchmarks.table import Row, Table, version

BATCH = 8
SECONDS = 0.02
BAR = 1.8
ONE, TWO = "1 node", "2 nodes"
_STORE_BYTES = 80_000_000


@dataclass(frozen=True)
class Size:
    """The two dataset sizes, the shard size, the rounds, and the kinds of annotator."""

    samples: tuple[int, int] = (400, 2000)
    shard: int = 50
    rounds: int = 5
    kinds: tuple[str, ...] = ("napping", "computing")


TINY = Size(samples=(4, 8), shard=2, rounds=1, kinds=("napping",))


def run(size: Size = Size()) -> list[Table]:
    """Return a table for each kind of annotator."""
    scratch = Path(tempfile.mkdtemp(prefix="onegen-nodes-"))
    try:
        with _clusters() as addresses:
            bases = [make_base(scratch, samples, size.shard, 0) for samples in size.samples]
            return [_table(kind, _measure(kind, addresses, bases, scratch, size), size) for kind in size.kinds]
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


@contextmanager
def _clusters() -> Iterator[dict[str, str]]:
    """Give the addresses of a cluster with one node of one core beside its head, and of one with two."""
    os.environ |= {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
    from ray.cluster_utils import Cluster

    clusters: dict[str, Cluster] = {}
    try:
        for name, nodes in ((ONE, 1), (TWO, 2)):
            clusters[name] = Cluster()
            clusters[name].add_node(num_cpus=0, include_dashboard=False, object_store_memory=_STORE_BYTES)
            for _ in range(nodes):
                clusters[name].add_node(num_cpus=1, object_store_memory=_STORE_BYTES)
        yield {name: cluster.address for name, cluster in clusters.items()}
    finally:
        for cluster in clusters.values():
            cluster.shutdown()


def _measure(
    kind: str, addresses: dict[str, str], bases: list[Base], scratch: Path, size: Size
) -> dict[str, dict[int, list[Timing]]]:
    """Return the timings of each cluster by dataset size, in the order of the rounds."""
    runs = {
        (name, base.samples): _timed(kind, address, base, scratch)
        for name, address in addresses.items()
        for base in bases
    }
    labels = {f"{name} {samples}": key for key in runs for name, samples in [key]}
    timings = interleave({label: runs[key] for label, key in labels.items()}, size.rounds, warm_up=False)
    found: dict[str, dict[int, list[Timing]]] = {name: {} for name in addresses}
    for label, (name, samples) in labels.items():
        found[name][samples] = timings[label]
    return found


def _timed(kind: str, address: str, base: Base, scratch: Path) -> Callable[[], Timing]:
    annotator = {"benchmarks.noop": {"backend": "busy" if kind == "computing" else "napping", "seconds": SECONDS}}
    recipe = make_recipe(base.photos, base.shard, [{"name": "stage", "annotators": annotator, "batch_size": BATCH}])
    options = {"executor": "ray", "address": address, "workers": "auto", "only": ["stage"]}

    def once() -> Timing:
        out = scratch / "out"
        shutil.copytree(base.out, out, copy_function=os.link, ignore=shutil.ignore_patterns(".lease", "log"))
        try:
            done = run_child("benchmarks.build", {"recipe": recipe, "out": str(out), "options": options})
            assert done.said["counts"]["noop"]["ok"] == base.samples, "the stage must have run over every sample"
            return done.timing
        finally:
            shutil.rmtree(out, ignore_errors=True)

    return once


def _table(kind: str, found: dict[str, dict[int, list[Timing]]], size: Size) -> Table:
    speeds = {name: _speeds(timings) for name, timings in found.items()}
    reference = statistics.median(speeds[ONE])
    rows = [Row(ONE, speeds[ONE], 1.0, versions=version("onegen", "ray"))]
    ratio = statistics.median(speeds[TWO]) / reference
    rows.append(Row(TWO, speeds[TWO], ratio, f">= {BAR}x", ratio >= BAR, versions=version("onegen", "ray")))
    small, large = size.samples
    return Table(
        title=f"nodes: a {kind} annotator of {SECONDS * 1000:g} ms on nodes of one core",
        unit="samples per second",
        reference=ONE,
        rows=rows,
        notes=[
            f"({large:,} - {small:,} samples) in shards of {size.shard}, workers: auto; a higher ratio is better",
            "all nodes are this machine: what a network costs is not in it",
        ],
        loads=[timing.load for timings in found.values() for runs in timings.values() for timing in runs],
    )


def _speeds(timings: dict[int, list[Timing]]) -> list[float]:
    """Return samples a second beyond start-up, one value a round."""
    small, large = sorted(timings)
    pairs = zip(timings[small], timings[large], strict=True)
    # A round in which the neighbours stole more than the difference says nothing, and is told as nothing.
    return [(large - small) / max(more.wall - less.wall, 1e-3) for less, more in pairs]
