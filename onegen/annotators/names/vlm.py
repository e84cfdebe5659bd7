"""Names asked of a vision-language model, as One-Gen asked LLaVA-NeXT for the entities and subjects of a picture."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from onegen.annotators import register
from onegen.annotators.names import PROMPT, PROVIDES, annotation_of, parse_names
from onegen.annotators.shared.speaker import Speaker
from onegen.errors import ConfigError, SampleError
from onegen.sample import Annotation, Item, Provides, Rejected


@register("annotators", "names", backend="vlm")
@dataclass(frozen=True)
class SpokenNames(Speaker):
    """At most `max_names` names, as `model` gives them; an answer that is no list of nouns fails as `bad_names`."""

    backend: Literal["vlm"] = "vlm"
    prompt: str = PROMPT
    max_names: int = 10
    max_tokens: int = 128

    name: ClassVar[str] = "names"
    producer: ClassVar[str] = "spoken-names"
    version: ClassVar[int] = 1
    tolerance: ClassVar[Mapping[str, float]] = {"names": math.inf, "num_names": math.inf}
    provides: ClassVar[Provides] = PROVIDES

    def check(self) -> None:
        """Raise ConfigError for an option out of its range."""
        super().check()
        if self.max_names < 1:
            raise ConfigError(f"max_names of names must be at least 1, got {self.max_names}.")

    def infer(self, prepared: Sequence[Any]) -> list[Any]:
        """Return what the model says of each, and whether that was cut off."""
        return self.ask(prepared, self.prompt)

    def finish(self, item: Item, answer: Any) -> Annotation | Rejected:
        """Return what is stored; raises SampleError bad_names."""
        text, is_cut = answer
        if is_cut:
            raise SampleError("bad_names", f"{text[:200]!r}, cut off")
        return annotation_of(parse_names(text, self.max_names), self.max_names)
