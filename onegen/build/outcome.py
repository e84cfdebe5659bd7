"""What became of one row, before it is written."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from onegen.errors import SampleError
from onegen.sample import Status

MESSAGE_LIMIT = 2000
"""Characters of a failure's message that are kept: some libraries print whole tensors."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one row.

    `digests` holds the SHA-256 of those parts whose bytes were hashed already; `is_expected` says that a failure was
    raised as SampleError.
    """

    status: Status
    reason: str | None = None
    message: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)
    parts: Mapping[str, bytes] = field(default_factory=dict)
    key: str | None = None
    digests: Mapping[str, str] = field(default_factory=dict)
    attempts: int = 1
    is_expected: bool = True


def failed(key: str | None, error: Exception, values: Mapping[str, Any] | None = None) -> Outcome:
    """Return the outcome of a row that raised; its reason is SampleError's own, else the exception in snake case.

    `values` are what is known of the row all the same.
    """
    known = values or {}
    if isinstance(error, SampleError):
        return Outcome("failed", error.reason, str(error)[:MESSAGE_LIMIT], known, key=key)
    reason = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", type(error).__name__).lower()
    message = f"{type(error).__name__}: {error}"[:MESSAGE_LIMIT]
    return Outcome("failed", reason, message, known, key=key, is_expected=False)
