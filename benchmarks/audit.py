"""What a report and a query cost over ten million samples.

    python -m benchmarks audit

The index is synthetic: the columns image, scores, caption and detection of shards of 100,000 rows, without pictures.
Near-duplicates are no part of it, nor are pictures.
"""

import json
import math
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import duckdb

from benchmarks.table import Row, Table, version
from onegen.audit.checks import Findings, check
from onegen.audit.query import ask
from onegen.audit.report import page
from onegen.audit.statistics import statistics
from onegen.audit.tables import open_tables
from onegen.audit.thumbnails import Gallery
from onegen.sample import IMAGE
from onegen.shards.dataset import CARD, Card, Dataset, PlanSummary
from onegen.shards.manifest import Counts, FileRecord, Manifest, Producer, Run, fingerprint, inputs_digest
from onegen.storage.local import LocalStore

_RUN = Run(started="2026-11-27T00:00:00Z", seconds=0, host="benchmark", peak_rss=0, computed=0, libraries={})
_BASE = (
    "{shard}::INTEGER AS shard, range::INTEGER AS position, printf('%020x', range + {start}) AS key, 'image' AS kind, "
    "'ok' AS status, NULL::VARCHAR AS reason, {parts} AS parts, '' AS input_digest, 'made@1' AS producer"
)
_PART = "[{{'name': '{0}', 'offset': 0::BIGINT, 'size': (1000 + random() * 200000)::BIGINT, 'sha256': ''}}]"
_NO_PART = '[]::STRUCT(name VARCHAR, "offset" BIGINT, size BIGINT, sha256 VARCHAR)[]'
_COLUMNS = {
    IMAGE: (
        _PART.format("jpg"),
        "printf('%d.jpg', range) AS item, printf('%d.jpg', range) AS uri, NULL::VARCHAR AS sha256, NULL::VARCHAR[] AS "
        "members, (256 + random() * 2000)::INTEGER AS width, (256 + random() * 2000)::INTEGER AS height, "
        "hash(range + {start}) AS phash, NULL::VARCHAR AS caption, 'CC0-1.0' AS licence, 'somebody' AS attribution",
    ),
    "scores": (
        _NO_PART,
        "random() * 1000 AS sharpness, random() AS brightness, random() AS contrast, random() * 100 AS colourfulness",
    ),
    "caption": (
        _NO_PART,
        "'A ' || array_to_string(list_transform(range(12 + range % 20), "
        "lambda n: printf('word%d', hash(n * 1000003 + range) % 5000)), ' ') || '.' AS caption, "
        "'model' AS captioner, (13 + range % 20)::INTEGER AS num_words, "
        "NULL::VARCHAR AS original",
    ),
    "detection": (
        _NO_PART,
        "list_transform(range(range % 3), lambda n: {{'label': ['dog', 'cat', 'car'][1 + n], 'score': 0.5::DOUBLE, "
        "'x0': (1 + n)::DOUBLE, 'y0': 2::DOUBLE, 'x1': 100::DOUBLE, 'y1': 90::DOUBLE}}) AS objects, "
        "(range % 3)::INTEGER AS num_objects, "
        "0::INTEGER AS num_people",
    ),
}


@dataclass(frozen=True)
class Size:
    """How many shards of how many rows."""

    shards: int = 100
    rows: int = 100_000


TINY = Size(shards=2, rows=50)


def run(size: Size | None = None) -> list[Table]:
    size = size or Size()
    with tempfile.TemporaryDirectory(prefix="onegen-bench-") as folder:
        write_index(Path(folder), size)
        return [_table(Path(folder), size)]


BARS = {"statistics and page": (60.0, 2000), "query": (2.0, None), "checks of the indexes": (None, None)}
SQL = "SELECT count(*), avg(sharpness) FROM scores WHERE status = 'ok'"


def _table(out: Path, size: Size) -> Table:
    rows = []
    for arm, (seconds, megabytes) in BARS.items():
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.audit", arm, str(out)], capture_output=True, text=True, check=True
        )
        said = json.loads(done.stdout)
        assert said["rows"] == size.shards * size.rows
        is_met = said["wall"] < seconds and said["peak"] < (megabytes or math.inf) if seconds else None
        bar = ", ".join(f"< {bar:,g} {unit}" for bar, unit in ((seconds, "s"), (megabytes, "MB")) if bar)
        wall = f"{said['wall']:.1f} s, {said['peak']:,.0f} MB"
        rows.append(Row(arm, [said["cpu"]], None, bar, is_met, version("duckdb", "pyarrow"), wall))
    total = size.shards * size.rows
    return Table(f"audit: {total:,} samples", "CPU-seconds", "nothing", rows, ["bars are of wall time and peak RSS"])


def _child(arm: str, out: Path) -> None:
    """Do one arm and print what it took, with the start of this process left out."""
    begun, cpu = time.perf_counter(), time.process_time()
    dataset = Dataset(LocalStore(str(out)))
    with open_tables(dataset) as tables:
        if arm == "query":
            ((num_rows,),) = [row[:1] for row in zip(*ask(tables, SQL).read_all().to_pydict().values(), strict=True)]
        elif arm == "checks of the indexes":
            assert not check(dataset, tables, reads=False).counts
            ((num_rows,),) = tables.rows("SELECT count(*) FROM image")
        else:
            stats = statistics(dataset, tables)
            page(stats, Findings((), {}, 0), Gallery({}, {}))
            num_rows = stats.columns[IMAGE].counts["ok"]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    wall = time.perf_counter() - begun
    print(json.dumps({"rows": num_rows, "wall": wall, "cpu": time.process_time() - cpu, "peak": peak}))


def write_index(out: Path, size: Size) -> None:
    """Write a dataset of indexes alone, without a tar."""
    store = LocalStore(str(out))
    recipe: dict[str, object] = {"name": "synthetic"}
    card = Card(
        name="synthetic", kind="image", state="complete", recipe=recipe, recipe_digest="", source={}, source_root="",
        plan=PlanSummary(shards=size.shards, items=size.shards * size.rows, digest=""), digest="0" * 64,
    )  # fmt: skip
    store.write(CARD, card.to_json())
    with duckdb.connect(config={"threads": 2}) as connection:
        connection.execute("SELECT setseed(0.5)")
        for column, (parts, fields) in _COLUMNS.items():
            (out / "columns" / column).mkdir(parents=True)
            for shard in range(size.shards):
                name = f"{shard:06d}-{0:08x}.parquet"
                path = out / "columns" / column / name
                start = shard * size.rows
                base = _BASE.format(shard=shard, start=start, parts=parts.replace("{{", "{").replace("}}", "}"))
                chosen = fields.replace("{start}", str(start)).replace("{{", "{").replace("}}", "}")
                connection.execute(
                    f"COPY (SELECT {base}, {chosen} FROM range({size.rows})) TO '{path}' (COMPRESSION zstd)"
                )
                Dataset(store).commit(_manifest(column, shard, size.rows, {name: path.stat().st_size}))


def _manifest(column: str, shard: int, rows: int, files: dict[str, int]) -> Manifest:
    settings = {"name": column, "version": 1}
    return Manifest(
        column=column, shard=shard, kind="image", counts=Counts(rows=rows, ok=rows),
        files={name: FileRecord(size=size, sha256="0" * 64) for name, size in files.items()}, digest="", inputs={},
        input_digest=inputs_digest({}, None), fingerprint=fingerprint(settings), settings=settings,
        producer=Producer(name=column, version=1), run=_RUN,
    )  # fmt: skip


if __name__ == "__main__":
    _child(sys.argv[1], Path(sys.argv[2]))
