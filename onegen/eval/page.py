"""The page of a report: plain HTML with its style inside, no script, nothing fetched."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

_STYLE = """
:root { color-scheme: light dark; --faint: #666; }
@media (prefers-color-scheme: dark) { :root { --faint: #a8a8a8; } }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.25rem; margin-top: 2.5rem; } h3 { font-size: 1rem; margin-bottom: .3rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; margin: .5rem 0; }
th, td { padding: .25rem .8rem; text-align: right; border-bottom: 1px solid #8884; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
td.note { text-align: left; white-space: normal; min-width: 14rem; }
th { white-space: normal; max-width: 12rem; vertical-align: bottom; }
tr.paper td { font-weight: 600; } tr.ours td { background: #4a90d922; }
td.note, p.note, figcaption, dt { color: var(--faint); font-size: .85rem; }
nav { font-size: .9rem; } summary { cursor: pointer; margin: .4rem 0; }
details .scroll { max-height: 30rem; overflow-y: auto; font-size: .8rem; }
details td { white-space: normal; max-width: 24rem; } details th { position: sticky; top: 0; background: Canvas; }
.items { display: flex; flex-wrap: wrap; gap: 1rem; }
.item { border: 1px solid #8884; border-radius: 6px; padding: .6rem; max-width: 100%; }
.item p { margin: .1rem 0 .4rem; font-size: .85rem; max-width: 44rem; }
.pair { display: flex; flex-wrap: wrap; gap: .5rem; } figure { margin: 0; } img { max-width: 220px; display: block; }
dl { display: grid; grid-template-columns: 11rem 1fr; gap: .15rem 1rem; margin: .3rem 0 1.2rem; }
dd { margin: 0; overflow-wrap: anywhere; font-size: .85rem; }
""".strip()


@dataclass(frozen=True, slots=True)
class Row:
    """A row of figures: the paper's own model, or ours, or another's."""

    name: str
    values: tuple[float | None, ...]
    is_paper: bool = False
    is_ours: bool = False
    note: str = ""


@dataclass(frozen=True, slots=True)
class ShownTable:
    """A table: of the paper with ours below, or of what the paper has not; `digits` behind the point, by column."""

    title: str
    columns: tuple[str, ...]
    rows: Sequence[Row]
    note: str
    is_paper: bool
    digits: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class ItemPicture:
    """One item: of which result, worst or best, its score, what was asked, and (file, caption) of its pictures."""

    result: str
    place: str
    item: str
    score: str
    words: Sequence[str]
    pictures: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class ItemScores:
    """The scores of every item of a result: its columns, the item's name first, and a row an item."""

    result: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Page:
    """All of a report."""

    tables: Sequence[ShownTable]
    items: Sequence[ItemPicture]
    scores: Sequence[ItemScores]
    facts: Sequence[tuple[str, Sequence[tuple[str, str]]]]


def write_page(page: Page) -> str:
    """Return the page as HTML."""
    paper = [table for table in page.tables if table.is_paper]
    own = [table for table in page.tables if not table.is_paper]
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8>",
        "<meta name=viewport content='width=device-width, initial-scale=1'>",
        f"<title>Evaluation</title><style>{_STYLE}</style>",
        "<h1>Evaluation</h1>",
        "<p>The paper's tables come first, with our rows shaded; a figure stands there only where the metric is the "
        "paper's own and the data are all of the benchmark's. Substitutes and further metrics have tables of their "
        "own. What each figure rests on is at the end.</p>",
        "<nav><a href='#paper'>The paper's tables</a> · <a href='#own'>Substitutes</a> · <a href='#items'>Worst and "
        "best items</a> · <a href='#scores'>Scores of all items</a> · <a href='#facts'>What the figures rest on</a>"
        "</nav>",
        "<h2 id=paper>The paper's tables</h2>",
        *map(_table, paper),
        "<h2 id=own>Substitutes, parts of benchmarks and further metrics</h2>",
        *map(_table, own),
        "<h2 id=items>Worst and best items</h2>",
        *_items(page.items),
        "<h2 id=scores>Scores of all items</h2>",
        *map(_scores, page.scores),
        "<h2 id=facts>What the figures rest on</h2>",
        *(f"<h3>{escape(title)}</h3>{_facts(facts)}" for title, facts in page.facts),
        "</html>",
    ]
    return "\n".join(part for part in parts if part) + "\n"


def _table(table: ShownTable) -> str:
    has_notes = any(row.note for row in table.rows)
    head = "".join(f"<th>{_breakable(column)}</th>" for column in ("", *table.columns))
    digits = table.digits or (None,) * len(table.columns)
    rows = "\n".join(_row(row, digits, has_notes) for row in table.rows)
    note = f"<p class=note>{escape(table.note)}</p>" if table.note else ""
    body = f"<table><thead><tr>{head}{'<th></th>' if has_notes else ''}</tr></thead><tbody>{rows}</tbody></table>"
    none = "" if not table.is_paper or any(row.is_ours for row in table.rows) else "<p class=note>None of ours yet.</p>"
    return f"<h3>{escape(table.title)}</h3><div class=scroll>{body}</div>{note}{none}"


def _breakable(name: str) -> str:
    """Return a name that may go on in the next line after a point, though not within a number."""
    return re.sub(r"\.(?=\D)", ".<wbr>", escape(name))


def _row(row: Row, digits: Sequence[int | None], has_notes: bool) -> str:
    kind = "ours" if row.is_ours else "paper" if row.is_paper else ""
    cells = "".join(f"<td>{figure(*cell)}</td>" for cell in zip(row.values, digits, strict=True))
    note = f"<td class=note>{escape(row.note)}</td>" if has_notes else ""
    return f"<tr{f' class={kind}' if kind else ''}><td>{escape(row.name)}</td>{cells}{note}</tr>"


def figure(value: float | None, digits: int | None) -> str:
    """Return a number with so many digits behind the point; None: three below 10, two above."""
    if value is None:
        return "–"
    return f"{value:.{(3 if abs(value) < 10 else 2) if digits is None else digits}f}"


def _items(items: Sequence[ItemPicture]) -> list[str]:
    parts = []
    for result in dict.fromkeys(item.result for item in items):
        for place in ("worst", "best"):
            chosen = [item for item in items if (item.result, item.place) == (result, place)]
            if chosen:
                shown = "".join(map(_item, chosen))
                parts.append(f"<h3>{escape(result)}: {place}</h3><div class=items>{shown}</div>")
    return parts


def _item(item: ItemPicture) -> str:
    pictures = "".join(
        f"<figure><img src='{escape(file)}' alt='{escape(caption or item.item)}'>"
        f"<figcaption>{escape(caption or 'drawn')}</figcaption></figure>"
        for file, caption in item.pictures
    )
    words = "".join(f"<br>{escape(word)}" for word in item.words)
    title = f"<p><b>{escape(item.item)}</b>, {escape(item.score)}{words}</p>"
    return f"<div class=item>{title}<div class=pair>{pictures}</div></div>"


def _scores(scores: ItemScores) -> str:
    head = "".join(f"<th>{escape(column)}</th>" for column in scores.columns)
    rows = "\n".join(f"<tr>{''.join(f'<td>{_value(value)}</td>' for value in row)}</tr>" for row in scores.rows)
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    count = f"{len(scores.rows):,} item{'s' if len(scores.rows) != 1 else ''}"
    return (
        f"<details><summary>{escape(scores.result)}: {count}</summary>"
        f"<div class=scroll tabindex=0>{table}</div></details>"
    )


def _value(value: Any) -> str:
    """Return what a cell of an item says."""
    if value is None or value == "":
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else escape(str(value))


def _facts(facts: Sequence[tuple[str, str]]) -> str:
    return f"<dl>{''.join(f'<dt>{escape(name)}</dt><dd>{escape(text)}</dd>' for name, text in facts)}</dl>"
