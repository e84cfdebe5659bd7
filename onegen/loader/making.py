"""Make the examples of a bin, in this process or in any other: what is bad is said and left out, never replaced."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from onegen.errors import SampleError
from onegen.loader.choices import Choices
from onegen.loader.draw import Draw
from onegen.loader.example import Example
from onegen.loader.examples import read_example
from onegen.loader.reader import Reader
from onegen.storage.store import Store


@dataclass(frozen=True, slots=True)
class Skipped:
    """A sample that could not be made an example of: where it is, and why."""

    dataset: str
    key: str
    task: str
    reason: str
    message: str

    def __str__(self) -> str:
        return f"{self.dataset} {self.key} ({self.task}): {self.reason}: {self.message}"


@dataclass(frozen=True, slots=True)
class Place:
    """A dataset as a reader opens it."""

    store: Store
    name: str
    is_packed: bool


class Maker:
    """Reads samples and makes examples of them, one dataset after another in any order."""

    def __init__(self, places: Sequence[Place], choices: Choices, check_parts: bool) -> None:
        self._choices = choices
        self._readers: Mapping[int, Reader] = {
            number: Reader(place.store, place.name, place.is_packed, check_parts) for number, place in enumerate(places)
        }

    def make(self, draws: Sequence[Draw]) -> list[Example | Skipped]:
        """Return an example for each draw, or why there is none."""
        return [self._make(draw) for draw in draws]

    def close(self) -> None:
        """Close the files."""
        for reader in self._readers.values():
            reader.close()

    def _make(self, draw: Draw) -> Example | Skipped:
        reader = self._readers[draw.set]
        try:
            return read_example(reader, draw, self._choices)
        except SampleError as error:
            key = reader.key(draw.shard, draw.position)
            return Skipped(reader.name, key or f"{draw.key:016x}", draw.task, error.reason, str(error))
