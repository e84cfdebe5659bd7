"""All results on one page and in one JSON: the paper's tables with ours beside them, substitutes apart.

RESULTS/report/index.html   opens in a browser, from anywhere
RESULTS/report/report.json  the same figures, and the scores of every item
RESULTS/report/pictures/    worst and best items
"""

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, UnidentifiedImageError

from onegen.errors import ConfigError, SampleError
from onegen.eval.page import ItemPicture, ItemScores, Page, Row, ShownTable, write_page
from onegen.eval.protocol import Protocol
from onegen.eval.published import OURS, TABLES, Table
from onegen.eval.records import ITEMS, RESULT, Result, read_result
from onegen.eval.score import read_rows
from onegen.eval.table import make_protocol
from onegen.storage.whole import whole

_SHOWN = 3
"""Worst items, and best ones, that are drawn of a result."""
_SIDE = 220


@dataclass(frozen=True, slots=True)
class Read:
    """A result, where it lies, and its rows, one an item."""

    result: Result
    folder: Path
    rows: Sequence[Mapping[str, Any]]


def write_report(results: Path) -> tuple[Path, Path]:
    """Write page and JSON of all results below a folder; return their paths. Raises ConfigError for none."""
    reads = [_read(path) for path in sorted(results.glob(f"*/*/{RESULT}"))]
    if not reads:
        raise ConfigError(
            f"RESULTS must hold PROTOCOL/NAME/{RESULT}, and {results} has none. Score some pictures first."
        )
    out = results / "report"
    (out / "pictures").mkdir(parents=True, exist_ok=True)
    tables = [*(_shown(table, reads) for table in TABLES), *_own_tables(reads)]
    items = [picture for read in reads for picture in _items(read, out)]
    scores = [_scores(read) for read in reads if read.rows]
    page = Page(tables, items, scores, [(f"{r.result.label} of {r.result.name}", _facts(r.result)) for r in reads])
    with whole(out / "index.html") as part:
        part.write_text(write_page(page), encoding="utf-8")
    with whole(out / "report.json") as part:
        document = {"tables": [_plain(table) for table in tables], "results": [_record(read) for read in reads]}
        part.write_text(json.dumps(document, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    return out / "index.html", out / "report.json"


def _read(path: Path) -> Read:
    items = path.parent / ITEMS
    return Read(read_result(path), path.parent, read_rows(items) if items.is_file() else [])


def _shown(table: Table, reads: Sequence[Read]) -> ShownTable:
    """Return a published table with ours below, where the metric is the paper's own."""
    rows = [Row(name, values, is_paper=name == OURS) for name, values in table.rows.items()]
    ours: dict[str, dict[str, float]] = {}
    notes: dict[str, set[str]] = {}
    for read in (read for read in reads if read.result.table == table.number):
        for metric in read.result.metrics:
            if _is_papers(read.result, metric) and metric.column in table.columns and metric.value is not None:
                aligned = f", {metric.note}" if metric.note.startswith("aligned") else ""
                name = f"{read.result.name}{aligned}"
                ours.setdefault(name, {})[metric.column] = metric.value * metric.scale
                notes.setdefault(name, set()).update(_caveats(read.result))
    for name, values in ours.items():
        figures = tuple(values.get(column) for column in table.columns)
        rows.append(Row(name, figures, is_ours=True, note="; ".join(sorted(notes[name]))))
    return ShownTable(f"Table {table.number}. {table.title}", table.columns, rows, table.note, True, table.digits)


def _own_tables(reads: Sequence[Read]) -> Iterator[ShownTable]:
    """Yield a table a protocol of what is not in the paper: substitutes, and further metrics; a column each of ours."""
    for label in dict.fromkeys(read.result.label for read in reads):
        of_label = [read.result for read in reads if read.result.label == label]
        own = {m.name: m for result in of_label for m in result.metrics if not _is_papers(result, m)}
        rows = [Row(name, tuple(_value(r, name) for r in of_label), note=metric.note) for name, metric in own.items()]
        rows = [row for row in rows if any(value is not None for value in row.values)]
        if rows:
            names = tuple(result.name for result in of_label)
            yield ShownTable(f"{label}: apart from the paper's tables", names, rows, _note(of_label), is_paper=False)


def _note(results: Sequence[Result]) -> str:
    """Return the caveats of results, those that are alike once."""
    named: dict[str, list[str]] = {}
    for result in results:
        named.setdefault("; ".join(_caveats(result)), []).append(result.name)
    return " ".join(f"{', '.join(names)}: {caveats}." for caveats, names in named.items() if caveats)


def _value(result: Result, name: str) -> float | None:
    """Return a metric of a result in the unit of its table."""
    for metric in result.metrics:
        if metric.name == name and metric.value is not None:
            return metric.value * metric.scale
    return None


def _is_papers(result: Result, metric: Any) -> bool:
    """Say whether a metric may stand beside the paper's: the same metric, of every item of the same data."""
    return bool(metric.exact and metric.column and result.table and not result.lacks and not result.left_out)


def _caveats(result: Result) -> list[str]:
    left_out = [f"{result.left_out} items left out"] if result.left_out else []
    return [*filter(None, [result.lacks]), *result.approximations, *left_out]


def _facts(result: Result) -> list[tuple[str, str]]:
    """Return what a result rests on, a line each."""
    drawn = result.generation
    facts = [
        ("items", f"{result.items:,} of {result.units:,} units; {result.left_out} left out"),
        ("version", f"{result.protocol} version {result.version}"),
        ("data", f"digest {result.data_digest}{f'; {result.lacks}' if result.lacks else ''}"),
        ("options", ", ".join(f"{name} = {value}" for name, value in result.options.items())),
        ("metric weights", "; ".join(_weights(weight) for weight in result.metric_models) or "none"),
    ]
    if drawn is not None:
        facts += [
            ("model", f"{drawn.model.name}, {drawn.model.dtype}, sha256 {drawn.model.sha256}"),
            ("sampling", ", ".join(f"{name} = {value}" for name, value in drawn.sampling.model_dump().items())),
            ("seed", f"{drawn.seed}: {drawn.seed_rule}"),
        ]
    else:
        facts.append(("model", f"not told: pictures found in {result.folder}"))
    approximations = [*result.approximations, *(drawn.approximations if drawn else [])]
    facts.append(("approximations", "; ".join(approximations) or "none"))
    facts += [("skipped", f"{name}: {way}") for name, way in result.skipped.items()]
    return [*facts, *(("the paper does not say", text) for text in result.unknown)]


def _weights(weight: Mapping[str, str]) -> str:
    return f"{weight['name']} {weight['revision']} {weight['sha256'][:12]}".strip()


def _items(read: Read, out: Path) -> Iterator[ItemPicture]:
    """Yield the worst and the best items of a result, drawn."""
    result = read.result
    protocol = make_protocol(result.protocol, {**result.options, "data": _data_of(read)})
    field = protocol.ranked_by
    known = [row for row in read.rows if row["status"] == "ok" and row.get(field) is not None]
    ranked = sorted(known, key=lambda row: (_order(protocol, row[field]), row["item"]))
    worst = _of_different_units(ranked)
    places = {"worst": worst, "best": _of_different_units([row for row in ranked[::-1] if row not in worst])}
    for place, chosen in places.items():
        for row in chosen:
            yield _drawn(read, protocol, row, place, out)


def _of_different_units(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the first rows, no two of one unit."""
    firsts: dict[str, Mapping[str, Any]] = {}
    for row in rows:
        firsts.setdefault(row["unit"], row)
    return list(firsts.values())[:_SHOWN]


def _order(protocol: Protocol, value: float) -> float:
    return float(value) if protocol.higher_is_better else -float(value)


def _drawn(read: Read, protocol: Protocol, row: Mapping[str, Any], place: str, out: Path) -> ItemPicture:
    """Return an item with its pictures written beside the page; what can no longer be read is not shown."""
    try:
        pictures = protocol.illustrate(dict(row), Path(read.result.folder))
    except (OSError, ConfigError, SampleError, UnidentifiedImageError, ValueError):
        pictures = []
    files = []
    for number, (caption, picture) in enumerate(pictures):
        name = hashlib.sha256(f"{read.result.label}/{read.result.name}/{row['item']}/{number}".encode()).hexdigest()[
            :16
        ]
        _thumbnail(picture).save(out / "pictures" / f"{name}.jpg", quality=90)
        files.append((f"pictures/{name}.jpg", caption))
    value = row[protocol.ranked_by]
    score = f"{protocol.ranked_by} {'yes' if value is True else 'no' if value is False else f'{value:.4g}'}"
    words = [str(row[name]) for name in ("prompt", "instruction", "why") if row.get(name)]
    return ItemPicture(f"{read.result.label} of {read.result.name}", place, str(row["item"]), score, words, files)


def _thumbnail(picture: Image.Image) -> Image.Image:
    small = picture.convert("RGB")
    small.thumbnail((_SIDE, _SIDE))
    return small


def _data_of(read: Read) -> str | None:
    """Return where the data lay when it was scored."""
    return read.result.data or None


_UNSHOWN = ("unit", "item", "picture", "details", "metadata")
"""Fields that the table of items has no column for."""


def _scores(read: Read) -> ItemScores:
    """Return the scores of all items as a table; columns without a value are left out."""
    columns = [name for name in read.rows[0] if name not in _UNSHOWN and any(_has(row, name) for row in read.rows)]
    rows = [(str(row["item"]), *(row.get(name) for name in columns)) for row in read.rows]
    return ItemScores(f"{read.result.label} of {read.result.name}", ("item", *columns), rows)


def _has(row: Mapping[str, Any], name: str) -> bool:
    return row.get(name) not in (None, "")


def _record(read: Read) -> dict[str, Any]:
    rows = [{name: _finite(value) for name, value in row.items()} for row in read.rows]
    return {"path": str(read.folder), **read.result.model_dump(mode="json"), "item_scores": rows}


def _finite(value: Any) -> Any:
    """Return a value as JSON may have it: what is infinite, such as the error of an untold camera, is null."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _plain(table: ShownTable) -> dict[str, Any]:
    rows = [
        {
            "name": row.name,
            "ours": row.is_ours,
            "note": row.note,
            "values": dict(zip(table.columns, row.values, strict=True)),
        }
        for row in table.rows
    ]
    return {"title": table.title, "is_paper": table.is_paper, "note": table.note, "rows": rows}
