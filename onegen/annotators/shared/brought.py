"""What a source brings, as a modality takes it: the contract, and plain data, words and numbers.

A modality that can be brought says how in a class of its module, which the module calls `BROUGHT`. docs/build.md.
"""

import json
import math
from typing import Any, ClassVar, Protocol

from onegen.errors import SampleError
from onegen.sample import Annotation, Brought, Item, Placement, Provides, Rejected

_LARGEST = 1e15


class BroughtReader(Protocol):
    """How a modality takes what a source brings: a frozen dataclass whose fields are further options of the entry.

    `version` is raised when results change. `is_file` says that what is brought is a picture, so that text in a table
    is its path; `on_pixels` that it lies on the pixels of the original and needs the item's `placement`.
    """

    version: ClassVar[int]
    provides: ClassVar[Provides]
    is_file: ClassVar[bool]
    on_pixels: ClassVar[bool]

    def take(self, item: Item) -> Annotation | Rejected:
        """Return what the column stores of `item.brought`; raises SampleError for what it cannot."""
        ...


class BaseReader:
    """What most readers have in common: their first version, plain data, nothing on pixels."""

    version: ClassVar[int] = 1
    is_file: ClassVar[bool] = False
    on_pixels: ClassVar[bool] = False


def brought_of(item: Item) -> Brought:
    """Return what the source says of an item that it says something of."""
    assert item.brought is not None, "only what is there is read"
    return item.brought


def placement_in(brought: Brought) -> Placement:
    """Return where the original lies, for a modality that is `on_pixels`."""
    assert brought.placement is not None, "a modality on pixels is fed with the placement"
    return brought.placement


def plain_of(brought: Brought) -> Any:
    """Return plain data: what JSON text says, or what a table holds; raises SampleError brought_value."""
    value = brought.value
    if not isinstance(value, str | bytes):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError) as error:
        raise SampleError("brought_value", f"{brought.place} must be JSON: {error}.") from error


def text_of(brought: Brought) -> str:
    """Return text, the first of a list of texts that says something, "" for none; raises SampleError brought_value."""
    value = brought.value
    for text in value if isinstance(value, list | tuple) else [value]:
        if isinstance(text, bytes):
            try:
                text = text.decode("utf-8-sig")
            except UnicodeDecodeError as error:
                raise SampleError("brought_value", f"{brought.place} must be UTF-8 text: {error}.") from error
        if not isinstance(text, str | None):
            raise SampleError("brought_value", f"{brought.place} must be text, got {shown(text)}.")
        if text is not None and text.strip():
            return text
    return ""


def number_of(place: str, value: Any, low: float = -math.inf, high: float = math.inf) -> float:
    """Return a finite number within limits; raises SampleError brought_value."""
    if not is_number(value):
        raise SampleError("brought_value", f"{place} must be a finite number, got {shown(value)}.")
    if not low <= value <= high:
        raise SampleError("brought_value", f"{place} must be in [{low:g}, {high:g}], got {value}.")
    return float(value)


def is_number(value: Any) -> bool:
    """Say whether a value is a number that can be stored: no truth, no NaN, no infinity."""
    # Compared, not asked whether it is finite: JSON has whole numbers that no float can hold.
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _LARGEST


def shown(value: Any) -> str:
    """Return a value as messages show it."""
    return f"{value!r}"[:200]
