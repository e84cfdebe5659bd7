"""Files of keys, one a line, as `onegen browse` saves them."""

from collections.abc import Set
from pathlib import Path

from onegen.errors import ConfigError


def read_keys(path: Path | None, flag: str) -> Set[str]:
    """Return the keys in a file, none for no file; empty lines and those that start with # are none.

    Raises ConfigError naming the flag.
    """
    if path is None:
        return frozenset()
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{flag} must be a text file of keys, got {path}: {error}.") from error
    return frozenset(line.strip() for line in lines if line.strip() and not line.startswith("#"))
