"""Captions by a vision-language model of transformers: LLaVA-NeXT and Molmo, One-Gen's own, or any other by name."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from onegen.annotators import register
from onegen.annotators.caption import PROMPTS, PROVIDES, annotation_of, clean
from onegen.annotators.shared.caption_faults import WARMER, fault_of
from onegen.annotators.shared.speaker import Speaker
from onegen.errors import SampleError
from onegen.sample import Annotation, Item, Provides, Rejected
from onegen.shards.key import seed_of


@register("annotators", "caption", backend="vlm")
@dataclass(frozen=True)
class SpokenCaption(Speaker):
    """Captions by `model`: `long` (100 to 150 words) or `short` (30 to 75) ones, or by a prompt of yours.

    A caption that says nothing, is cut off, loops, refuses or is not in Latin letters is asked for once more, at a
    temperature of 0.7 from a seed of the image's own, then fails by that reason. Not exact: in a batch of another size
    sums are taken in another order, and a word that was nearly another becomes it. LLaVA-NeXT on Llama 3 is under
    Llama's community licence.
    """

    backend: Literal["vlm"] = "vlm"
    prompt: str = "long"

    name: ClassVar[str] = "caption"
    producer: ClassVar[str] = "spoken-caption"
    version: ClassVar[int] = 1
    tolerance: ClassVar[Mapping[str, float]] = {"caption": math.inf, "num_words": math.inf}
    provides: ClassVar[Provides] = PROVIDES

    def prepare(self, item: Item) -> Any:
        """Return the picture and the seed of a second question."""
        return super().prepare(item), seed_of(item.key, self.name, self.version) % 2**31

    def infer(self, prepared: Sequence[Any]) -> list[Any]:
        """Return the caption of each and what is wrong with it, None for nothing; bad ones were asked for twice."""
        prompt = PROMPTS.get(self.prompt, self.prompt)
        said = [_judged(*answer, self.max_tokens) for answer in self.ask([picture for picture, _ in prepared], prompt)]
        for index, (picture, seed) in enumerate(prepared):
            if said[index][1] is not None:
                (again,) = self.ask([picture], prompt, WARMER, seed)
                said[index] = _judged(*again, self.max_tokens)
        return said

    def finish(self, item: Item, answer: Any) -> Annotation | Rejected:
        """Return what is stored; raises SampleError by what is wrong with the caption."""
        text, fault = answer
        if fault is not None:
            raise SampleError(fault, f"{self.model} said twice: {text[:200]!r}.")
        return annotation_of(text, self.model, item.caption)


def _judged(answered: str, is_cut: bool, most: int) -> tuple[str, str | None]:
    text = clean(answered, most)  # no word is less than a token: nothing is cut here
    return text, fault_of(text, is_cut)
