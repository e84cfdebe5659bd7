"""The 20 colours that tell entities apart in semantic maps, in boxes and in prompts (paper, section 3)."""

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from onegen.errors import ConfigError, nearest

COLOURS: Mapping[str, str] = {
    "red": "FF0000",
    "lime": "00FF00",
    "blue": "0000FF",
    "yellow": "FFFF00",
    "magenta": "FF00FF",
    "cyan": "00FFFF",
    "orange": "FFA500",
    "purple": "800080",
    "brown": "A52A2A",
    "green": "008000",
    "pink": "FFC0CB",
    "teal": "008080",
    "darkorange": "FF8C00",
    "blueviolet": "8A2BE2",
    "darkgreen": "006400",
    "orangered": "FF4500",
    "navy": "000080",
    "gold": "FFD700",
    "turquoise": "40E0D0",
    "orchid": "DA70D6",
}
"""The 20 colours of entities, CSS name to RRGGBB."""


def find_colour(name: str) -> str:
    """Return the table's spelling of a colour given as name or hex (`red`, `#ff0000`), else raise ConfigError."""
    wanted = name.strip().lstrip("#")
    by_hex = {code: colour for colour, code in COLOURS.items()}
    colour = by_hex.get(wanted.upper(), wanted.lower())
    if colour not in COLOURS:
        raise ConfigError(f"colour must be one of the 20 of the table, got {name!r}; {nearest(colour, list(COLOURS))}")
    return colour


@dataclass(frozen=True, slots=True)
class Entity:
    """A named thing in the image and the colour (name in `COLOURS`) it has in the semantic map or the boxes."""

    label: str
    colour: str

    def __post_init__(self) -> None:
        if find_colour(self.colour) != self.colour:
            raise ConfigError(f"colour must be spelt {find_colour(self.colour)!r}, got {self.colour!r}.")
        if not self.label or re.search(r"[<>\[\]]", self.label):
            raise ConfigError(f"label of an entity must be plain text without <, >, [ or ], got {self.label!r}.")

    def tag(self, kind: str) -> str:
        """Return `<#FF0000 red mask: cat>`: upper-case hex, lower-case name, as in the paper and the prompt guide."""
        return f"<#{COLOURS[self.colour]} {self.colour} {kind}: {self.label}>"


def assign_colours(labels: Sequence[str], seed: int) -> tuple[Entity, ...]:
    """Return one entity per different label, in order, each with its own colour drawn by `seed` alone.

    Raises ConfigError for more than 20 different labels.
    """
    different = list(dict.fromkeys(labels))
    if len(different) > len(COLOURS):
        raise ConfigError(
            f"different labels must be at most {len(COLOURS)}, got {len(different)}. Drop the smallest ones."
        )
    drawn = random.Random(seed).sample(list(COLOURS), len(different))
    return tuple(Entity(label, colour) for label, colour in zip(different, drawn, strict=True))
