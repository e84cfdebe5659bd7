"""Names of what a detector of fixed classes found: no captioner is asked."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from onegen.annotators import register
from onegen.annotators.names import MAX_NAMES, PROVIDES, annotation_of
from onegen.errors import ConfigError
from onegen.sample import Annotation, BaseAnnotator, Item, Provides, Rejected


@register("annotators", "names", backend="embedded")
@dataclass(frozen=True)
class DetectedNames(BaseAnnotator):
    """The labels of column `detection` with `min_score` or more, best first, at most `max_names`. Exact."""

    backend: Literal["embedded"] = "embedded"
    min_score: float = 0.35
    max_names: int = MAX_NAMES

    name: ClassVar[str] = "names"
    producer: ClassVar[str] = "detected-names"
    version: ClassVar[int] = 1
    requires: ClassVar[tuple[str, ...]] = ("detection",)
    provides: ClassVar[Provides] = PROVIDES
    needs_pixels: ClassVar[bool] = False

    def check(self) -> None:
        """Raise ConfigError for a score outside [0, 1], and for no names."""
        if not 0.0 <= self.min_score <= 1.0:
            raise ConfigError(f"min_score of names must be in [0, 1], got {self.min_score}.")
        if self.max_names < 1:
            raise ConfigError(f"max_names of names must be at least 1, got {self.max_names}.")

    def annotate(self, items: Sequence[Item]) -> list[Annotation | Rejected]:
        """Return the names of each item."""
        return [annotation_of(self._names(item)) for item in items]

    def _names(self, item: Item) -> list[str]:
        objects = item.annotations["detection"].values.get("objects") or []
        labels = [str(thing["label"]) for thing in objects if thing["score"] >= self.min_score]
        return list(dict.fromkeys(labels))[: self.max_names]
