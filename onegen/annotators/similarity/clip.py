"""Whether a caption is of its picture, by CLIP (Radford et al., ICML 2021)."""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from onegen.annotators import register
from onegen.annotators.similarity import TwoTowers
from onegen.sample import CHANGES_NO_RESULT


@register("annotators", "similarity", backend="clip")
@dataclass(frozen=True)
class Clip(TwoTowers):
    """The cosine by `model`, any CLIP of transformers; no probability. MIT.

    It reads the first 77 tokens: of a caption of 100 words the end counts for nothing.
    """

    backend: Literal["clip"] = "clip"
    model: str = field(default="openai/clip-vit-large-patch14", metadata={CHANGES_NO_RESULT: True})

    producer: ClassVar[str] = "clip"
