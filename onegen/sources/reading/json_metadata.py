"""What is kept of the JSON beside an image, as the column `metadata`."""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from onegen.errors import ConfigError, nearest
from onegen.sample import Annotation, Provides
from onegen.sources.reading.metadata import METADATA, check_kept, field_name, json_value, provided
from onegen.sources.reading.sidecar import sidecar_object

_SAID_ELSEWHERE = ("caption", "status", "error_message")
"""Not kept unless asked for: the caption is in the image column, the others in what became of the row."""


def provided_of(types: Mapping[str, pa.DataType], keep: tuple[str, ...] | None, place: str) -> dict[str, Provides]:
    """Return the column of the names in `keep`, by default of all; raises ConfigError for a name nobody says."""
    unknown = [name for name in keep or () if name not in types]
    if unknown:
        raise ConfigError(
            f"keep must name what the JSON in {place} says, got {unknown[0]!r}; {nearest(unknown[0], list(types))}"
        )
    names = keep if keep is not None else [name for name in types if name not in _SAID_ELSEWHERE]
    return provided({name: types[name] for name in names})


def json_annotation(name: str, data: bytes, provides: Mapping[str, Provides], item: str) -> Annotation:
    """Return what is kept of a JSON file; raises SampleError bad_sidecar, or bad_metadata for what does not fit."""
    known = {field_name(spoken): value for spoken, value in sidecar_object(name, data).items()}
    return kept_annotation(known, provides, item)


def kept_annotation(known: Mapping[str, Any], provides: Mapping[str, Provides], item: str) -> Annotation:
    """Return what is kept of what is known by field; raises SampleError bad_metadata for what does not fit."""
    fields = provides[METADATA].fields
    values = {field: json_value(known.get(field), kind) for field, kind in fields.items()}
    for field, kind in fields.items():
        check_kept(field, values[field], kind, item)
    return Annotation(values)
