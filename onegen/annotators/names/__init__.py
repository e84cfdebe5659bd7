"""What there is in a picture, by name: what detectors that know no classes look for. Whichever backend says so."""

import json
import re
from collections.abc import Iterable

import pyarrow as pa

from onegen.annotators.caption import clean
from onegen.errors import SampleError
from onegen.sample import Annotation, Provides

PROVIDES = Provides(fields={"names": pa.list_(pa.string()), "num_names": pa.int32()})
"""`names`: at most ten entities and subjects of the picture, in lower case, each once; how many there are."""

MAX_NAMES = 10
"""One-Gen's limit (paper, section 4)."""
PROMPT = (
    "Name the main subjects and objects in this image, at most ten. Answer with a comma-separated list of short nouns "
    "in the singular, such as: woman, red car, dog, bench. No sentence, nothing else."
)
_MOST_WORDS = 4
_ARTICLE = re.compile(r"^(?:an?|the|some|one|two|three|several|many)\s+", re.IGNORECASE)
_BULLET = re.compile(r"^\s*(?:[-*\u2022]|\(?\d+[.)])\s*")
_NOUN = re.compile(r"[a-z][a-z0-9 '\-]*")


def annotation_of(names: Iterable[str]) -> Annotation:
    """Return what the column stores of names."""
    once = list(dict.fromkeys(names))
    return Annotation({"names": once, "num_names": len(once)})


def parse_names(text: str, most: int = MAX_NAMES) -> list[str]:
    """Return the names in a model's answer: a list in JSON, of lines or bullets, or between commas; each once.

    Articles, quotes and full stops go. Raises SampleError `bad_names` for an answer that is no list of short nouns, as
    a whole or in most of its parts: a sentence taken for names would be looked for in the picture.
    """
    parts = [part for part in _parts(text) if part.strip(" .\"'`")]
    names = [name for name in map(_noun, parts) if name]
    if not names or 2 * len(names) < len(parts):
        raise SampleError("bad_names", f"a model must name things between commas, got {text[:200]!r}.")
    return list(dict.fromkeys(names))[:most]


def _parts(text: str) -> list[str]:
    start, end = text.find("["), text.rfind("]")
    if 0 <= start < end:
        try:
            return [str(part) for part in json.loads(text[start : end + 1])]
        except ValueError:
            pass
    lines = [_BULLET.sub("", line) for line in text.splitlines() if line.strip()]
    return [part for line in lines for part in line.split(",")]


def _noun(part: str) -> str:
    """Return a part of an answer as a name, "" for what is none."""
    plain = clean(part, len(part) or 1).strip(" .\"'`:;").lower()
    plain = _ARTICLE.sub("", plain.removeprefix("and ").strip())
    return plain if len(plain.split()) <= _MOST_WORDS and _NOUN.fullmatch(plain) else ""
