"""The column `metadata` of a source: what a table or a JSON object says of an image, as typed fields of the index.

Text, numbers, booleans, and lists and objects of these are kept as they are; dates and decimals as text. A name the
index has itself (`key`, `status`, ...) gets an underscore. A field has the type that holds what every file says of it:
null beside anything is that, integers beside floats are doubles.
"""

import datetime
import decimal
import json
import math
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from onegen.errors import ConfigError, SampleError
from onegen.sample import Provides
from onegen.shards.index import BASE
from onegen.shards.views import OTHERS

METADATA = "metadata"
_MOST_NAMES = 1000


def field_name(name: str) -> str:
    """Return the field a name of the source becomes."""
    return f"{name}_" if name in (*BASE, OTHERS) else name


def provided(types: Mapping[str, pa.DataType]) -> dict[str, Provides]:
    """Return what a source provides that keeps these names; raises ConfigError for two the index cannot tell apart."""
    if not types:
        return {}
    fields: dict[str, pa.DataType] = {}
    for name, kind in types.items():
        field = field_name(name)
        if field.lower() in {known.lower() for known in fields}:
            raise ConfigError(
                f"kept names must differ by more than case, got {name!r} twice. Rename one, or leave it out of keep."
            )
        fields[field] = kind
    return {METADATA: Provides(fields=fields)}


class UnlikeTypes(Exception):
    """Two types have none that holds what both hold."""


def joined_type(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    """Return the type that holds what two kept types hold; raises UnlikeTypes.

    A large integer beside floats, or beyond the integers of both signs, may not survive in it: see `check_kept`.
    """
    if one.equals(other) or pa.types.is_null(other):
        return one
    if pa.types.is_null(one):
        return other
    numbers = [pa.types.is_integer(kind) or pa.types.is_floating(kind) for kind in (one, other)]
    if all(numbers):
        if pa.types.is_integer(one) and pa.types.is_integer(other):
            return pa.int64()
        return pa.float64()
    if pa.types.is_list(one) and pa.types.is_list(other):
        return pa.list_(joined_type(one.value_type, other.value_type))
    if pa.types.is_struct(one) and pa.types.is_struct(other):
        inside = {field.name: field.type for field in one}
        for field in other:
            inside[field.name] = joined_type(inside.get(field.name, pa.null()), field.type)
        return pa.struct(list(inside.items()))
    raise UnlikeTypes


def settled_type(kind: pa.DataType) -> pa.DataType:
    """Return a kept type with text for what is null everywhere."""
    if pa.types.is_null(kind):
        return pa.string()
    if pa.types.is_list(kind):
        return pa.list_(settled_type(kind.value_type))
    return pa.struct([(f.name, settled_type(f.type)) for f in kind]) if pa.types.is_struct(kind) else kind


class KeptTypes:
    """The types of kept names, joined over all the places that say something of them."""

    def __init__(self) -> None:
        self._types: dict[str, pa.DataType] = {}
        self._places: dict[str, str] = {}

    def add(self, name: str, kind: pa.DataType, place: str) -> None:
        """Take in what a name is in one place; raises ConfigError where no type holds what it is there and before."""
        known = self._types.get(name, pa.null())
        try:
            joined = joined_type(known, kind)
        except UnlikeTypes:
            raise ConfigError(
                f"kept columns must hold values that go together, got {known} of {name!r} in {self._places[name]} and "
                f"{kind} in {place}. Make the files agree, or leave it out of keep."
            ) from None
        if name not in self._places or not joined.equals(known):
            self._places[name] = place
        self._types[name] = joined

    def settled(self) -> dict[str, pa.DataType]:
        """Return the type of each name, text for what is null everywhere."""
        return {name: settled_type(kind) for name, kind in self._types.items()}


def check_kept(name: str, value: Any, kind: pa.DataType, place: str) -> None:
    """Raise SampleError bad_metadata for a value that its field would not give back as it is."""
    if not _survives(value, kind):
        raise SampleError(
            "bad_metadata", f"{name} must fit its type {kind}, got {str(value)[:100]} in {place}. Leave it out of keep."
        )


def _survives(value: Any, kind: pa.DataType) -> bool:
    if value is None:
        return True
    if isinstance(value, bool):
        return bool(pa.types.is_boolean(kind))
    if isinstance(value, int) and pa.types.is_integer(kind):
        low = -(1 << (kind.bit_width - 1)) if pa.types.is_signed_integer(kind) else 0
        return low <= value < low + (1 << kind.bit_width)
    if isinstance(value, int) and pa.types.is_floating(kind):
        return abs(value) <= 1 << 1023 and bool(pa.scalar(float(value), kind).as_py() == value)
    if isinstance(value, float) and pa.types.is_floating(kind):
        return not math.isfinite(value) or bool(pa.scalar(value, kind).as_py() == value)
    if isinstance(value, list) and pa.types.is_list(kind):
        return all(_survives(entry, kind.value_type) for entry in value)
    if isinstance(value, Mapping) and pa.types.is_struct(kind):
        types = {field.name: field.type for field in kind}
        return all(name in types and _survives(entry, types[name]) for name, entry in value.items())
    return isinstance(value, str) and bool(pa.types.is_string(kind))


def kept_type(kind: pa.DataType) -> pa.DataType | None:
    """Return the type a column of a table is kept with, null where it says nothing; None for bytes and maps."""
    if pa.types.is_dictionary(kind):
        return kept_type(kind.value_type)
    if pa.types.is_boolean(kind) or pa.types.is_integer(kind):
        return kind
    if pa.types.is_floating(kind):
        return pa.float32() if pa.types.is_float16(kind) else kind
    if any(is_(kind) for is_ in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)):
        return pa.string()
    if pa.types.is_null(kind):
        return kind
    if pa.types.is_temporal(kind) or pa.types.is_decimal(kind):
        return pa.string()
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        inner = kept_type(kind.value_type)
        return pa.list_(inner) if inner is not None else None
    if pa.types.is_struct(kind):
        inside = {field.name: kept_type(field.type) for field in kind}
        return (
            pa.struct(list(inside.items())) if inside and all(known is not None for known in inside.values()) else None
        )
    return None


def kept(value: Any) -> Any:
    """Return a table's value as the kept type holds it."""
    if isinstance(value, datetime.datetime | datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, decimal.Decimal | datetime.timedelta):
        return str(value)
    if isinstance(value, Mapping):
        return {name: kept(inner) for name, inner in value.items()}
    return [kept(inner) for inner in value] if isinstance(value, list) else value


class JsonTypes:
    """The types of what JSON objects say: numbers, booleans, and text for all else and for what differs."""

    def __init__(self) -> None:
        self._kinds: dict[str, set[type]] = {}

    def add(self, about: Mapping[str, Any], place: str) -> None:
        """Take in one object; raises ConfigError where the objects have more names than any table has columns."""
        for name, value in about.items():
            if name not in self._kinds:
                if len(self._kinds) == _MOST_NAMES:
                    raise ConfigError(
                        f"JSON must have at most {_MOST_NAMES:,} names to keep them all, got more by {place}. Choose "
                        f"some with keep."
                    )
                self._kinds[name] = set()
            if value is not None:
                fits = type(value) is not int or -(1 << 63) <= value < 1 << 63
                self._kinds[name].add(type(value) if fits else str)

    def types(self) -> dict[str, pa.DataType]:
        """Return the type of each name, null where nothing is said."""
        return {name: _json_type(kinds) for name, kinds in self._kinds.items()}


def json_value(value: Any, kind: pa.DataType) -> Any:
    """Return a JSON value for a field of a type: lists and objects as JSON text where the field is text."""
    if value is None or isinstance(value, str) or not pa.types.is_string(kind):
        return value
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _json_type(kinds: set[type]) -> pa.DataType:
    if not kinds:
        return pa.null()
    if kinds == {bool}:
        return pa.bool_()
    if kinds == {int}:
        return pa.int64()
    return pa.float64() if kinds <= {int, float} else pa.string()
