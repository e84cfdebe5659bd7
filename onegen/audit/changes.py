"""What changed since the last report: the numbers of its statistics.json beside those of now."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

Change = tuple[str, Any, Any]
"""What is meant, what it was, and what it is now; None where it was not, or is not any more."""


def read_report(data: bytes | None, name: str) -> Mapping[str, Any] | None:
    """Return what a statistics.json says of the dataset of this name.

    None where there is none, or what is there is not of this version, or of another dataset: `--out` may be anywhere.
    """
    try:
        told = json.loads(data) if data else None
        if not isinstance(told, dict) or (told.get("schema_version"), told.get("name")) != (1, name):
            return None
        dict(_numbers(told))
    except (ValueError, TypeError, AttributeError):
        return None
    return told


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[Change]:
    """Return what differs between the numbers of two reports, in the order of the report."""
    old, new = dict(_numbers(before)), dict(_numbers(now))
    return [(name, old.get(name), new.get(name)) for name in {**new, **old} if old.get(name) != new.get(name)]


def _numbers(report: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name in ("digest", "state", "shards", "items"):
        yield {"digest": "version", "items": "items planned"}.get(name, name), report.get(name)
    for column, told in _items(report, "columns"):
        for status, number in _items(told, "counts"):
            yield f"{column}: {status}", number
        for name in ("producer", "bytes"):
            yield f"{column}: {name}", told.get(name)
    for name, told in _items(report, "distributions"):
        for measure in ("count", "mean"):
            yield f"{name}: {measure}", told.get(measure)
    for name, told in _items(report, "categories"):
        yield f"{name}: different values", told.get("distinct")
    for name, most in _items(report, "rights"):
        for value, number in most:
            yield f"{name} {value}", number
    for kind, number in _items(report, "defects"):
        yield f"defects: {kind}", number


def _items(report: Mapping[str, Any], name: str) -> list[tuple[str, Any]]:
    value = report.get(name)
    return list(value.items()) if isinstance(value, dict) else []
