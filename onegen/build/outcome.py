"""What a worker says of rows: that it is about to run them, and what became of each, before it is written."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from onegen.errors import SampleError
from onegen.sample import Status

MESSAGE_LIMIT = 2000
"""Characters of a failure's message that are kept: some libraries print whole tensors."""


@dataclass(frozen=True, slots=True)
class Began:
    """The worker is about to run these rows of a column: they are to blame if it dies. No rows: none would be."""

    column: str
    shard: int
    positions: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one row. `is_expected` says that a failure was raised as SampleError."""

    status: Status
    reason: str | None = None
    message: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)
    parts: Mapping[str, bytes] = field(default_factory=dict)
    key: str | None = None
    attempts: int = 1
    is_expected: bool = True


def failed(key: str | None, error: Exception) -> Outcome:
    """Return the outcome of a row that raised; its reason is SampleError's own, else the exception in snake case."""
    if isinstance(error, SampleError):
        return Outcome("failed", error.reason, str(error)[:MESSAGE_LIMIT], key=key)
    reason = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", type(error).__name__).lower()
    return Outcome("failed", reason, f"{type(error).__name__}: {error}"[:MESSAGE_LIMIT], key=key, is_expected=False)
