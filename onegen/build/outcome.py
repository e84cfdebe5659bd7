"""What became of one row, before it is written."""

import re
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from onegen.errors import SampleError
from onegen.sample import Status
from onegen.shards.canonical import storable

MESSAGE_LIMIT = 2000
"""Characters of a failure's message that are kept: some libraries print whole tensors."""


@dataclass(frozen=True, slots=True)
class Lost:
    """An image that a set goes on without: its number, what became of it, and why."""

    image: int
    status: Status
    reason: str
    message: str = ""

    def record(self) -> dict[str, Any]:
        """Return what the row says of it."""
        return {"image": self.image, "status": self.status, "reason": self.reason}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one row.

    `digests` holds the SHA-256 of those parts whose bytes were hashed already; `is_expected` says that a failure was
    raised as SampleError; `lost` are the images a set goes on without. Whatever text an annotator or a library gives as
    reason and message, every manifest, terminal and command line can hold what is kept of it.
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
    lost: Sequence[Lost] = ()

    def __post_init__(self) -> None:
        if self.reason is not None:
            object.__setattr__(self, "reason", _plain(self.reason))
        if self.message:
            object.__setattr__(self, "message", _plain(self.message[:MESSAGE_LIMIT]))


def failed(key: str | None, error: BaseException, values: Mapping[str, Any] | None = None) -> Outcome:
    """Return the outcome of a row that raised; its reason is SampleError's own, else the exception in snake case.

    A SampleError whose reason is no text has the reason `sample_error`. `values` are what is known of the row all the
    same.
    """
    known, message = values or {}, describe(error)
    if isinstance(error, SampleError) and is_code(error.reason):
        return Outcome("failed", error.reason, message, known, key=key)
    reason = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", type(error).__name__).lower()
    message = f"{type(error).__name__}: {message}"
    return Outcome("failed", reason, message, known, key=key, is_expected=isinstance(error, SampleError))


def is_code(reason: object) -> bool:
    """Say whether a reason can be counted, stored and retried by: text that says something."""
    return isinstance(reason, str) and bool(reason)


def describe(error: BaseException) -> str:
    """Return an exception's message, also where asking for it raises another."""
    return str(traceback.TracebackException(type(error), error, None, lookup_lines=False))


def _plain(text: str) -> str:
    """Return text without halves of surrogate pairs, which UTF-8 cannot hold, and NUL, which no argument can."""
    return storable(str.__str__(text)).replace("\0", "\ufffd")
