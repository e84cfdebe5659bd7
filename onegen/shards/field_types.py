"""Types of index fields as JSON, there and back: "int64", {"list": "string"}, {"struct": {"width": "int64"}}."""

from typing import Any

import pyarrow as pa

_ALIASES = (
    "bool",
    *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)),
    "float",
    "double",
    "string",
)


def type_to_json(kind: pa.DataType) -> Any:
    """Return a type as JSON; raises ValueError for one that no field has."""
    if pa.types.is_list(kind):
        return {"list": type_to_json(kind.value_type)}
    if pa.types.is_struct(kind):
        return {"struct": {field.name: type_to_json(field.type) for field in kind}}
    if str(kind) not in _ALIASES:
        raise ValueError(f"field must be of one of {', '.join(_ALIASES)}, a list or a struct, got {kind}")
    return str(kind)


def type_from_json(value: Any) -> pa.DataType:
    """Return the type that JSON means; raises ValueError for anything else."""
    match value:
        case str() if value in _ALIASES:
            return pa.type_for_alias(value)
        case {"list": inner, **rest} if not rest:
            return pa.list_(type_from_json(inner))
        case {"struct": {**fields}, **rest} if not rest:
            return pa.struct([(name, type_from_json(inner)) for name, inner in fields.items()])
    raise ValueError(f"type must be one of {', '.join(_ALIASES)}, a list or a struct, got {value!r}")
