"""The report of a dataset: one page that needs nothing else, and its numbers as JSON. `onegen audit DATASET`.

Whatever a dataset says (captions, names, reasons) is text on the page and never markup; the page forbids itself to
fetch anything. Beside each plot its numbers stand in a table, for readers who do not see it.
"""

import html
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from onegen.audit import figures
from onegen.audit.changes import Change, changes, read_report
from onegen.audit.checks import Findings, check
from onegen.audit.markup import Figures, Size, card, details, document, number, picture, size_text, table
from onegen.audit.near import MOST, NearDuplicates, near_duplicates
from onegen.audit.statistics import Distribution, End, Statistics, statistics
from onegen.audit.tables import open_tables
from onegen.audit.thumbnails import Gallery, gallery
from onegen.shards.canonical import canonical
from onegen.shards.dataset import Dataset

STATISTICS = "statistics.json"
TAIL_SHOWN = 3
FOLDED = 20
"""Names of whom to thank that stand open on the page; more are folded."""


def audit(
    dataset: Dataset, full: bool = False, before: bytes | None = None
) -> tuple[Statistics, Findings, dict[str, bytes]]:
    """Return the statistics, the findings, and the files of the report by name; nothing is written.

    `full` reads every sample's bytes; `before` is the last report's statistics.json. Raises ConfigError where there is
    no dataset, or none that can be read.
    """
    with open_tables(dataset) as tables:
        findings = check(dataset, tables, full)
        stats = statistics(dataset, tables, findings.readings)
        near = near_duplicates(tables, dataset.require_card(), full)
        tails = [(key, number) for values in stats.distributions.values() for key, _, number in _ends(values) if key]
        wanted = [*(near.shown if near else ()), *tails]
        pictures = gallery(dataset, tables, wanted, [defect.key for defect in findings.defects if defect.key])
    numbers = stats.to_json() | {"defects": findings.counts, "samples_read": findings.read}
    if near is not None:
        numbers["near_duplicates"] = asdict(near)
    written = canonical(numbers) + b"\n"
    last = read_report(before, stats.name)
    differs = None if last is None else changes(last, json.loads(written))
    text = page(stats, findings, pictures, near, differs)
    return stats, findings, {"index.html": text.encode(), STATISTICS: written}


def page(
    stats: Statistics,
    findings: Findings,
    pictures: Gallery,
    near: NearDuplicates | None = None,
    differs: Sequence[Change] | None = None,
) -> str:
    """Return the page that shows all this, as HTML; `differs` is None where there was no report before."""
    return _Page(stats, findings, pictures, near, differs).text()


def _ends(values: Distribution) -> list[End]:
    return [*values.low[:TAIL_SHOWN], *values.high[:TAIL_SHOWN]]


class _Page:
    """The page in the making: its sections are text, its figures are gathered for the script at its end."""

    def __init__(
        self,
        stats: Statistics,
        findings: Findings,
        pictures: Gallery,
        near: NearDuplicates | None,
        differs: Sequence[Change] | None,
    ) -> None:
        self.stats, self.findings, self.pictures, self.near, self.differs = stats, findings, pictures, near, differs
        self.figures = Figures()
        self.measured = {reading.name for reading in findings.readings}

    def text(self) -> str:
        """Return the whole page."""
        sections = {
            "Overview": self._overview(),
            "Distributions": self._distributions(),
            "Near-duplicates": self._near_duplicates(),
            "Integrity": self._integrity(),
            "Gallery": self._gallery(),
            "Rights": self._rights(),
        }
        shown = {title: text for title, text in sections.items() if text}
        return document(self.stats.name, "Dataset report", shown, self.figures)

    def _overview(self) -> str:
        stats = self.stats
        building = ""
        if stats.state != "complete" or stats.shards < stats.planned_shards:
            building = f'<p class="bad">Still being built: {stats.shards:,} of {stats.planned_shards:,} shards.</p>'
        image = stats.columns["image"].counts
        size = sum(column.bytes for column in stats.columns.values())
        facts = {"items planned": f"{stats.items:,}", f"samples of kind {stats.kind}": f"{image['ok']:,}"} | {
            "columns": f"{len(stats.columns)}",
            "stored": size_text(size),
            "defects found": f"{sum(self.findings.counts.values()):,}",
        }
        listed = "".join(f"<li><b>{value}</b>{html.escape(name)}</li>" for name, value in facts.items())
        rows = [
            (
                name,
                *(c.counts.get(s, 0) for s in ("ok", "skipped", "filtered", "failed")),
                max(0, stats.items - c.counts["rows"]),
                Size(c.bytes),
                c.producer,
                _weights(c.weights),
            )
            for name, c in stats.columns.items()
        ]
        head = ("column", "ok", "skipped", "filtered", "failed", "missing", "size", "made by", "weights and licences")
        reasons = [(n, s, r, count) for n, c in stats.columns.items() for s, r, count in c.reasons]
        plot = self.figures.place(
            f"Rows by status for {len(rows)} columns; the table below has the numbers.",
            figures.coverage({name: column.counts for name, column in stats.columns.items()}, stats.items),
        )
        version = f"<p class=note>Version <code>{html.escape(stats.digest or 'none yet')}</code></p>"
        return (
            f"{building}<ul class=facts>{listed}</ul>{version}"
            f"<div class=card>{plot}{table('Columns', head, rows)}</div>"
            + (table("Why rows are not ok", ("column", "status", "reason", "rows"), reasons) if reasons else "")
            + self._changes()
        )

    def _changes(self) -> str:
        if self.differs is None:
            return "<p class=note>There was no report before this one.</p>"
        if not self.differs:
            return "<p class=note>Nothing changed since the last report.</p>"
        rows = [(what, _told(old), _told(new)) for what, old, new in self.differs]
        title = f"What changed since the last report: {len(rows):,} numbers"
        return details(title, table(title, ("what", "before", "now"), rows))

    def _near_duplicates(self) -> str:
        near = self.near
        if near is None:
            return ""
        if not near.compared:
            return f"<p class=note>Not looked for: there are more than {MOST:,} images; --full looks for them.</p>"
        told = (
            f"<p>{near.images:,} of {near.compared:,} images lie in {near.clusters:,} clusters, at most "
            f"{near.distance} bits of 64 from the first of theirs.</p>"
        )
        cards = [
            card(
                f"{size:,} images",
                "<div class=row>"
                + "".join(
                    picture(
                        self.pictures.images[image],
                        f"{self._named(*image)}, one of {size} near-duplicates",
                        self._named(*image),
                    )
                    if image in self.pictures.images
                    else f"<figure><figcaption>{html.escape(self._named(*image))}</figcaption></figure>"
                    for image in images
                )
                + "</div>",
            )
            for size, images in near.largest
        ]
        return told + f"<div class=grid>{''.join(cards)}</div>"

    def _distributions(self) -> str:
        cards = [self._distribution(name, values) for name, values in self.stats.distributions.items()]
        for name, counted in self.stats.categories.items():
            label = f"{name}: {counted.distinct:,} different values in {counted.count:,}."
            plot = self.figures.place(label, figures.ranking(counted.most), True) if counted.most else ""
            numbers = table(name, ("value", "count"), counted.most)
            cards.append(card(name, f"<p class=note>{html.escape(label)}</p>{plot}{details('Table', numbers)}"))
        for name, grid in self.stats.heat.items():
            label = f"Where the centres of {sum(map(sum, grid)):,} boxes of {name} lie in their images."
            numbers = table(name, [f"x{n}" for n in range(len(grid))], grid)
            plot = self.figures.place(label, figures.heat(grid), True)
            cards.append(card(f"{name}: positions", f"{plot}{details('Table', numbers)}"))
        if self.stats.cameras:
            cards.append(self._cameras(self.stats.cameras))
        again = [(name, count) for name, count in self.stats.duplicates.items()]
        return f"<div class=grid>{''.join(cards)}</div>" + table(
            "Rows that repeat an earlier one's value exactly", ("field", "rows"), again
        )

    def _cameras(self, grid: Sequence[Sequence[int]]) -> str:
        label = f"From where {sum(map(sum, grid)):,} cameras look; the first of a scene is at azimuth 0."
        across, down = 360 // len(grid[0]), 180 // len(grid)
        head = ["from", *(f"{-180 + across * n}°" for n in range(len(grid[0])))]
        rows = [(f"{90 - down * n}°", *row) for n, row in enumerate(grid)]
        numbers = details("Table", table("Cameras by elevation and azimuth", head, rows))
        plot = self.figures.place(label, figures.sphere(grid), True)
        return card("camera: azimuth and elevation", f"{plot}<p class=note>{label}</p>{numbers}")

    def _distribution(self, name: str, values: Distribution) -> str:
        middle = values.percentiles["50"]
        label = (
            f"{name}: {values.count:,} values from {number(values.minimum)} to {number(values.maximum)}, "
            f"median {number(middle)}, mean {number(values.mean)}, {values.missing:,} without one."
        )
        if name in self.measured:
            label += f" Of the {self.findings.read:,} samples whose bytes were read."
        rows = [(f"{point} %", value) for point, value in values.percentiles.items()]
        ends = "".join(
            picture(
                self.pictures.images[key, image],
                f"{name} {number(value)}, {self._named(key, image)}",
                f"{number(value)} · {self._named(key, image)}",
            )
            for key, value, image in _ends(values)
            if (key, image) in self.pictures.images
        )
        tail = details("Lowest and highest", f"<div class=row>{ends}</div>") if ends else ""
        return card(
            name,
            f"{self.figures.place(label, figures.histogram(name, values))}<p class=note>{html.escape(label)}</p>"
            f"{details('Percentiles', table(name, ('percentile', 'value'), rows))}{tail}",
        )

    def _named(self, key: str, image: int) -> str:
        """Return what an image is called: its sample, and of several images which."""
        return f"{key} image {image}" if self.stats.kind != "image" else key

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
            f"{read}{table('Defects by kind', ('kind', 'found'), sorted(counts.items()))}"
            f"{details(f'The first {len(named)} by name', table('Defects', head, named))}"
        )

    def _gallery(self) -> str:
        return "".join(
            card(
                key,
                "<div class=row>"
                + "".join(
                    picture(url, f"{label} of sample {key}", label)
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
        rights = self.stats.rights
        tables = [
            table(f"{name.capitalize()} of images, the most frequent", (name, "images"), rights[name])
            for name in ("licence", "source")
        ]
        thanks = table("Attribution of images", ("attribution", "images"), rights["attribution"])
        many = len(rights["attribution"]) > FOLDED
        tables.append(details(f"Whom to thank: {len(rights['attribution']):,} names", thanks) if many else thanks)
        withdrawn = rights["withdrawn"]
        if not withdrawn:
            return "".join(tables) + "<p>Nothing was taken down, and nobody opted out.</p>"
        return "".join(tables) + table("Takedowns, opt-outs and what was passed over", ("what", "number"), withdrawn)


def _weights(weights: Sequence[dict[str, str]]) -> str:
    return "; ".join(f"{w.get('name')} ({w.get('licence', 'no licence told')})" for w in weights)


def _told(value: Any) -> Any:
    """Return a number or a text of a report as a table shows it."""
    return "" if value is None else value
