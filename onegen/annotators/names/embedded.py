"""Names out of what a detector of a closed set found: no captioner speaks here."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from onegen.annotators import register
from onegen.annotators.names import PROVIDES, annotation_of
from onegen.errors import ConfigError
from onegen.sample import Annotation, BaseAnnotator, Item, Provides, Rejected


@register("annotators", "names", backend="embedded")
@dataclass(frozen=True)
class DetectedNames(BaseAnnotator):
    """The labels of column `detection` with `min_score` or more, best first, at most `max_names`. Exact.

    They are names of the detector's own set, so that another detector asked for them finds nothing that has no name
    there: a captioner (backend `server`) knows more.
    """

    backend: Literal["embedded"] = "embedded"
    min_score: float = 0.35
    max_names: int = 10

    name: ClassVar[str] = "names"
    version: ClassVar[int] = 1
    requires: ClassVar[tuple[str, ...]] = ("detection",)
    provides: ClassVar[Provides] = PROVIDES
    needs_pixels: ClassVar[bool] = False

    def check(self) -> None:
        """Raise ConfigError for a score outside [0, 1], and for no names at all."""
        if not 0.0 <= self.min_score <= 1.0:
            raise ConfigError(f"min_score of names must be in [0, 1], got {self.min_score}.")
        if self.max_names < 1:
            raise ConfigError(f"max_names of names must be at least 1, got {self.max_names}.")

    def annotate(self, items: Sequence[Item]) -> list[Annotation | Rejected]:
        """Return the names of each item."""
        return [self._names(item) for item in items]

    def _names(self, item: Item) -> Annotation:
        objects = item.annotations["detection"].values.get("objects") or []
        return annotation_of((thing["label"] for thing in objects if thing["score"] >= self.min_score), self.max_names)
