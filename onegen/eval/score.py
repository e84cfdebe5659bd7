"""The second step: score a folder of pictures, whoever drew them. The model is not looked at.

    results/PROTOCOL/NAME/scores/000017-3f9a21bc.parquet   rows of a chunk of units, named by all they depend on
    results/PROTOCOL/NAME/items.parquet                    one row an item, all of them
    results/PROTOCOL/NAME/result.json                      the summary: a fold over the rows

Pieces that are there are not scored again; whichever command finds all of them folds them.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from onegen.errors import ConfigError, SampleError
from onegen.eval.crew import CHUNK, IN_PROCESS, WHOLE, Crew, Part, finished, run_chunks, started
from onegen.eval.protocol import COMMON, Protocol, Row, Unit
from onegen.eval.records import (
    ITEMS,
    PIECES,
    RESULT,
    Result,
    data_digest,
    options_of,
    read_generation,
    write_record,
)
from onegen.executor.contract import Finished, RowsStarted, Task
from onegen.shards.canonical import canonical, storable
from onegen.storage import open_store
from onegen.storage.store import Store
from onegen.storage.whole import whole

_SHOWN = 3
_SEEDS = "seeds: each picture of ours has its own, by the rule that generation.json tells"
"""What no table of the paper says."""


@dataclass(frozen=True, slots=True)
class Incomplete:
    """Scores of this command's part are there, and those of others are not yet."""

    done: int
    of: int


@dataclass
class ScoreJob:
    """Score chunks of units into pieces; `names` are the file names of the pieces."""

    protocol: Protocol
    units: tuple[Unit, ...]
    folder: Path
    out: Path
    names: Mapping[int, str]

    @property
    def store(self) -> Store:
        """Where the scores lie."""
        return open_store(self.out)

    def load(self) -> None:
        """Load what the metrics need."""
        self.protocol.load()

    def perform(self, task: Task) -> Iterator[RowsStarted | Finished]:
        """Score the units of a chunk; what ended a worker twice has failed."""
        (column,) = task.columns
        rows: list[Row] = []
        for position, unit in enumerate(_chunk(self.units, task.shard)):
            blame = task.blamed.get((column, position))
            if blame is not None:
                rows.append(_unscored(unit, "failed", blame.reason, blame.message))
                continue
            yield started(column, task.shard, position)
            rows += score_unit(self.protocol, unit, self.folder)
        _write_rows(self.out / PIECES / self.names[task.shard], rows, self.protocol)
        yield finished()


def score_unit(protocol: Protocol, unit: Unit, folder: Path) -> list[Row]:
    """Return the rows of a unit: scored, or one that says why not."""
    lacking = missing_of(protocol, unit, folder)
    if lacking:
        return [_unscored(unit, "missing", "missing", f"{lacking[0]} is not there")]
    try:
        rows = protocol.score(unit, folder)
    except SampleError as error:
        return [_unscored(unit, "failed", error.reason, str(error))]
    return [{"unit": unit.name, "status": "ok", "reason": "", **row} for row in rows]


def score(
    protocol: Protocol,
    folder: Path,
    out: Path,
    name: str,
    crew: Crew = IN_PROCESS,
    part: Part = WHOLE,
    is_partial: bool = False,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> Result | Incomplete:
    """Score the part's units of a folder of pictures, and fold everything once all parts are scored.

    Raises ConfigError for missing, extra and unreadable pictures, unless `is_partial`: then their rows say so, and the
    summary is of the others.
    """
    if not folder.is_dir():
        raise ConfigError(f"FOLDER must be a folder of pictures, got {folder}, which is none.")
    units = tuple(protocol.units())
    if not is_partial:
        check_folder(protocol, units, folder)
    digest = data_digest(protocol)
    names = {chunk: _piece_name(protocol, units, chunk, folder, digest) for chunk in range(-(-len(units) // CHUNK))}
    own = [chunk for chunk in names if part.takes(chunk)]
    todo = [chunk for chunk in own if not (out / PIECES / names[chunk]).is_file()]
    base = len(own) - len(todo)
    job = ScoreJob(protocol, units, folder, out, names)
    run_chunks(job, todo, "scores", crew, lambda done: progress(base + done, len(own)))
    there = [chunk for chunk in names if (out / PIECES / names[chunk]).is_file()]
    if len(there) < len(names):
        return Incomplete(len(there), len(names))
    _sweep(out / PIECES, set(names.values()))
    rows = [row for chunk in sorted(names) for row in read_rows(out / PIECES / names[chunk])]
    result = fold(protocol, rows, name, digest, len(units), folder, is_partial)
    _write_rows(out / ITEMS, rows, protocol)
    write_record(out / RESULT, result)
    return result


def fold(
    protocol: Protocol, rows: Sequence[Row], name: str, digest: str, num_units: int, folder: Path, is_partial: bool
) -> Result:
    """Return the result of rows; raises ConfigError where some could not be scored, unless `is_partial`."""
    ok = [row for row in rows if row["status"] == "ok"]
    bad = [row for row in rows if row["status"] != "ok"]
    if bad and not is_partial:
        shown = "; ".join(f"{row['unit']}: {row['reason']}" for row in bad[:_SHOWN])
        raise ConfigError(
            f"scores must be of every item, and {len(bad)} of {len(rows)} could not be scored: {shown}. Mend them, or "
            f"say --partial."
        )
    return Result(
        protocol=protocol.name,
        label=protocol.label,
        version=protocol.version,
        table=protocol.table,
        name=name,
        options=options_of(protocol),
        data_digest=digest,
        units=num_units,
        items=len(ok),
        lacks=protocol.lacks(),
        left_out=len(bad),
        metrics=protocol.summarise(ok),
        skipped=protocol.skipped(),
        metric_models=protocol.metric_models(),
        approximations=protocol.approximations(),
        unknown=[*protocol.unknown, *([_SEEDS] if protocol.table else [])],
        folder=str(folder.resolve()),
        data="" if protocol.data is None else str(protocol.data.resolve()),
        generation=read_generation(folder.parent),
    )


def missing_of(protocol: Protocol, unit: Unit, folder: Path) -> list[str]:
    """Return the files of a unit that are not there."""
    return [output for output in unit.outputs if protocol.find(folder, output) is None]


def check_folder(protocol: Protocol, units: Sequence[Unit], folder: Path) -> None:
    """Raise ConfigError for files that a folder lacks, and for pictures in it that are of no unit."""
    wanted = [(unit, output, protocol.find(folder, output)) for unit in units for output in unit.outputs]
    missing = [output for _, output, path in wanted if path is None]
    if missing:
        raise ConfigError(
            f"pictures of {protocol.name} must be complete, and {len(missing)} of {len(wanted)} are missing in "
            f"{folder}: {', '.join(missing[:_SHOWN])}. Draw them, or say --partial."
        )
    if not protocol.is_only_pictures(folder):
        return
    known = {path for _, _, path in wanted}
    extra = sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and path not in known and not _may_lie_there(protocol, path)
    )
    if extra:
        raise ConfigError(
            f"pictures of {protocol.name} must be those of its units, and {len(extra)} more lie in {folder}: "
            f"{', '.join(extra[:_SHOWN])}. Move them away, or say --partial."
        )


def _may_lie_there(protocol: Protocol, path: Path) -> bool:
    return path.name.startswith(".") or path.name in protocol.may_have_more


def read_rows(path: Path) -> list[Row]:
    """Return the rows of a piece, or of all items; raises ConfigError for a file that does not read."""
    try:
        with path.open("rb") as file:
            rows: list[Row] = pq.ParquetFile(file).read(use_threads=False).to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise ConfigError(f"{path} must be scores, got {error}. Remove it, and score again.") from error
    return rows


def _write_rows(path: Path, rows: Sequence[Row], protocol: Protocol) -> None:
    schema = pa.schema(list({**COMMON, **protocol.fields}.items()))
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as part:
        pq.write_table(pa.Table.from_pylist([dict(row) for row in rows], schema=schema), part)


def _unscored(unit: Unit, status: str, reason: str, message: str) -> Row:
    return {"unit": unit.name, "item": unit.name, "status": status, "reason": f"{reason}: {storable(message)}"}


def _piece_name(protocol: Protocol, units: Sequence[Unit], chunk: int, folder: Path, digest: str) -> str:
    """Return the name of a chunk's scores, made from all that they depend on; a file is known by size and time."""
    stamps: list[Any] = []
    for unit in _chunk(units, chunk):
        for output in unit.outputs:
            path = protocol.find(folder, output)
            stat = path.stat() if path is not None else None
            stamps.append([unit.name, output, None if stat is None else [stat.st_size, stat.st_mtime_ns]])
    about = [protocol.label, protocol.version, options_of(protocol), protocol.metric_models(), digest, stamps]
    about.append(str(folder.resolve()))
    return f"{chunk:06d}-{hashlib.sha256(canonical(about)).hexdigest()[:12]}.parquet"


def _sweep(folder: Path, names: set[str]) -> None:
    """Remove scores of pictures or settings that are no more."""
    for path in folder.glob("*-*.parquet"):
        if path.name not in names and path.name[:6].isdecimal():
            path.unlink(missing_ok=True)


def _chunk(units: Sequence[Unit], number: int) -> Sequence[Unit]:
    return units[number * CHUNK : (number + 1) * CHUNK]
