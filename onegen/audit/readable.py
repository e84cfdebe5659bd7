"""What readers of a dataset's files raise where a file is damaged, and how that is told in one line."""

import contextlib
from collections.abc import Iterator

import pyarrow as pa

from onegen.errors import ConfigError

DAMAGE = (OSError, pa.ArrowException, ValueError, TypeError, LookupError, AttributeError, OverflowError)
"""What readers of JSON, Parquet and tars raise over bytes that are not what they expect.

A file that cannot be opened or ends early, a footer or a page that does not decode, text that is no UTF-8 and numbers
that no digest takes, a field of another type, one that is not there, one that is null, one that is too large.
"""


@contextlib.contextmanager
def readable(name: str) -> Iterator[None]:
    """Raise ConfigError naming a file, or what is read, where reading it in the block shows that it is damaged."""
    try:
        yield
    except DAMAGE as error:
        raise ConfigError(
            f"{name} must be readable, got {brief(error)}. `onegen verify` says what else is damaged."
        ) from error


def brief(error: BaseException) -> str:
    """Return the first line of what went wrong, without its full stop; libraries add pages to it."""
    lines = str(error).strip().splitlines()
    return lines[0].removesuffix(".") if lines else type(error).__name__
