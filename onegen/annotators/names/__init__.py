"""What entities a picture has, by name: what an open detector is asked to find.

What the column stores, whichever backend made it; what a captioner is asked, and how its answer becomes names.
"""

import json
import re
from collections.abc import Iterable

import pyarrow as pa

from onegen.errors import SampleError
from onegen.sample import Annotation, Provides

PROVIDES = Provides(fields={"names": pa.list_(pa.string()), "num_names": pa.int32()})
"""`names`, lower case and each once, the most important first; how many there are."""

PROMPT = (
    "List the things that can be seen in this image, at most ten, the most important first. Name each in one to three "
    "plain English words, as a dictionary does, and each kind once. Answer with the names alone, separated by commas."
)
"""What a captioner is asked."""

_MOST_WORDS = 4
"""A longer phrase is no name."""
_SENTENCE_WORDS = 8
"""A longer one is a sentence, and a text that has one is prose."""
_MARKER = re.compile(r"^\s*(?:[-*+•–]\s+|\(?\d{1,2}[.):]\s*)", re.MULTILINE)
_INLINE_MARKER = re.compile(r"[ \t]+(?=\d{1,2}[.)]\s)")
_FENCE = re.compile(r"```\w*")
_INTRODUCTION = re.compile(r"^[^\n:\[]{0,60}:(?=\s|$)")
_REMARK = re.compile(r"\s*[(:,;]|\s[-–—]\s")
"""Where what a list says of a name begins."""
_BETWEEN = re.compile(r"[\n,;]|\.\s|\band\s+(?=(?:an?|the|some)\s)")
_ARTICLE = re.compile(r"^(?:(?:and|or|an?|the|some|one|several|many)\s+)+")
_STRIPPED = " \t\"'`“”‘’*_.!?[]"
_NAME = re.compile(r"[^\W_](?:[\w '’&/-]*[\w'’])?")
_NO_NAMES = frozenset(("none", "nothing", "n/a", "na", "no objects", "no entities", "unknown", "etc"))
_NO_NAME_BEGINS = frozenset(
    ("in", "on", "at", "with", "near", "next", "behind", "under", "over", "of", "for", "to", "no")
)
_NO_NAME_HAS = frozenset(
    (
        *("i", "i'm", "i’m", "you", "he", "she", "it", "its", "we", "they", "this", "that", "there", "here"),
        *("is", "are", "was", "were", "has", "have", "can", "cannot", "can't", "can’t", "sorry"),
        *("show", "shows", "showing", "depicts", "features", "contains", "includes", "appears"),
    )
)
"""Words of sentences and of refusals, which no name of a thing has."""


def annotation_of(names: Iterable[str], most: int) -> Annotation:
    """Return what the column stores of names, the first `most` of them, each once; what is no name is left out."""
    tidied = [tidy(name) for name in names]
    kept = list(dict.fromkeys(name for name in tidied if is_name(name)))[:most]
    return Annotation({"names": kept, "num_names": len(kept)})


def parse_names(text: str, most: int) -> list[str]:
    """Return at most `most` names of an answer: a list by commas, lines, numbers or bullets, or one of JSON.

    Articles, quotes and full stops go, and so does what is no short noun phrase. Raises SampleError bad_names for prose
    and where no name remains.
    """
    pieces = [tidy(piece) for piece in _pieces(text)]
    pieces = [piece for piece in pieces if piece]
    sentences = [piece for piece in pieces if _is_sentence(piece)]
    is_prose = 2 * len(sentences) >= max(len(pieces), 1) or any(
        len(piece.split()) > _SENTENCE_WORDS for piece in sentences
    )
    names = list(dict.fromkeys(piece for piece in pieces if is_name(piece)))[:most]
    if is_prose or not names:
        raise SampleError("bad_names", f"{text[:200]!r}")
    return names


def tidy(phrase: str) -> str:
    """Return a phrase in lower case, on one line, without articles, quotes and full stops."""
    line = " ".join(phrase.lower().split()).strip(_STRIPPED)
    return _ARTICLE.sub("", line).strip(_STRIPPED).replace(".", "")


def is_name(phrase: str) -> bool:
    """Say whether a tidied phrase can name a thing: one to four words in Latin letters, and no sentence's."""
    letters = [letter for letter in phrase if letter.isalpha()]
    return (
        len(letters) > 1
        and all(ord(letter) <= 0x24F for letter in letters)
        and _NAME.fullmatch(phrase) is not None
        and phrase not in _NO_NAMES
        and phrase.split()[0] not in _NO_NAME_BEGINS
        and not _is_sentence(phrase)
    )


def _is_sentence(phrase: str) -> bool:
    words = phrase.split()
    return len(words) > _MOST_WORDS or not _NO_NAME_HAS.isdisjoint(words)


def _pieces(text: str) -> list[str]:
    """Return what stands between the separators of a list, as it stands there."""
    text = _FENCE.sub("", text).strip()
    if text.startswith("["):
        try:
            found = json.loads(text)
        except ValueError:
            pass  # such as one with single quotes, which reads by its commas
        else:
            return [name for name in found if isinstance(name, str)]
    lines = _INLINE_MARKER.sub("\n", text).splitlines()
    marked = [line for line in lines if _MARKER.match(line)]
    if len(marked) > 1:
        return [_REMARK.split(_MARKER.sub("", line).strip(_STRIPPED), maxsplit=1)[0] for line in marked]
    return _BETWEEN.split(_MARKER.sub("", _INTRODUCTION.sub("", text)))
