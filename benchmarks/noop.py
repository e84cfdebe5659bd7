"""Annotators that measure the machinery around them: they do nothing, nap, or keep a core busy for a known time."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import pyarrow as pa

from onegen.config.registry import register
from onegen.sample import Annotation, Item, Provides, Rejected, Resources, Weights


class _Nothing:
    """What they have in common: a column of one field and no weights."""

    name: ClassVar[str] = "noop"
    version: ClassVar[int] = 1
    tolerance: ClassVar[Mapping[str, float]] = {}
    requires: ClassVar[tuple[str, ...]] = ()
    provides: ClassVar[Provides] = Provides(fields={"answer": pa.int32()})
    resources: ClassVar[Resources] = Resources()
    needs_pixels: ClassVar[bool] = False

    def weights(self) -> tuple[Weights, ...]:
        """Return nothing."""
        return ()

    def load(self) -> None:
        """Do nothing."""

    def annotate(self, items: Sequence[Item]) -> list[Annotation | Rejected]:
        """Return the same answer for each."""
        return [Annotation({"answer": 1}) for _ in items]


@register("annotators", "noop", "blind")
@dataclass(frozen=True)
class Blind(_Nothing):
    """Ask for no pixels, so that nothing is decoded."""

    backend: str = "blind"


@register("annotators", "noop", "seeing")
@dataclass(frozen=True)
class Seeing(_Nothing):
    """Ask for pixels, and ignore them."""

    backend: str = "seeing"

    needs_pixels: ClassVar[bool] = True


@register("annotators", "noop", "busy")
@dataclass(frozen=True)
class Busy(_Nothing):
    """Ask for pixels, and compute for `seconds` of CPU time per image, as a cheap network would."""

    backend: str = "busy"
    seconds: float = 0.02

    needs_pixels: ClassVar[bool] = True

    def annotate(self, items: Sequence[Item]) -> list[Annotation | Rejected]:
        """Return the same answer for each, after the time each takes."""
        until = time.thread_time()
        for _ in items:
            until += self.seconds
            while time.thread_time() < until:
                pass
        return super().annotate(items)


@register("annotators", "noop", "napping")
@dataclass(frozen=True)
class Napping(_Nothing):
    """Ask for pixels, and sleep for `seconds` an image, as who waits for a device does."""

    backend: str = "napping"
    seconds: float = 0.02

    needs_pixels: ClassVar[bool] = True

    def annotate(self, items: Sequence[Item]) -> list[Annotation | Rejected]:
        """Return the same answer for each, after the time all take."""
        time.sleep(self.seconds * len(items))
        return super().annotate(items)
