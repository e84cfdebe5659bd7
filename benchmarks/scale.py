"""What a dataset of many manifests, and a plan and a selection of many rows, cost in time and memory.

    python -m benchmarks scale

Everything is synthetic, and no picture is read. The manifests are those of a small build, again and again: columns
image and select and the packed view, a thousand rows each. What is planned and selected are rows alone.
"""

import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.build import Marking
from benchmarks.generated import write_photos
from benchmarks.table import Row, Table, version
from onegen.audit.status import read_status
from onegen.build.build import build
from onegen.build.jobs import Permissions
from onegen.build.select import NEAR_ROWS, SelectStep
from onegen.build.work import Options
from onegen.config.recipe import NearDuplicates, Recipe, SelectConfig
from onegen.executor.contract import ShardResult, Task
from onegen.pixels.near import KeptHashes
from onegen.sample import IMAGE, PACKED, SELECT
from onegen.shards.canonical import sha256
from onegen.shards.catalog import CATALOG
from onegen.shards.dataset import CARD, Dataset, folder, manifest_name
from onegen.shards.index import BASE, IMAGE_FIELDS
from onegen.shards.manifest import Counts, FileRecord, Manifest, Producer, Run, inputs_digest
from onegen.shards.plan import LISTING, make_plan, plan_name
from onegen.shards.run import own_peak_rss
from onegen.storage.local import LocalStore

_COLUMNS = (IMAGE, SELECT, PACKED)
RUN = Run(started="2026-11-27T00:00:00Z", seconds=0, host="benchmark", peak_rss=0, computed=0, libraries={})
ROWS = 1000
"""Rows of a shard, the default of a recipe."""
MB = 1e6


@dataclass(frozen=True)
class Size:
    """How many manifests, planned items, selected rows, and hashes."""

    manifests: int = 75_000
    items: int = 10_000_000
    rows: int = 10_000_000
    hashes: int = 1_000_000


TINY = Size(manifests=900, items=2500, rows=10 * ROWS, hashes=2000)


def run(size: Size | None = None) -> list[Table]:
    """Measure every arm in a process of its own, and return the table."""
    size = size or Size()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="onegen-bench-") as scratch:
        out, indexes = Path(scratch) / "manifests", Path(scratch) / "indexes"
        write_manifests(out, size.manifests // len(_COLUMNS))
        shutil.rmtree(out / CATALOG, ignore_errors=True)
        what = f"{size.manifests:,} manifests"
        rows.append(_row("status", f"status, {what}, no catalogue", out, size))
        rows.append(_row("resume", f"resume, {what}, no catalogue", out, size))
        rows.append(_row("status", f"status, {what}", out, size, 5.0))
        rows.append(_row("resume", f"resume, {what}", out, size, 5.0))
        rows.append(_row("plan", f"plan {size.items:,} items", Path(scratch) / "plan", size, 180.0))
        shutil.rmtree(Path(scratch) / "plan")
        for per_shard in (10 * ROWS, ROWS):
            write_indexes(indexes, size.rows // per_shard, per_shard)
            arm = f"exact duplicates of {size.rows:,} rows, {per_shard:,} a shard"
            rows.append(_row("select", arm, indexes, size, 120.0))
            shutil.rmtree(indexes)
        for distance in (4, 8):
            arm = f"near duplicates of {size.hashes:,} hashes, distance {distance}"
            rows.append(_row(f"near{distance}", arm, out, size, 60.0))
    notes = [
        "bars are of CPU-seconds, since this machine is shared, and of 2,000 MB of peak memory",
        f"manifests of shards of {ROWS:,} rows; image, select and packed view; a plan a shard beside them",
    ]
    return [Table("scale", "CPU-seconds", "nothing", rows, notes, [os.getloadavg()[0]])]


def _row(task: str, arm: str, out: Path, size: Size, bar: float | None = None) -> Row:
    """Return what one arm took."""
    command = [sys.executable, "-m", "benchmarks.scale", task, str(out), str(size.items), str(size.hashes)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{arm}: {done.stderr}")
    said = json.loads(done.stdout.splitlines()[-1])
    is_met = None if bar is None else said["cpu"] < bar and said["peak"] < 2000
    wall = f"{said['wall']:.1f} s, {said['peak']:,.0f} MB"
    limit = "" if bar is None else f"< {bar:g} s, < 2,000 MB"
    return Row(arm, [said["cpu"]], None, limit, is_met, version("duckdb", "pyarrow", "numpy"), wall)


def _status(out: Path, items: int, hashes: int) -> None:
    status = read_status(Dataset(LocalStore(str(out))))
    assert [column.counts.rows for column in status.columns] == [status.card.plan.shards * ROWS] * len(_COLUMNS)


def _resume(out: Path, items: int, hashes: int) -> None:
    before = (out / CARD).read_bytes()
    store = LocalStore(str(out))
    card = json.loads(before)
    summary = build(Recipe.model_validate(card["recipe"]), store, Options(workers=0), _Watching())
    assert summary.packed is not None
    assert summary.packed.rows == card["plan"]["items"]


def _plan(out: Path, items: int, hashes: int) -> None:
    summary = make_plan(LocalStore(str(out)), _listing(items), ROWS)
    assert summary.items == items


def _select(out: Path, items: int, hashes: int) -> None:
    dataset = Dataset(LocalStore(str(out)))
    step = SelectStep(SelectConfig(), "image", {IMAGE: IMAGE_FIELDS})
    num_shards = len(dataset.shards(IMAGE))

    def commit(result: ShardResult) -> None:
        for manifest in result.manifests:
            dataset.commit(manifest)

    tasks: list[Task] = step.tasks(dataset, num_shards, Permissions())
    step.run(dataset, tasks, commit, lambda job, tasks: None)
    counts = dataset.counts(SELECT)
    assert counts.filtered == counts.rows // 100


def _near(distance: int) -> Callable[[Path, int, int], None]:
    def run(out: Path, items: int, hashes: int) -> None:
        random = np.random.default_rng(0)
        drawn = random.integers(0, 2**64, hashes, dtype=np.uint64)
        # A tenth repeats another, two bits apart.
        copies = drawn[random.integers(0, hashes, hashes // 10)]
        for _ in range(2):
            copies ^= np.uint64(1) << random.integers(0, 64, len(copies)).astype(np.uint64)
        drawn[random.choice(hashes, len(copies), replace=False)] = copies
        kept, numbers = KeptHashes(NearDuplicates(distance=distance).distance), np.arange(hashes)
        found = np.concatenate([kept.admit(*part) for part in zip(_cut(numbers), _cut(drawn), strict=True)])
        assert 0.05 * hashes < np.count_nonzero(found != numbers) < 0.15 * hashes

    return run


TASKS: Mapping[str, Callable[[Path, int, int], None]] = {
    "status": _status,
    "resume": _resume,
    "plan": _plan,
    "select": _select,
    "near4": _near(4),
    "near8": _near(8),
}


class Silent(Marking):
    """A listener that says nothing."""

    def end(self, step: str) -> None:
        """Do nothing."""


class _Watching(Silent):
    """A listener that refuses that anything is made."""

    def begin(self, step: str, shards: int, done: int) -> None:
        """Refuse a step that has work."""
        assert shards == done, f"{step} must have nothing to do"


def _cut(values: np.ndarray) -> list[np.ndarray]:
    return [values[start : start + NEAR_ROWS] for start in range(0, len(values), NEAR_ROWS)]


def _listing(items: int) -> Iterator[pa.RecordBatch]:
    """Yield a listing in no order, as a folder's comes."""
    for start in range(0, items, 8192):
        # An odd number and a power of two have no common factor: every number once.
        numbers = np.arange(start, min(start + 8192, items))
        names = [f"{(int(number) * 2654435761) % (1 << 32):08x}/photo.jpg" for number in numbers]
        files = [[{"uri": name, "size": 12345, "etag": "1764200000.0"}] for name in names]
        yield pa.RecordBatch.from_pydict({"item": names, "images": files, "sidecars": [[]] * len(names)}, LISTING)


def write_manifests(out: Path, shards: int) -> None:
    """Build a dataset of one shard, and write its manifests again for all the others; none opens its other files."""
    photos = out.parent / "photos"
    write_photos(photos, 2)
    tar = out.parent / "photos.tar"
    with tarfile.open(tar, "w") as file:
        for photo in sorted(photos.iterdir()):
            file.add(photo, photo.name)
    source = {"webdataset": str(tar), "keep": []}
    recipe = {"name": "scale", "source": source, "samples_per_shard": ROWS, "pack": {"columns": [IMAGE]}}
    store = LocalStore(str(out))
    build(Recipe.model_validate(recipe), store, Options(workers=0), Silent())
    # Somebody's own, which no build writes again.
    (out / "README.md").write_text("Read me.")
    dataset = Dataset(store)
    card = dataset.require_card()
    plan = card.plan.model_copy(update={"shards": shards, "items": shards * ROWS})
    store.write(CARD, card.model_copy(update={"plan": plan}).to_json())
    _repeat(out, plan_name(0), shards)
    image = dataset.require_manifest(IMAGE, 0)
    every = "".join(f"{IMAGE} {shard} {image.digest}\n" for shard in range(shards))
    for column in _COLUMNS:
        manifest = dataset.require_manifest(column, 0)
        inputs = {"dataset": sha256(sha256(every.encode()).encode())} if column == SELECT else manifest.inputs
        about = {"counts": Counts(rows=ROWS, ok=ROWS), "inputs": inputs, "input_digest": inputs_digest(inputs, None)}
        manifest = manifest.model_copy(update=about)
        for name in manifest.files:
            _repeat(out, f"{folder(column)}/{name}", shards)
        record = manifest.model_dump(mode="json")
        for shard in range(shards):
            files = {f"{shard:06d}{name[6:]}": file for name, file in record["files"].items()}
            said = json.dumps({**record, "shard": shard, "files": files}, indent=1)
            (out / manifest_name(column, shard)).write_text(said)


def _repeat(out: Path, name: str, shards: int) -> None:
    """Let the file of shard 0 stand for that of every shard."""
    first = out / name
    for shard in range(1, shards):
        os.link(first, first.with_name(f"{shard:06d}{first.name[6:]}"))


def write_indexes(out: Path, shards: int, rows: int = ROWS) -> None:
    """Write the image column of so many shards, indexes alone: one row in a hundred repeats another."""
    (out / folder(IMAGE)).mkdir(parents=True)
    random = np.random.default_rng(0)
    schema = pa.schema([*BASE.items(), *IMAGE_FIELDS.items()])
    for shard in range(shards):
        numbers = np.arange(shard * rows, (shard + 1) * rows)
        numbers[::100] = numbers[1::100]
        given = {
            "shard": np.full(rows, shard, np.int32),
            "position": np.arange(rows, dtype=np.int32),
            "key": [sha256(b"%d" % number)[:20] for number in numbers],
            "status": ["ok"] * rows,
            "phash": random.integers(0, 2**64, rows, dtype=np.uint64),
            "parts": pa.array([[]] * rows, BASE["parts"]),
        }
        nothing = {name: pa.nulls(rows, schema.field(name).type) for name in schema.names}
        name = f"{folder(IMAGE)}/{shard:06d}-{0:08x}.parquet"
        pq.write_table(pa.Table.from_pydict({**nothing, **given}, schema), out / name, compression="zstd")
        manifest = Manifest(
            column=IMAGE, shard=shard, kind="image", counts=Counts(rows=rows, ok=rows),
            files={Path(name).name: FileRecord(size=0, sha256="0" * 64)}, digest=sha256(b"%d" % shard), inputs={},
            input_digest="", fingerprint="", settings={}, producer=Producer(name=IMAGE, version=1), run=RUN,
        )  # fmt: skip
        (out / manifest_name(IMAGE, shard)).write_bytes(manifest.to_json())
    # As the step that makes a column leaves it.
    Dataset(LocalStore(str(out))).write_catalog()


def _child(task: str, out: Path, items: int, hashes: int) -> None:
    """Do one arm and print what it took, with the start of this process left out."""
    begun, cpu = time.perf_counter(), time.process_time()
    TASKS[task](out, items, hashes)
    wall, cpu = time.perf_counter() - begun, time.process_time() - cpu
    print(json.dumps({"wall": wall, "cpu": cpu, "peak": own_peak_rss() / MB}))


if __name__ == "__main__":
    _child(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
