"""Captions by a vision-language model behind an OpenAI-compatible endpoint: vLLM, SGLang, llama.cpp, or a provider."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from onegen.annotators import register
from onegen.annotators.caption import PROMPTS, PROVIDES, annotation_of, clean
from onegen.annotators.shared.caption_faults import fault_of
from onegen.annotators.shared.served_model import ServedModel
from onegen.errors import SampleError
from onegen.sample import Annotation, Item, Provides

KEY = "ONEGEN_CAPTION_KEY"
"""Environment variable with the secret of the endpoint, where it wants one."""


@register("annotators", "caption", backend="server")
@dataclass(frozen=True)
class ServedCaption(ServedModel):
    """Captions by the `model` at `url`, an OpenAI-compatible endpoint: `long` or `short` ones, or by a prompt of yours.

    Pictures are sent as JPEG of at most `max_side` pixels. A caption that says nothing, is cut off at `max_tokens`,
    loops, refuses or is not in Latin letters is asked for once more, then fails by that reason. 429, 5xx and broken
    answers are asked for again up to `attempts` times, each pause twice the one before. `in_flight` requests run at
    once: give the stage a batch_size twice as large. `cache` is a folder where answers are kept between runs. The
    secret is taken from ONEGEN_CAPTION_KEY. Not exact: a served model need not answer alike twice. The longest wait for
    a batch, `attempts` times `timeout_seconds` for every `in_flight` questions of it, must stay below the recipe's
    limits.batch_seconds.
    """

    backend: Literal["server"] = "server"
    prompt: str = "long"

    name: ClassVar[str] = "caption"
    producer: ClassVar[str] = "served-caption"
    version: ClassVar[int] = 1
    tolerance: ClassVar[Mapping[str, float]] = {"caption": math.inf, "num_words": math.inf}
    provides: ClassVar[Provides] = PROVIDES
    secret: ClassVar[str] = KEY

    def question(self) -> str:
        """Return the prompt."""
        return PROMPTS.get(self.prompt, self.prompt)

    def read(self, item: Item, text: str, is_cut: bool) -> Annotation:
        """Return the caption of an item.

        Raises SampleError empty_caption, cut_caption, looping_caption, refused_caption or foreign_caption.
        """
        caption = clean(text, self.max_tokens)  # no word is less than a token: nothing is cut here
        fault = fault_of(caption, is_cut)
        if fault:
            raise SampleError(fault, f"{caption[:200]!r}")
        return annotation_of(caption, self.model, item.caption)
