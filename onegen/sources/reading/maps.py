"""Maps that a scene brings along, a view each: distances along the optical axis, and where the subject is."""

from collections.abc import Mapping
from functools import cached_property
from typing import Any, ClassVar

from onegen.config.bring import BringEntry, bring_entries
from onegen.errors import ConfigError

DEPTH, MASK = "depth", "mask"
"""Places of what can be brought along, where a scene has it."""


class BringsMaps:
    """Base of sources of scenes whose recipes may say `bring: {depth: {from: depth, near: dark}, masks: mask}`."""

    bring: Mapping[str, Any]
    has_maps: ClassVar[str]
    """What the maps are of, in messages: a render, a capture."""

    @cached_property
    def entries(self) -> Mapping[str, BringEntry]:
        """What the recipe brings along, by column; raises ConfigError for an entry that is none."""
        return bring_entries(self.bring)

    def check_brought(self) -> None:
        """Raise ConfigError for what no scene of this source has."""
        for entry in self.entries.values():
            if entry.places[0] not in (DEPTH, MASK):
                raise ConfigError(
                    f"bring.{entry.column}.from must be {DEPTH} or {MASK} of {self.has_maps}, got {entry.places[0]!r}. "
                    f"Write {entry.column}: {{from: {DEPTH}, near: dark}}."
                )
