"""An annotator whose device sleeps: busy for a known time a picture, without the GIL, with 16-bit maps for answers."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import cv2
import numpy as np

from onegen.config.registry import register
from onegen.sample import Annotation, Item, Part, Provides, Rejected, Resources, Weights


@dataclass(frozen=True)
class _Device:
    """What both forms have in common: one batch at a time, `seconds` a picture, a map of the picture's grey."""

    seconds: float = 0.0025

    name: ClassVar[str] = "napping"
    version: ClassVar[int] = 1
    tolerance: ClassVar[Mapping[str, float]] = {}
    requires: ClassVar[tuple[str, ...]] = ()
    provides: ClassVar[Provides] = Provides((Part("napping.png", "gray16"),))
    resources: ClassVar[Resources] = Resources()
    needs_pixels: ClassVar[bool] = True

    def weights(self) -> tuple[Weights, ...]:
        """Return nothing."""
        return ()

    def load(self) -> None:
        """Do nothing."""

    def _prepared(self, item: Item) -> np.ndarray:
        assert item.pixels is not None
        return cv2.resize(item.pixels, (512, 512), interpolation=cv2.INTER_AREA)

    def _slept(self, prepared: Sequence[np.ndarray]) -> list[np.ndarray]:
        time.sleep(self.seconds * len(prepared))
        return [pixels[:, :, 1] for pixels in prepared]

    def _finished(self, item: Item, answer: np.ndarray) -> Annotation:
        assert item.pixels is not None
        height, width = item.pixels.shape[:2]
        full = cv2.resize(answer.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
        return Annotation(parts={"napping.png": (full * 257.0).astype(np.uint16)})


@register("annotators", "napping", "at-once")
@dataclass(frozen=True)
class AtOnce(_Device):
    """Prepare, compute and finish in one call."""

    backend: str = "at-once"

    def annotate(self, items: Sequence[Item]) -> list[Annotation | Rejected]:
        """Return the map of each."""
        answers = self._slept([self._prepared(item) for item in items])
        return [self._finished(item, answer) for item, answer in zip(items, answers, strict=True)]


@register("annotators", "napping", "in-parts")
@dataclass(frozen=True)
class InThree(AtOnce):
    """Prepare ahead and finish behind."""

    backend: str = "in-parts"

    def prepare(self, item: Item) -> Any:
        """Return a picture of the network's size."""
        return self._prepared(item)

    def infer(self, prepared: Sequence[Any]) -> list[Any]:
        """Return what the device says, after the time it takes."""
        return self._slept(prepared)

    def finish(self, item: Item, answer: Any) -> Annotation:
        """Return the map of the image's size."""
        return self._finished(item, answer)
