"""What may be done with images, in numbers: licences, whom to name, where they are from, and who withdrew theirs."""

from onegen.audit.images import found
from onegen.audit.tables import TAKEN, Tables, quoted
from onegen.sample import IMAGE
from onegen.shards.dataset import Card
from onegen.sources import OPTED_OUT

MOST, NAMES = 20, 1000
"""Licences and sources that are told, the most frequent, and names of whom to thank."""
_HOST = "regexp_extract(uri, '^[A-Za-z][A-Za-z0-9+.-]*://[^/?#]+')"
"""Where an address leads to; nothing of a path in the dataset's own source."""
Counted = list[tuple[str, int]]


def rights_of(card: Card, tables: Tables) -> dict[str, Counted]:
    """Return images by `licence`, `attribution` and `source`, and what was `withdrawn`, by what says so."""
    own = "; ".join(f"{name}: {value}" for name, value in sorted(card.source.items()))
    source = f"CASE WHEN {_HOST} != '' THEN {_HOST} WHEN coalesce(uri, '') != '' THEN ? END"
    return {
        "licence": _most(tables, "licence", "licence", MOST),
        "attribution": _most(tables, "attribution", "attribution", NAMES),
        "source": _most(tables, "uri", source, MOST, own),
        "withdrawn": _withdrawn(card, tables),
    }


def _most(tables: Tables, field: str, expression: str, limit: int, *values: str) -> Counted:
    rows = tables.rows(
        f"SELECT coalesce({expression}, '(none)') AS v, count(*) FROM {found(tables, IMAGE, field)} GROUP BY v "
        f"ORDER BY 2 DESC, 1 LIMIT {limit}",
        values,
    )
    return [(value, count) for value, count in rows]


def _withdrawn(card: Card, tables: Tables) -> Counted:
    """Return what takedowns list, how many samples they took, and who or what was left out before it was read."""
    listed = [(f"takedowns listed by {by}", len(values)) for by, values in tables.takedowns.values.items() if values]
    ((taken,),) = tables.rows(f"SELECT count(*) FROM {TAKEN}")
    ((opted_out,),) = tables.rows(f"SELECT count(*) FROM {quoted(IMAGE)} WHERE reason = '{OPTED_OUT}'")
    counted = [
        *listed,
        *([("samples taken down", taken)] if tables.takedowns else []),
        *([("samples whose subjects opted out", opted_out)] if opted_out else []),
    ]
    return counted + [(f"files passed over, because {why}", count) for why, count in card.plan.passed_over.items()]
