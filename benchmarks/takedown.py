"""What it takes to take a thousand samples down of ten million, and to say which of them are not known.

    python -m benchmarks takedown

The index is synthetic: the image column alone, with real keys and digests and without pictures. The command records its
entries in one small file; most of the time goes into opening every index, to say what is unknown and how much matches.
"""

import hashlib
import json
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.table import Row, Table, version
from onegen.build.takedown import take_down
from onegen.sample import IMAGE
from onegen.shards.dataset import CARD, Card, Dataset, PlanSummary
from onegen.shards.index import BASE, IMAGE_FIELDS, to_parquet
from onegen.shards.sparing import spare_pandas
from onegen.shards.takedowns import Entry, read_takedowns
from onegen.storage.local import LocalStore

KEYS, UNKNOWN = 1000, 10
SECONDS = 5.0


@dataclass(frozen=True)
class Size:
    """How many rows, and those of a shard, by arm."""

    rows: int = 10_000_000
    shards: tuple[int, ...] = (10_000, 1000)


TINY = Size(rows=2000, shards=(1000, 500))


def run(size: Size | None = None) -> list[Table]:
    size = size or Size()
    rows = []
    for per_shard in size.shards:
        with tempfile.TemporaryDirectory(prefix="onegen-bench-") as folder:
            write_index(Path(folder), size.rows, per_shard)
            command = [sys.executable, "-m", "benchmarks.takedown", folder]
            said = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        assert said["matched"] == said["wanted"] - UNKNOWN
        assert said["unknown"] == UNKNOWN
        wall = f"{said['wall']:.1f} s, {said['peak']:,.0f} MB"
        row = Row(f"shards of {per_shard:,}", [said["cpu"]], None, f"< {SECONDS:g} s", None, version("pyarrow"), wall)
        rows.append(Row(*[getattr(row, name) for name in ("arm", "values", "ratio", "bar")], said["wall"] < SECONDS,
                        row.versions, row.wall))  # fmt: skip
    notes = ["bars are of wall time, files in the page cache"]
    return [Table(f"takedown: {KEYS:,} keys of {size.rows:,} rows", "CPU-seconds", "nothing", rows, notes)]


def write_index(out: Path, rows: int, per_shard: int) -> None:
    """Write a dataset of the indexes of images alone."""
    store, rng = LocalStore(str(out)), np.random.default_rng(0)
    plan = PlanSummary(shards=rows // per_shard, items=rows, digest="")
    recipe: dict[str, object] = {"name": "synthetic"}
    card = Card(
        name="synthetic", kind="image", state="complete", recipe=recipe, recipe_digest="", source={}, source_root="",
        plan=plan, digest="0" * 64,
    )  # fmt: skip
    store.write(CARD, card.to_json())
    (out / "columns" / IMAGE).mkdir(parents=True)
    for shard in range(plan.shards):
        data = to_parquet(_table(rng, shard, per_shard))
        name = f"{shard:06d}-{hashlib.sha256(data).hexdigest()[:8]}.parquet"
        (out / "columns" / IMAGE / name).write_bytes(data)


def _table(rng: np.random.Generator, shard: int, rows: int) -> pa.Table:
    text = rng.bytes(32 * rows).hex()
    digests = [text[64 * row : 64 * row + 64] for row in range(rows)]
    names = [f"{shard:06d}/{row:06d}.jpg" for row in range(rows)]
    known = {
        "shard": [shard] * rows, "position": range(rows), "key": [digest[:20] for digest in digests],
        "kind": ["image"] * rows, "status": ["ok"] * rows, "input_digest": digests, "producer": ["image@1"] * rows,
        "item": names, "uri": names, "sha256": digests, "members": [[digest] for digest in digests],
        "width": [512] * rows, "height": [512] * rows, "phash": range(rows), "licence": ["CC0-1.0"] * rows,
        "parts": [[{"name": "jpg", "offset": 512, "size": 9000, "sha256": digest}] for digest in digests],
    }  # fmt: skip
    schema = pa.schema([*BASE.items(), *IMAGE_FIELDS.items()])
    return pa.Table.from_pydict({name: list(known.get(name, [None] * rows)) for name in schema.names}, schema=schema)


def _child(out: Path) -> None:
    """Take the keys down and print what it took, with the start of this process left out."""
    spare_pandas()
    dataset = Dataset(LocalStore(str(out)))
    files = dataset.store.names(f"columns/{IMAGE}")
    entries: list[Entry] = [("key", f"{number:020x}") for number in range(UNKNOWN)]
    for number in range(KEYS - UNKNOWN):
        with dataset.store.open(f"columns/{IMAGE}/{files[number % len(files)]}") as file:
            keys = pq.ParquetFile(file).read(columns=["key"], use_threads=False).column("key")
        entries.append(("key", keys[number // len(files) * 7 % len(keys)].as_py()))
    entries = sorted(set(entries))
    begun, cpu = time.perf_counter(), time.process_time()
    done = take_down(dataset, entries)
    wall = time.perf_counter() - begun
    assert len(read_takedowns(dataset.store)) == len(entries)
    said = {"wanted": len(entries), "matched": done.rows, "unknown": len(done.unknown), "wall": wall}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    print(json.dumps({**said, "cpu": time.process_time() - cpu, "peak": peak}))


if __name__ == "__main__":
    _child(Path(sys.argv[1]))
