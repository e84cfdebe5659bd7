"""What a source that lists files has of a column it brings: a file beside the picture, or a field of a JSON file.

`depth.png` is the file whose name goes on so; `json.objects` the field `objects` of the JSON file, `boxes.json.all` the
field `all` of the file `boxes.json`.
"""

import json
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from onegen.config.bring import BringEntry, bring_entries
from onegen.errors import ConfigError, SampleError
from onegen.sources.reading.columns import column_value
from onegen.sources.reading.sidecar import sidecar_text

_JSON = "json"


def split_place(place: str) -> tuple[str, str]:
    """Return the suffix of a file, in lower case, and the name of a field of it, "" for the whole file."""
    names = place.split(".")
    lowered = [name.lower() for name in names]
    end = lowered.index(_JSON) + 1 if _JSON in lowered else len(names)
    return ".".join(lowered[:end]), ".".join(names[end:])


class BringsFiles:
    """Base of sources whose pictures have files beside them; `bring` is their option."""

    bring: Mapping[str, Any]

    @cached_property
    def entries(self) -> Mapping[str, BringEntry]:
        """What the recipe brings along, by column; raises ConfigError for an entry that is none."""
        return bring_entries(self.bring)

    @cached_property
    def suffixes(self) -> frozenset[str]:
        """How the names of the files that entries name go on, in lower case."""
        return frozenset(split_place(place)[0] for entry in self.entries.values() for place in entry.places)

    def check_brought(self) -> None:
        """Raise ConfigError for a file that stands in another folder; which pictures have one is told by their rows."""
        for entry in self.entries.values():
            for place in entry.places:
                if set("/\\") & set(split_place(place)[0]):
                    raise ConfigError(
                        f"bring.{entry.column}.from must be how a name goes on beside its picture, got {place!r}. Put "
                        f"photo.depth.png beside photo.jpg and write depth.png."
                    )

    def is_list(self, data: bytes) -> bool:
        """Say whether a JSON file is a list that is brought whole, and so states neither caption nor licence."""
        return any(_JSON in entry.places for entry in self.entries.values()) and data.lstrip().startswith(b"[")


def value_in(name: str, data: bytes, place: str) -> Any:
    """Return what a file says for an entry: its bytes, or plain data of JSON, None where it says nothing.

    Raises SampleError brought_value for JSON that does not read. NaN stays what it is, so that it is refused.
    """
    suffix, field = split_place(place)
    if suffix.rpartition(".")[2] != _JSON:
        return data
    try:
        value = json.loads(sidecar_text(name, data))
    except (ValueError, RecursionError) as error:
        raise SampleError("brought_value", f"{name} must be JSON: {error}. Mend it, then `onegen retry`.") from error
    if not field:
        return value
    try:
        return column_value(value, field) if isinstance(value, Mapping) else None
    except (KeyError, TypeError):
        return None
