"""Names by a vision-language model behind an OpenAI-compatible endpoint."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from onegen.annotators import register
from onegen.annotators.names import PROMPT, PROVIDES, annotation_of, parse_names
from onegen.annotators.shared.served_model import ServedModel
from onegen.errors import ConfigError, SampleError
from onegen.sample import Annotation, Item, Provides

KEY = "ONEGEN_NAMES_KEY"
"""Not that of captions: another endpoint shall not see their secret."""


@register("annotators", "names", backend="server")
@dataclass(frozen=True)
class ServedNames(ServedModel):
    """Names by the `model` at `url`, an OpenAI-compatible endpoint, at most `max_names`, asked for by `prompt`.

    Options, requests and their limits are those of captions by a server. An answer that is cut off at `max_tokens`, is
    prose or names nothing is asked for once more, then fails as bad_names. The secret is taken from ONEGEN_NAMES_KEY.
    Not exact: a served model need not answer alike twice.
    """

    backend: Literal["server"] = "server"
    prompt: str = PROMPT
    max_tokens: int = 128
    max_names: int = 10

    name: ClassVar[str] = "names"
    producer: ClassVar[str] = "served-names"
    version: ClassVar[int] = 1
    tolerance: ClassVar[Mapping[str, float]] = {"names": math.inf, "num_names": math.inf}
    provides: ClassVar[Provides] = PROVIDES
    secret: ClassVar[str] = KEY

    def check(self) -> None:
        """Raise ConfigError for an option out of its range, and for a URL that is none."""
        super().check()
        if self.max_names < 1:
            raise ConfigError(f"max_names of names must be at least 1, got {self.max_names}.")

    def question(self) -> str:
        """Return the prompt."""
        return self.prompt

    def read(self, item: Item, text: str, is_cut: bool) -> Annotation:
        """Return the names of an item. Raises SampleError bad_names."""
        if is_cut:
            raise SampleError("bad_names", f"{text[:200]!r}, cut off")
        return annotation_of(parse_names(text, self.max_names), self.max_names)
