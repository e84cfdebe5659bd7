"""What a picture shows, in words. What the column stores, whichever backend made it, and how a text becomes a line."""

import re

import pyarrow as pa

from onegen.sample import Annotation, Provides

PROVIDES = Provides(
    fields={"caption": pa.string(), "captioner": pa.string(), "num_words": pa.int32(), "original": pa.string()}
)
"""`caption` in plain English and its `num_words`; the `captioner`; the `original` caption as it came with the image."""

_MARKUP = re.compile(r"\[\[|\]\]|<#|<item:")  # what prompts are made of: docs/onediffusion.md


def annotation_of(caption: str, captioner: str, original: str | None) -> Annotation:
    """Return what the column stores of a caption; half a surrogate pair of the original becomes a question mark."""
    kept = None if original is None else original.encode("utf-8", "replace").decode()
    return Annotation({"caption": caption, "captioner": captioner, "num_words": len(caption.split()), "original": kept})


def clean(text: str, max_words: int) -> str:
    """Return a text as one line of at most `max_words` words, with a full stop; no control characters, no markup."""
    printable = "".join(c if c.isprintable() else " " for c in text.encode("utf-8", "ignore").decode())
    words = _MARKUP.sub(" ", printable).split()
    line = " ".join(words[:max_words])
    return line if not line or line[-1] in ".!?" else f"{line.rstrip(',;:')}."
