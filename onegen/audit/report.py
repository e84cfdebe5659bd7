"""The report of a dataset: one page that needs nothing else, and its numbers as JSON. `onegen audit DATASET`.

Whatever a dataset says (captions, names, reasons) is text on the page and never markup; the page forbids itself to
fetch anything. Beside each plot its numbers stand in a table, for readers who do not see it.
"""

import html
import json
from collections.abc import Iterator, Sequence
from importlib.resources import files
from typing import Any

from onegen.audit import figures
from onegen.audit.checks import Findings, check
from onegen.audit.statistics import Distribution, Statistics, statistics
from onegen.audit.tables import open_tables
from onegen.audit.thumbnails import Gallery, gallery
from onegen.shards.canonical import canonical
from onegen.shards.dataset import Dataset

TAIL_SHOWN = 3
_POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"
_PARTS = {"overview": "Overview", "distributions": "Distributions", "integrity": "Integrity"} | {
    "gallery": "Gallery",
    "rights": "Rights",
}


def audit(dataset: Dataset, full: bool = False) -> tuple[Statistics, Findings, dict[str, bytes]]:
    """Return the statistics, the findings, and the files of the report by name; nothing is written.

    `full` reads every sample's bytes. Raises ConfigError where there is no dataset, or none that can be read.
    """
    with open_tables(dataset) as tables:
        stats, findings = statistics(dataset, tables), check(dataset, tables, full)
        tails = [key for values in stats.distributions.values() for key, _ in _ends(values)]
        worst = [defect.key for defect in findings.defects if defect.key]
        pictures = gallery(dataset, tables, [key for key in tails if key], worst)
    numbers = stats.to_json() | {"defects": findings.counts, "samples_read": findings.read}
    return (
        stats,
        findings,
        {"index.html": page(stats, findings, pictures).encode(), "statistics.json": canonical(numbers) + b"\n"},
    )


def page(stats: Statistics, findings: Findings, pictures: Gallery) -> str:
    """Return the page that shows all this, as HTML."""
    return _Page(stats, findings, pictures).text()


def _ends(values: Distribution) -> list[tuple[str, float]]:
    return [*values.low[:TAIL_SHOWN], *values.high[:TAIL_SHOWN]]


class _Page:
    """The page in the making: its sections are text, its figures are gathered for the script at its end."""

    def __init__(self, stats: Statistics, findings: Findings, pictures: Gallery) -> None:
        self.stats, self.findings, self.pictures = stats, findings, pictures
        self.figures: dict[str, figures.Figure] = {}

    def text(self) -> str:
        """Return the whole page."""
        sections = {
            "overview": self._overview(),
            "distributions": self._distributions(),
            "integrity": self._integrity(),
            "gallery": self._gallery(),
            "rights": self._rights(),
        }
        body = "".join(
            f'<section aria-labelledby="{name}"><h2 id="{name}" tabindex="-1">{_PARTS[name]}</h2>{text}</section>'
            for name, text in sections.items()
        )
        links = "".join(f'<a href="#{name}">{title}</a>' for name, title in _PARTS.items())
        title = html.escape(self.stats.name)
        return (
            f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}: what is in it</title>'
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
            f'<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">'
            f'<style>{_asset("page.css")}</style></head><body><a class="skip" href="#overview">Skip to content</a>'
            f'<header><p class="note">Dataset report</p><h1>{title}</h1>'
            f'<nav aria-label="Sections">{links}</nav></header>'
            f"<main>{body}</main><footer class=note>Made by onegen audit. Numbers: statistics.json.</footer>"
            f'<script type="application/json" id="figures">{_inert(self.figures)}</script>'
            f"<script>{_plotly()}</script><script>{_asset('page.js')}</script></body></html>"
        )

    def _plot(self, label: str, figure: figures.Figure, is_tall: bool = False) -> str:
        """Return the place of a figure; `label` is what a screen reader says of it."""
        name = f"figure-{len(self.figures)}"
        self.figures[name] = figure
        size = " tall" if is_tall else ""
        return f'<div class="plot{size}" id="{name}" role="img" aria-label="{html.escape(label)}"></div>'

    def _overview(self) -> str:
        stats = self.stats
        building = ""
        if stats.state != "complete" or stats.shards < stats.planned_shards:
            building = f'<p class="bad">Still being built: {stats.shards:,} of {stats.planned_shards:,} shards.</p>'
        image = stats.columns["image"].counts
        size = sum(column.bytes for column in stats.columns.values())
        facts = {"items planned": f"{stats.items:,}", f"samples of kind {stats.kind}": f"{image['ok']:,}"} | {
            "columns": f"{len(stats.columns)}",
            "stored": _bytes(size),
            "defects found": f"{sum(self.findings.counts.values()):,}",
        }
        listed = "".join(f"<li><b>{value}</b>{html.escape(name)}</li>" for name, value in facts.items())
        rows = [
            (
                name,
                *(c.counts.get(s, 0) for s in ("ok", "skipped", "filtered", "failed")),
                max(0, stats.items - c.counts["rows"]),
                _bytes(c.bytes),
                c.producer,
                _weights(c.weights),
            )
            for name, c in stats.columns.items()
        ]
        head = ("column", "ok", "skipped", "filtered", "failed", "missing", "size", "made by", "weights and licences")
        reasons = [(n, s, r, count) for n, c in stats.columns.items() for s, r, count in c.reasons]
        plot = self._plot(
            f"Rows by status for {len(rows)} columns; the table below has the numbers.",
            figures.coverage({name: column.counts for name, column in stats.columns.items()}, stats.items),
        )
        version = f"<p class=note>Version <code>{html.escape(stats.digest or 'none yet')}</code></p>"
        return (
            f"{building}<ul class=facts>{listed}</ul>{version}"
            f"<div class=card>{plot}{_table('Columns', head, rows)}</div>"
            + (_table("Why rows are not ok", ("column", "status", "reason", "rows"), reasons) if reasons else "")
        )

    def _distributions(self) -> str:
        cards = [self._distribution(name, values) for name, values in self.stats.distributions.items()]
        for name, counted in self.stats.categories.items():
            label = f"{name}: {counted.distinct:,} different values in {counted.count:,}."
            plot = self._plot(label, figures.ranking(counted.most), True) if counted.most else ""
            table = _table(name, ("value", "count"), counted.most)
            cards.append(_card(name, f"<p class=note>{html.escape(label)}</p>{plot}{_details('Table', table)}"))
        for name, grid in self.stats.heat.items():
            label = f"Where the centres of {sum(map(sum, grid)):,} boxes of {name} lie in their images."
            table = _table(name, [f"x{n}" for n in range(len(grid))], grid)
            plot = self._plot(label, figures.heat(grid), True)
            cards.append(_card(f"{name}: positions", f"{plot}{_details('Table', table)}"))
        again = [(name, count) for name, count in self.stats.duplicates.items()]
        return f"<div class=grid>{''.join(cards)}</div>" + _table(
            "Rows that repeat an earlier one's value exactly", ("field", "rows"), again
        )

    def _distribution(self, name: str, values: Distribution) -> str:
        middle = values.percentiles["50"]
        label = (
            f"{name}: {values.count:,} values from {_number(values.minimum)} to {_number(values.maximum)}, "
            f"median {_number(middle)}, mean {_number(values.mean)}, {values.missing:,} without one."
        )
        rows = [(f"{point} %", value) for point, value in values.percentiles.items()]
        ends = "".join(
            _picture(self.pictures.images[key], f"{name} {_number(value)}, sample {key}", f"{_number(value)} · {key}")
            for key, value in _ends(values)
            if key in self.pictures.images
        )
        tail = _details("Lowest and highest samples", f"<div class=row>{ends}</div>") if ends else ""
        return _card(
            name,
            f"{self._plot(label, figures.histogram(name, values))}<p class=note>{html.escape(label)}</p>"
            f"{_details('Percentiles', _table(name, ('percentile', 'value'), rows))}{tail}",
        )

    def _integrity(self) -> str:
        counts = self.findings.counts
        read = f"<p class=note>Bytes of {self.findings.read:,} samples were read; --full reads all.</p>"
        if not counts:
            return f"<p>No defect was found.</p>{read}"
        named = [
            (d.kind, d.column, "" if d.shard < 0 else f"{d.shard:06d}", d.key or "", d.what)
            for d in self.findings.defects
        ]
        head = ("kind", "column", "shard", "key", "what is wrong")
        return (
            f"{read}{_table('Defects by kind', ('kind', 'found'), sorted(counts.items()))}"
            f"{_details(f'The first {len(named)} by name', _table('Defects', head, named))}"
        )

    def _gallery(self) -> str:
        return "".join(
            _card(
                key,
                "<div class=row>"
                + "".join(
                    _picture(url, f"{label} of sample {key}", label)
                    if url
                    else f"<figure><figcaption><b>{html.escape(label)}</b><br>"
                    f"{'<br>'.join(html.escape(line) for line in lines[:12])}</figcaption></figure>"
                    for label, url, lines in tiles
                )
                + "</div>",
            )
            for key, tiles in self.pictures.samples.items()
        )

    def _rights(self) -> str:
        return "".join(
            _table(f"{name.capitalize()} of samples, the most frequent", (name, "samples"), most)
            for name, most in self.stats.rights.items()
        )


def _card(title: str, body: str) -> str:
    return f"<article class=card><h3>{html.escape(title)}</h3>{body}</article>"


def _details(title: str, body: str) -> str:
    return f"<details><summary>{html.escape(title)}</summary>{body}</details>"


def _picture(url: str, alt: str, caption: str) -> str:
    return (
        f'<figure><img src="{url}" alt="{html.escape(alt)}" loading="lazy">'
        f"<figcaption>{html.escape(caption)}</figcaption></figure>"
    )


def _table(title: str, head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    names = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in head)
    body = "".join(f"<tr>{''.join(_cells(row))}</tr>" for row in rows)
    return (
        f'<div class=scroll tabindex="0" role="region" aria-label="{html.escape(title)}"><table>'
        f"<caption>{html.escape(title)}</caption><thead><tr>{names}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _cells(row: Sequence[Any]) -> Iterator[str]:
    for value in row:
        if isinstance(value, int | float):
            yield f"<td class=n>{_number(value)}</td>"
        else:
            yield f"<td>{html.escape(str(value))}</td>"


def _number(value: float | None) -> str:
    if value is None:
        return "none"
    return f"{int(value):,}" if float(value).is_integer() else f"{value:,.4g}"


def _bytes(size: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:,.3g} TB"


def _weights(weights: Sequence[dict[str, str]]) -> str:
    return "; ".join(f"{w.get('name')} ({w.get('licence', 'no licence told')})" for w in weights)


def _inert(value: Any) -> str:
    """Return JSON that no HTML parser finds the end of a script in."""
    return json.dumps(value).replace("<", "\\u003c")


def _asset(name: str) -> str:
    return (files("onegen.audit") / "page" / name).read_text(encoding="utf-8")


def _plotly() -> str:
    """Return the library that draws: the script that the package plotly ships. Raises ModuleNotFoundError."""
    return (
        (files("plotly") / "package_data" / "plotly.min.js")
        .read_text(encoding="utf-8")
        .replace("</script", "<\\/script")
    )
