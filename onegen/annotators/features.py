"""A vector of what a picture is about, for finding similar ones: mean patch token of a ViT-S/14 of DINOv2's layout."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import pyarrow as pa

from onegen.annotators import register
from onegen.annotators.shared.dino_tokens import TokenModel
from onegen.annotators.shared.pixels import pixels_of
from onegen.errors import ConfigError
from onegen.sample import Annotation, BaseAnnotator, Item, ModelHandle, Provides, Rejected, Resources


@register("annotators", "features", backend="embedded")
@dataclass(frozen=True)
class Features(BaseAnnotator):
    """Field `features`: 384 numbers of length 1 together; compare two by their dot product. Exact.

    A copy scores above 0.99, the same scene from another side above 0.9, unrelated photos 0.4 to 0.7. `layer` counts
    from 0 to 11; the network was tuned for saliency and its last layers know little else, so 6 to 10 are of use.
    """

    backend: Literal["embedded"] = "embedded"
    layer: int = 8

    name: ClassVar[str] = "features"
    version: ClassVar[int] = 1
    provides: ClassVar[Provides] = Provides(fields={"features": pa.list_(pa.float64())})
    resources: ClassVar[Resources] = Resources(memory=512 << 20)

    def check(self) -> None:
        """Raise ConfigError for a `layer` the network does not have."""
        if not 0 <= self.layer <= 11:
            raise ConfigError(f"layer of features must be 0 to 11, got {self.layer}. Try 8.")

    def models(self) -> tuple[ModelHandle, ...]:
        """Return the network up to the layer."""
        return (TokenModel((self.layer,)),)

    def annotate(self, items: Sequence[Item]) -> list[Annotation | Rejected]:
        """Return the vector of each item."""
        return [Annotation({"features": self._vector(pixels_of(item))}) for item in items]

    def _vector(self, pixels: np.ndarray) -> list[float]:
        (tokens,) = TokenModel((self.layer,)).tokens(pixels)
        mean = tokens.reshape(-1, 384).mean(axis=0, dtype=np.float64)
        return [round(float(value), 6) for value in mean / np.linalg.norm(mean)]
