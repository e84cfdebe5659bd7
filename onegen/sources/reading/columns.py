"""Columns of a table by the name a recipe gives them.

A name with dots means a field of structs, `description.item`, one with a number in brackets an element of a list,
`images[0]`, from its end where it is negative; a column whose own name is written so comes first. Rows of the chosen
columns are looked up by the same rule, so that a worker needs no schema.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import pyarrow as pa

from onegen.config.parse import Config
from onegen.shards.key import seed_of

Pick = Literal["first", "longest", "random"]
"""Which entry of a list of texts counts, of those that are not blank: the first, the one of most characters, or any.

Any is drawn by the name of the item, so that it is the same on every machine and in every run.
"""
_ELEMENT = re.compile(r"(.+)\[(-?\d+)\]")


class TextColumn(Config):
    """A column of lists of texts: {column: captions, pick: longest}."""

    column: str
    pick: Pick = "first"


def text_column(named: str | TextColumn | None) -> TextColumn | None:
    """Return the column an option names, a bare name like one whose first entry counts; None for none."""
    return TextColumn(column=named) if isinstance(named, str) else named


def picked(texts: Sequence[str | None], pick: Pick, item: str) -> str | None:
    """Return the entry that counts, None where all are blank; `item` is the id by which any is drawn."""
    said = [text for text in texts if text and text.strip()]
    if not said:
        return None
    if pick == "longest":
        return max(said, key=len)
    return said[seed_of(item, "pick", 1) % len(said) if pick == "random" else 0]


def stored_columns(name: str) -> list[str]:
    """Return the columns that must be read for a name: the one called so, or the one whose element is meant."""
    at = name.find("[")
    return [name] if at < 1 else [name, name[:at]]


def column_type(schema: pa.Schema | pa.StructType, name: str) -> pa.DataType | None:
    """Return the type of the column a name means, or None where there is no such column, or more than one."""
    index = schema.get_field_index(name)
    if index >= 0:
        return schema.field(index).type
    element = _ELEMENT.fullmatch(name)
    if element is not None:
        lists = column_type(schema, element[1])
        return lists.value_type if lists is not None and is_list(lists) else None
    for head, rest in _splits(name):
        struct = column_type(schema, head)
        kind = column_type(struct, rest) if struct is not None and pa.types.is_struct(struct) else None
        if kind is not None:
            return kind
    return None


def column_names(schema: pa.Schema | pa.StructType) -> list[str]:
    """Return every name that `column_type` knows, but for elements of lists."""
    names = []
    for field in schema:
        names.append(field.name)
        if pa.types.is_struct(field.type):
            names += [f"{field.name}.{inner}" for inner in column_names(field.type)]
    return names


def column_value(row: Mapping[str, Any], name: str) -> Any:
    """Return what a row says in the column a name means.

    None also where a struct or list around it is null or too short. Raises KeyError where the row has no such column.
    """
    if name in row:
        return row[name]
    element = _ELEMENT.fullmatch(name)
    if element is not None:
        values, index = column_value(row, element[1]), int(element[2])
        return values[index] if isinstance(values, list) and -len(values) <= index < len(values) else None
    for head, rest in _splits(name):
        try:
            struct = column_value(row, head)
        except KeyError:
            continue
        return column_value(struct, rest) if isinstance(struct, Mapping) else None
    raise KeyError(name)


def is_bytes(kind: pa.DataType) -> bool:
    """Say whether values of a type are bytes."""
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind)


def is_text(kind: pa.DataType) -> bool:
    """Say whether values of a type are text."""
    if pa.types.is_dictionary(kind):
        return is_text(kind.value_type)
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def is_list(kind: pa.DataType) -> bool:
    """Say whether values of a type are lists."""
    return any(is_kind(kind) for is_kind in (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list))


def is_texts(kind: pa.DataType) -> bool:
    """Say whether values of a type are lists of text."""
    return is_list(kind) and is_text(kind.value_type)


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
