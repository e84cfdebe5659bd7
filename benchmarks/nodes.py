"""Whether a second node doubles the speed: a build on one node of one core, and on two, simulated on this machine.

    python -m benchmarks nodes

A head without cores, where the driver is, and one or two nodes of one core each, all on this machine. Ingest and
select are done once, outside the clock; each run adds one column of a 20 ms annotator to a copy. The clock runs from
when every worker has committed a shard to the last commit, so that what starts up does not count. A napping annotator
leaves the cores to others and shows what the machinery costs; a computing one needs two cores that are free.
"""

import os
import random
import shutil
import statistics
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.generated import make_recipe
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
    """Samples, those of a shard, the rounds, and the kinds of annotator."""

    samples: int = 2000
    shard: int = 50
    rounds: int = 5
    kinds: tuple[str, ...] = ("napping", "computing")


TINY = Size(samples=16, shard=2, rounds=1, kinds=("napping",))


def run(size: Size = Size()) -> list[Table]:
    """Return a table for each kind of annotator."""
    scratch = Path(tempfile.mkdtemp(prefix="onegen-nodes-"))
    try:
        with _clusters() as addresses:
            base = make_base(scratch, size.samples, size.shard, 0)
            return [_table(kind, *_measure(kind, addresses, base, scratch, size), size) for kind in size.kinds]
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
    kind: str, addresses: dict[str, str], base: Base, scratch: Path, size: Size
) -> tuple[dict[str, list[float]], list[float]]:
    """Return samples a second of each cluster, one value a round, and the loads; who is first changes by chance."""
    order, speeds, loads = random.Random(0), {name: [] for name in addresses}, []
    for _ in range(size.rounds):
        for name in order.sample(list(addresses), len(addresses)):
            speeds[name].append(_speed(kind, addresses[name], base, scratch))
            loads.append(os.getloadavg()[0])
    return speeds, loads


def _speed(kind: str, address: str, base: Base, scratch: Path) -> float:
    """Return the samples a second of a build once all its workers are at work."""
    annotator = {"benchmarks.noop": {"backend": "busy" if kind == "computing" else "napping", "seconds": SECONDS}}
    recipe = make_recipe(base.photos, base.shard, [{"name": "stage", "annotators": annotator, "batch_size": BATCH}])
    options = {"executor": "ray", "address": address, "workers": "auto", "only": ["stage"]}
    out = scratch / "out"
    shutil.copytree(base.out, out, copy_function=os.link, ignore=shutil.ignore_patterns(".lease", "log"))
    try:
        done = run_child("benchmarks.build", {"recipe": recipe, "out": str(out), "options": options})
    finally:
        shutil.rmtree(out, ignore_errors=True)
    assert done.said["counts"]["noop"]["ok"] == base.samples, "the stage must have run over every sample"
    commits = [(when, rows, host) for when, rows, host in done.said["commits"] if rows]
    firsts = {host: when for when, _, host in reversed(commits)}
    began = max(firsts.values())
    return sum(rows for when, rows, _ in commits if when > began) / max(commits[-1][0] - began, 1e-3)


def _table(kind: str, speeds: dict[str, list[float]], loads: list[float], size: Size) -> Table:
    reference = statistics.median(speeds[ONE])
    rows = [Row(ONE, speeds[ONE], 1.0, versions=version("onegen", "ray"))]
    ratio = statistics.median(speeds[TWO]) / reference
    rows.append(Row(TWO, speeds[TWO], ratio, f">= {BAR}x", ratio >= BAR, versions=version("onegen", "ray")))
    return Table(
        title=f"nodes: a {kind} annotator of {SECONDS * 1000:g} ms on nodes of one core",
        unit="samples per second",
        reference=ONE,
        rows=rows,
        notes=[
            f"{size.samples:,} samples in shards of {size.shard}, workers: auto; a higher ratio is better",
            "all nodes are this machine: what a network costs is not in it",
        ],
        loads=loads,
    )
