"""What stands beside an image as text or JSON: its caption, licence and attribution, each of them text or absent."""

import json
from collections.abc import Callable, Iterable
from typing import Any

from onegen.errors import SampleError

FACTS = {"caption": ("caption", "text"), "licence": ("licence", "license"), "attribution": ("attribution",)}
"""What JSON may say of an image, and how each may be spelled; the first spelling that says something counts."""
_MEND = "Mend it, then `onegen retry`."


def sidecar_text(name: str, data: bytes) -> str:
    """Return the text of a file, without a byte order mark; raises SampleError bad_sidecar."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SampleError("bad_sidecar", f"{name} must be UTF-8 text: {error}. {_MEND}") from error


def sidecar_object(name: str, data: bytes) -> dict[str, Any]:
    """Return a JSON object; NaN and infinities, which JSON does not have, are null. Raises SampleError bad_sidecar."""
    return _object(name, data, lambda constant: None)


def sidecar_facts(name: str, data: bytes, wanted: Iterable[str] = FACTS) -> dict[str, str]:
    """Return which of the wanted facts a JSON object states; null and empty text state nothing.

    Raises SampleError bad_sidecar for another file, and for a fact that is no text: a NaN, a list or a boolean is no
    caption, and taken as text it would be published as one.
    """
    stated = _object(name, data, float)
    facts: dict[str, str] = {}
    for fact in wanted:
        for spelling in FACTS[fact]:
            value = stated.get(spelling)
            if value is not None and not isinstance(value, str):
                raise SampleError(
                    "bad_sidecar",
                    f"{spelling} must be text or null, got {json.dumps(value)[:100]} in {name}. {_MEND}",
                )
            if value:
                facts[fact] = value
                break
    return facts


def _object(name: str, data: bytes, constant: Callable[[str], Any]) -> dict[str, Any]:
    text = sidecar_text(name, data)
    try:
        value = json.loads(text, parse_constant=constant)
    except (ValueError, RecursionError) as error:
        raise SampleError("bad_sidecar", f"{name} must be a JSON object: {error}. {_MEND}") from error
    if not isinstance(value, dict):
        raise SampleError("bad_sidecar", f"{name} must be a JSON object, got {type(value).__name__}. {_MEND}")
    return value
