"""What every format of an export is: a function that writes samples into a new folder, and what is told of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from onegen.audit.export.samples import Samples
from onegen.shards.split import group_of, held_out_below


@dataclass(frozen=True)
class Wishes:
    """What whoever exports asks for: `validation` is the share of keys that go to the validation split."""

    validation: float = 0.0


@dataclass
class Handed:
    """What was written: samples, images, and rows by name of what is counted apart (splits, annotations)."""

    samples: int = 0
    images: int = 0
    counts: dict[str, int] = field(default_factory=dict)

    def count(self, name: str, number: int = 1) -> None:
        """Count something by name."""
        self.counts[name] = self.counts.get(name, 0) + number


Write = Callable[[Samples, Path, Wishes], Handed]


@dataclass(frozen=True)
class Format:
    """A format: what it is called, what it writes in a sentence, how it is written and how it is read."""

    name: str
    what: str
    write: Write
    read: str


def split_of(key: str, validation: float, facts: Mapping[str, Any] | None = None) -> str:
    """Return `validation` or `train`, as the loader splits; `facts` are what the image column says of the sample."""
    return "validation" if group_of(key, facts or {}) < held_out_below(validation) else "train"


def licences_of(handed: Mapping[str, int]) -> list[str]:
    """Return the licences among counted names, most samples first."""
    return [name for name, _ in sorted(handed.items(), key=lambda entry: (-entry[1], entry[0]))]
