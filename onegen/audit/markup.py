"""The HTML of a report: one page of sections, tables, cards and figures that needs nothing else.

What is given as text is escaped here; what is given as markup is ours.
"""

import html
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from onegen.audit.figures import Figure

_POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"


class Size(int):
    """A number of bytes, which a table shows in larger units."""


@dataclass(frozen=True)
class Link:
    """A cell that leads to another page."""

    text: str
    href: str


class Figures:
    """The figures of a page, gathered for the script at its end."""

    def __init__(self) -> None:
        self.found: dict[str, Figure] = {}

    def place(self, label: str, figure: Figure, is_tall: bool = False) -> str:
        """Return the place of a figure; `label` is what a screen reader says of it."""
        name = f"figure-{len(self.found)}"
        self.found[name] = figure
        size = " tall" if is_tall else ""
        return f'<div class="plot{size}" id="{name}" role="img" aria-label="{html.escape(label)}"></div>'


def document(name: str, what: str, sections: Mapping[str, str], figures: Figures) -> str:
    """Return a page: `name` is its title, `what` stands above it, `sections` are markup by title, in order."""
    ids = {title: title.lower().replace(" ", "-") for title in sections}
    body = "".join(
        f'<section aria-labelledby="{ids[title]}"><h2 id="{ids[title]}" tabindex="-1">{title}</h2>{text}</section>'
        for title, text in sections.items()
    )
    links = "".join(f'<a href="#{ids[title]}">{title}</a>' for title in sections)
    title = html.escape(name)
    first = next(iter(ids.values()))
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}: what is in it</title>'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">'
        f'<style>{asset("page.css")}</style></head><body><a class="skip" href="#{first}">Skip to content</a>'
        f'<header><p class="note">{html.escape(what)}</p><h1>{title}</h1>'
        f'<nav aria-label="Sections">{links}</nav></header>'
        f"<main>{body}</main><footer class=note>Made by onegen audit. Numbers: statistics.json.</footer>"
        f'<script type="application/json" id="figures">{inert(figures.found)}</script>'
        f"<script>{plotly()}</script><script>{asset('page.js')}</script></body></html>"
    )


def card(title: str, body: str) -> str:
    """Return a card with a title; the body is markup."""
    return f"<article class=card><h3>{html.escape(title)}</h3>{body}</article>"


def details(title: str, body: str) -> str:
    """Return what opens on demand; the body is markup."""
    return f"<details><summary>{html.escape(title)}</summary>{body}</details>"


def picture(url: str, alt: str, caption: str) -> str:
    """Return a picture with what a screen reader says of it and a caption."""
    return (
        f'<figure><img src="{url}" alt="{html.escape(alt)}" loading="lazy">'
        f"<figcaption>{html.escape(caption)}</figcaption></figure>"
    )


def table(title: str, head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return a table; numbers stand right, and the page's script lets readers sort by any column."""
    names = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in head)
    body = "".join(f"<tr>{''.join(_cells(row))}</tr>" for row in rows)
    return (
        f'<div class=scroll tabindex="0" role="region" aria-label="{html.escape(title)}"><table>'
        f"<caption>{html.escape(title)}</caption><thead><tr>{names}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _cells(row: Sequence[Any]) -> Iterator[str]:
    for value in row:
        if isinstance(value, Size):
            yield f'<td class=n data-value="{int(value)}">{size_text(value)}</td>'
        elif isinstance(value, Link):
            yield f'<td><a href="{html.escape(value.href)}">{html.escape(value.text)}</a></td>'
        elif isinstance(value, int | float):
            yield f'<td class=n data-value="{value!r}">{number(value)}</td>'
        else:
            yield f"<td>{html.escape(str(value))}</td>"


def number(value: float | None) -> str:
    """Return a number as people read it."""
    if value is None:
        return "none"
    return f"{int(value):,}" if float(value).is_integer() else f"{value:,.4g}"


def size_text(size: float) -> str:
    """Return bytes as people read them."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:,.3g} TB"


def inert(value: Any) -> str:
    """Return JSON that no HTML parser finds the end of a script in."""
    return json.dumps(value).replace("<", "\\u003c")


def asset(name: str) -> str:
    """Return a file of the page."""
    return (files("onegen.audit") / "page" / name).read_text(encoding="utf-8")


def plotly() -> str:
    """Return the library that draws: the script that the package plotly ships. Raises ModuleNotFoundError."""
    return (
        (files("plotly") / "package_data" / "plotly.min.js")
        .read_text(encoding="utf-8")
        .replace("</script", "<\\/script")
    )
