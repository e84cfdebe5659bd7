"""Who is told how a run goes: lines for a log, or what a terminal makes of notes, steps and numbers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol


class Watch(Protocol):
    """What the first rank of a run tells."""

    def note(self, line: str) -> None:
        """Take what is said once: a checkpoint, a warning."""

    def step(self, step: int, steps: int) -> None:
        """Take that a step of so many is done."""

    def numbers(self, step: int, steps: int, numbers: Mapping[str, float], line: str) -> None:
        """Take metrics of the steps since the last ones, or of a validation; `line` says them in one."""


@dataclass(frozen=True, slots=True)
class Lines:
    """Says notes and numbers as lines."""

    say: Callable[[str], None]

    def note(self, line: str) -> None:
        """Say a line."""
        self.say(line)

    def step(self, step: int, steps: int) -> None:
        """Say nothing: lines come with numbers."""

    def numbers(self, step: int, steps: int, numbers: Mapping[str, float], line: str) -> None:
        """Say the line of the numbers."""
        self.say(line)
