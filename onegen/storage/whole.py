"""A local file under its name whole or not at all, for what is no dataset: tables, photos, training data, weights."""

import contextlib
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Give a name beside `path` to write to, with the same extension; it becomes `path` when the block ends well.

    Replaces what was there. Where the block raises, `path` stays as it was and the other name is removed.
    """
    part = path.with_name(f".part-{path.name}")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
