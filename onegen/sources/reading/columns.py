"""Columns of a table by the name a recipe gives them.

A name with dots means a field of structs, `description.item`; a column whose own name has the dots comes first. Rows of
the chosen columns are looked up by the same rule, so that a worker needs no schema.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import pyarrow as pa

Pick = Literal["first", "longest"]
"""Which entry of a list of texts counts: the first that is not blank, or the one of most characters."""


def column_type(schema: pa.Schema | pa.StructType, name: str) -> pa.DataType | None:
    """Return the type of the column a name means, or None where there is no such column, or more than one."""
    index = schema.get_field_index(name)
    if index >= 0:
        return schema.field(index).type
    for head, rest in _splits(name):
        index = schema.get_field_index(head)
        if index >= 0 and pa.types.is_struct(schema.field(index).type):
            kind = column_type(schema.field(index).type, rest)
            if kind is not None:
                return kind
    return None


def column_names(schema: pa.Schema | pa.StructType) -> list[str]:
    """Return every name that `column_type` knows."""
    names = []
    for field in schema:
        names.append(field.name)
        if pa.types.is_struct(field.type):
            names += [f"{field.name}.{inner}" for inner in column_names(field.type)]
    return names


def column_value(row: Mapping[str, Any], name: str) -> Any:
    """Return what a row says in the column a name means; None also where a struct around it is null.

    Raises KeyError where the row has no such column.
    """
    if name in row:
        return row[name]
    for head, rest in _splits(name):
        if head in row:
            struct = row[head]
            return column_value(struct, rest) if struct is not None else None
    raise KeyError(name)


def is_bytes(kind: pa.DataType) -> bool:
    """Say whether values of a type are bytes."""
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind)


def is_text(kind: pa.DataType) -> bool:
    """Say whether values of a type are text."""
    if pa.types.is_dictionary(kind):
        return is_text(kind.value_type)
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def is_texts(kind: pa.DataType) -> bool:
    """Say whether values of a type are lists of text."""
    lists = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    return any(is_list(kind) for is_list in lists) and is_text(kind.value_type)


def is_picture(kind: pa.DataType) -> bool:
    """Say whether values of a type may hold a picture: bytes, a path, or the struct of both that HF `datasets` writes.

    Such a struct has the field `bytes`, and may have `path`.
    """
    if pa.types.is_struct(kind):
        index = kind.get_field_index("bytes")
        return index >= 0 and is_bytes(kind.field(index).type)
    return is_bytes(kind) or is_text(kind)


def _splits(name: str) -> Iterator[tuple[str, str]]:
    """Yield the ways to cut a name at a dot, the longest head first."""
    for at in reversed(range(len(name))):
        if name[at] == ".":
            yield name[:at], name[at + 1 :]
