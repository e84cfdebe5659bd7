"""What a picture shows, in words. What the column stores, whichever backend made it, and how a text becomes a line."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import pyarrow as pa

from onegen.annotators.shared.brought import BaseReader, brought_of, text_of
from onegen.sample import Annotation, Item, Provides, Rejected
from onegen.tasks.prompt import plain

PROVIDES = Provides(
    fields={"caption": pa.string(), "captioner": pa.string(), "num_words": pa.int32(), "original": pa.string()}
)
"""`caption` in plain English and its `num_words`; the `captioner`; the `original` caption as it came with the image."""

LONG = (
    "Describe this image in one paragraph of 100 to 150 words, in plain English: what is shown, how it looks, where "
    "things are, the setting and the style. Say only what can be seen. No introduction, no list."
)
SHORT = "Describe this image in one paragraph of 30 to 75 words, in plain English. Say only what can be seen."
PROMPTS: Mapping[str, str] = {"long": LONG, "short": SHORT}
"""One-Gen's two forms: 100 to 150 words, and 30 to 75."""


def annotation_of(caption: str, captioner: str, original: str | None) -> Annotation:
    """Return what the column stores of a caption; half a surrogate pair of the original becomes a question mark."""
    kept = None if original is None else original.encode("utf-8", "replace").decode()
    return Annotation({"caption": caption, "captioner": captioner, "num_words": len(caption.split()), "original": kept})


def clean(text: str, max_words: int) -> str:
    """Return a text as one line of at most `max_words` words, with a full stop; no control characters, no markup."""
    line = " ".join(_words(text)[:max_words])
    return line if not line or line[-1] in ".!?" else f"{line.rstrip(',;:')}."


def _words(text: str) -> list[str]:
    return plain(text.encode("utf-8", "ignore").decode()).split()


@dataclass(frozen=True)
class BroughtCaption(BaseReader):
    """A caption that a source brings: text, or a list of which the first that says something counts.

    `captioner` says in the column who wrote it. Markup of prompts and line breaks become spaces; `original` keeps it
    as it came.
    """

    captioner: str = "source"

    provides: ClassVar[Provides] = PROVIDES

    def take(self, item: Item) -> Annotation | Rejected:
        """Return what the column stores, Rejected `absent` for text that says nothing; raises brought_value."""
        brought = brought_of(item)
        text = text_of(brought)
        caption = " ".join(_words(text))
        if not caption:
            return Rejected("absent", f"{brought.place} says nothing")
        return annotation_of(caption, self.captioner, text)


BROUGHT = BroughtCaption
