"""A table of captions like Cap3D's: what a thing is called in it, and what is to be said of it, without a header."""

import csv
from collections.abc import Mapping

import fsspec

from onegen.errors import ConfigError


def read_captions(path: str | None) -> Mapping[str, str]:
    """Return the captions of a CSV by the first field of a row, none for no file; raises ConfigError."""
    if path is None:
        return {}
    try:
        with fsspec.open(path, "rt", encoding="utf-8-sig", newline="") as file:
            return {row[0]: row[1] for row in csv.reader(file) if len(row) >= 2}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"captions must be a CSV of file stem and caption, got {path}: {error}") from error
