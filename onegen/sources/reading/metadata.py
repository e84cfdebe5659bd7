"""The column `metadata` of a source: what a table or a JSON object says of an image, as typed fields of the index.

Text, numbers, booleans, and lists and objects of these are kept as they are; dates and decimals as text. A name the
index has itself (`key`, `status`, ...) gets an underscore.
"""

import datetime
import decimal
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from onegen.errors import ConfigError
from onegen.sample import Provides
from onegen.shards.index import BASE
from onegen.shards.views import OTHERS

METADATA = "metadata"


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


def kept_type(kind: pa.DataType) -> pa.DataType | None:
    """Return the type a column of a table is kept with, or None where it cannot be kept (bytes, maps)."""
    if pa.types.is_dictionary(kind):
        return kept_type(kind.value_type)
    if pa.types.is_boolean(kind) or pa.types.is_integer(kind):
        return kind
    if pa.types.is_floating(kind):
        return pa.float32() if pa.types.is_float16(kind) else kind
    if any(is_(kind) for is_ in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)):
        return pa.string()
    if pa.types.is_temporal(kind) or pa.types.is_decimal(kind) or pa.types.is_null(kind):
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


def json_types(objects: Sequence[Mapping[str, Any]]) -> dict[str, pa.DataType]:
    """Return names and types of what a few JSON objects say; what is neither number nor boolean is kept as text."""
    names = dict.fromkeys(name for fields in objects for name in fields)
    return {name: _json_type([fields[name] for fields in objects if fields.get(name) is not None]) for name in names}


def json_value(value: Any, kind: pa.DataType) -> Any:
    """Return a JSON value for a field of a type: lists and objects as JSON text where the field is text."""
    if value is None or isinstance(value, str) or not pa.types.is_string(kind):
        return value
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _json_type(values: Iterable[Any]) -> pa.DataType:
    kinds = {type(value) for value in values}
    if kinds == {bool}:
        return pa.bool_()
    if kinds == {int}:
        return pa.int64()
    return pa.float64() if kinds and kinds <= {int, float} else pa.string()
