"""The ways a command of onegen ends other than well, and the question every unknown name is answered with.

Two are about what went in: `ConfigError` (the user's words or machine) and `SampleError` (one sample). The others end a
build early without blame for either: what is committed stays, and the same command goes on.
"""

import difflib
from collections.abc import Iterable


class ConfigError(Exception):
    """The user's recipe, command or machine must change; the message names the thing, the rule and the way out."""


class MissingWeights(ConfigError):
    """A pinned package with weights must be fetched first; `package` is its name."""

    def __init__(self, message: str, package: str) -> None:
        super().__init__(message)
        self.package = package

    def __reduce__(self) -> tuple[type["MissingWeights"], tuple[str, str]]:
        return MissingWeights, (str(self), self.package)


class SampleError(Exception):
    """One sample is at fault; `reason` is a short code (`[a-z0-9_]+`) that is counted, stored and retried by name."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason

    def __reduce__(self) -> tuple[type["SampleError"], tuple[str, str]]:
        return SampleError, (self.reason, str(self))


class Stopped(Exception):
    """The build ended early; what is committed stays, and the same command goes on from there."""


class Unavailable(Exception):
    """What an annotator computes with is away: no sample is at fault, and a fresh worker may find it there again."""


class Breaker(Stopped):
    """So many rows of a shard failed with one unexpected exception type that the stage is broken, not the data."""


class LeaseHeld(Exception):
    """Another driver works on this dataset; the message says who and since when."""


def nearest(word: str, choices: Iterable[str]) -> str:
    """Return `did you mean 'x'?` for the closest choice, else the list of choices."""
    known = sorted(choices)
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"choose from {', '.join(known) or '(none)'}."
