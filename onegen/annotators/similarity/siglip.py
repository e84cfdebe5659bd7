"""Whether a caption is of its picture, by SigLIP 2 (Tschannen et al., 2025)."""

import math
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from onegen.annotators import register
from onegen.annotators.similarity import TwoTowers
from onegen.sample import CHANGES_NO_RESULT


@register("annotators", "similarity", backend="siglip")
@dataclass(frozen=True)
class Siglip(TwoTowers):
    """Cosine and probability by `model`, any SigLIP of a fixed size. Apache-2.0. It reads the first 64 tokens."""

    backend: Literal["siglip"] = "siglip"
    model: str = field(default="google/siglip2-so400m-patch14-384", metadata={CHANGES_NO_RESULT: True})

    producer: ClassVar[str] = "siglip"

    def read(self, caption: str) -> str:
        """Return a caption in small letters: it was trained on no others."""
        return caption.lower()

    def probability(self, logit: float) -> float:
        """Return the sigmoid, which is what it was trained to be right in."""
        return 1.0 / (1.0 + math.exp(-min(max(logit, -60.0), 60.0)))
