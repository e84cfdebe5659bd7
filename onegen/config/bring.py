"""What `bring` of a source says, entry by entry: which column comes from where, and what it holds. docs/build.md."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from onegen.config.registry import available
from onegen.errors import ConfigError, nearest

BRING = "bring"
"""Option of a source: columns it brings along with its images."""
WORDS = {"boxes": "detection", "keypoints": "pose", "masks": "segmentation"}
"""What people call a modality: `masks: seg.png` brings the column `segmentation`."""
_COLUMN = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True, slots=True)
class BringEntry:
    """One column to bring: the modality it is of, where each image of a sample has it, and the modality's options.

    `places` is one text an image, in the source's own words: a file's suffix, a field of a JSON file, a column of a
    table. `upright` says that it lies on the picture as viewers show it, not as its file holds it.
    """

    column: str
    use: str
    places: tuple[str, ...]
    upright: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)


def bring_entries(bring: Mapping[str, Any], roles: Sequence[str] = ()) -> dict[str, BringEntry]:
    """Return the entries by column; `roles` are what a sample's images are called where it has several.

    Raises ConfigError for an entry of another form, a modality that is unknown, and a column that is brought twice.
    """
    entries: dict[str, BringEntry] = {}
    words: dict[str, str] = {}
    for word, described in bring.items():
        entry = _entry(word, {"from": described} if isinstance(described, str) else described, roles)
        if entry.column in entries:
            raise ConfigError(
                f"bring must make a column once, got {words[entry.column]!r} and {word!r}, which both make "
                f"{entry.column!r}. Call one otherwise: {entry.column}_given: {{use: {entry.use}, from: ...}}."
            )
        entries[entry.column], words[entry.column] = entry, word
    return entries


def _entry(word: str, described: Any, roles: Sequence[str]) -> BringEntry:
    if not isinstance(described, Mapping) or "from" not in described:
        raise ConfigError(
            f"bring.{word} must say where it comes from, got {described!r}. Write {word}: depth.png, or "
            f"{word}: {{use: depth, from: depth.png}}."
        )
    options = {name: option for name, option in described.items() if name not in ("from", "use", "upright")}
    column, use = _names(word, described.get("use"))
    upright = described.get("upright", False)
    if not isinstance(upright, bool):
        raise ConfigError(f"bring.{word}.upright must be true or false, got {upright!r}.")
    return BringEntry(column, use, _places(word, described["from"], roles), upright, options)


def _places(word: str, start: Any, roles: Sequence[str]) -> tuple[str, ...]:
    if not roles:
        if not isinstance(start, str) or not start.strip("."):
            raise ConfigError(f"bring.{word}.from must be text, such as depth.png, got {start!r}.")
        return (start if start.startswith("..") else start.removeprefix("."),)
    if (
        not isinstance(start, Mapping)
        or set(start) != set(roles)
        or not all(isinstance(p, str) for p in start.values())
    ):
        form = ", ".join(f"{role}: {role}_{word}" for role in roles)
        raise ConfigError(f"bring.{word}.from must name one column an image, such as {{{form}}}, got {start!r}.")
    return tuple(start[role] for role in roles)


def _names(word: str, use: Any) -> tuple[str, str]:
    """Return the column an entry makes and the modality it is of."""
    known = [*available("annotators"), *WORDS]
    if not _COLUMN.fullmatch(word):
        raise ConfigError(f"bring must call a column by lower-case letters, digits and _, got {word!r}. Rename it.")
    if use is not None:
        use = WORDS.get(str(use), str(use))
        if word in available("annotators") and word != use:
            raise ConfigError(
                f"column {word!r} must be of the modality of its name, got use: {use!r}; what requires {word!r} would "
                f"read another's answers. Call the column otherwise."
            )
        return word, use
    if word in known:
        use = WORDS.get(word, word)
        return use, use
    stems = [name for name in known if word.startswith(f"{name}_")]
    if not stems:
        raise ConfigError(
            f"bring must say what {word!r} is; {nearest(word, known)}. For another name: {word}: {{use: depth, "
            f"from: ...}}."
        )
    stem = max(stems, key=len)
    return word, WORDS.get(stem, stem)
