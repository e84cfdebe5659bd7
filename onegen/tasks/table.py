"""The task table: which views a task has, which may be generated, and how its prompt reads.

One table for the loader (writes prompts), the sampler (checks and completes them) and the audit (reads them back).
Facts and spellings follow the released model (OneDiffusion, arXiv 2411.16318, sections 3 and 4 and its prompt guide):
tokens are plain lower-case text, view 0 is the image, `[[imgK]]` announces the caption of view K, and the direction
of a task is only its mask.
"""

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from onegen.config.registry import nearest
from onegen.sample import ConfigError

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

MAX_REFERENCES = 4
"""Identity samples have 2 to 5 views: the target and up to four references (paper, section 4.3)."""


@dataclass(frozen=True, slots=True)
class Task:
    """One row of the table.

    `views` are the roles of the views in order; `repeats` the role (or roles) that may follow or repeat: references
    of an identity, frames of a scene. `generated` are the roles a mask may set to 1. `entities` is the word in `<#HEX
    name WORD: class>`. `numbered` prompts caption every view with `[[imgK]]`. `steps` and `guidance` are the
    suggestions of the released model.
    """

    name: str
    views: tuple[str, ...]
    generated: tuple[str, ...] = ("image",)
    repeats: Literal["", "reference", "frame"] = ""
    entities: Literal["", "mask", "boundingbox"] = ""
    numbered: bool = False
    item: bool = False
    steps: int = 50
    guidance: float = 4.0

    @property
    def token(self) -> str:
        """The text that opens the prompt."""
        return f"[[{self.name}]]"

    def mask(self, *predict: str) -> tuple[int, ...]:
        """Return the mask of `views` that generates the roles in `predict`: 1 starts from noise, 0 is a condition."""
        return tuple(int(role in predict) for role in self.views)


def _condition(name: str, role: str, entities: Literal["", "mask", "boundingbox"] = "") -> Task:
    """Return a task of two views, trained in both directions."""
    return Task(name, ("image", role), generated=("image", role), entities=entities)


TASKS: Mapping[str, Task] = {
    task.name: task
    for task in (
        Task("text2image", ("image",)),
        Task("deblurring", ("image", "blurred")),
        Task("image_inpainting", ("image", "masked")),
        Task("super_resolution", ("image", "low_resolution")),
        _condition("canny2image", "canny"),
        _condition("depth2image", "depth"),
        _condition("hed2img", "hed"),
        _condition("pose2image", "pose"),
        _condition("semanticmap2image", "semantic_map", entities="mask"),
        _condition("boundingbox2image", "boxes", entities="boundingbox"),
        Task("image_editing", ("image", "source"), steps=60, guidance=3.2),
        Task("faceid", ("image", "reference"), repeats="reference", numbered=True, steps=75),
        Task("subject_driven", ("image", "source"), numbered=True, item=True, steps=70),
        Task("multiview", ("image", "ray"), generated=("image", "ray"), repeats="frame", steps=60),
    )
}


def find_task(name: str) -> Task:
    """Return the task called `name`. Raises ConfigError naming the nearest one."""
    if name not in TASKS:
        raise ConfigError(f"task must be one of the table's, got {name!r}; {nearest(name, list(TASKS))}")
    return TASKS[name]


def find_tasks(names: str | Sequence[str]) -> tuple[Task, ...]:
    """Return the tasks of a name, of a `first+second` combination, or of a sequence of names, in token order."""
    parts = names.split("+") if isinstance(names, str) else list(names)
    tasks = tuple(find_task(part.strip()) for part in parts)
    if len({task.name for task in tasks}) != len(tasks) or not tasks:
        raise ConfigError(f"tasks of a combination must be one or more different ones, got {parts}.")
    alone = [task.name for task in tasks if len(task.views) == 1 or task.repeats == "frame"]
    if len(tasks) > 1 and alone:
        raise ConfigError(
            f"tasks of a combination must each add a condition to one image, got {alone[0]!r}. Run it alone."
        )
    return tasks


def view_roles(tasks: Sequence[Task], num_views: int) -> tuple[str, ...]:
    """Return the role of each of `num_views` views: the image, then what each task adds, in task order.

    Raises ConfigError when the tasks cannot have that many views.
    """
    name = "+".join(task.name for task in tasks)
    if tasks[0].repeats == "frame":
        if num_views < 2 or num_views % 2:
            raise ConfigError(f"views of {name!r} must be pairs of an image and a camera, got {num_views} views.")
        return tasks[0].views * (num_views // 2)
    extra = num_views - 1 - sum(len(task.views) - 1 for task in tasks)
    repeating = any(task.repeats == "reference" for task in tasks)
    if extra < 0 or extra > (MAX_REFERENCES - 1 if repeating else 0):
        fixed = num_views - extra
        allowed = f"{fixed} to {fixed + MAX_REFERENCES - 1}" if repeating else str(fixed)
        expected = ", ".join(["image", *(role for task in tasks for role in task.views[1:])])
        raise ConfigError(
            f"views of {name!r} must be {allowed} ({expected}), got {num_views}. Give one image per condition."
        )
    roles = ["image"]
    for task in tasks:
        roles += task.views[1:] * (1 + extra if task.repeats == "reference" else 1)
    return tuple(roles)


def check_mask(tasks: Sequence[Task], mask: Sequence[int]) -> tuple[str, ...]:
    """Return the roles of the views of `mask` (1 = generated, 0 = given).

    Raises ConfigError for a wrong number of views, when nothing is left to generate, or when a role is to be
    generated that these tasks only take as a condition.
    """
    roles = view_roles(tasks, len(mask))
    name = "+".join(task.name for task in tasks)
    if not any(mask):
        raise ConfigError(
            f"views of {name!r} must leave one to generate, got {len(mask)} given. Leave the wanted one out."
        )
    may = {role for task in tasks for role in task.generated}
    for index, (role, generated) in enumerate(zip(roles, mask, strict=True)):
        if generated and role not in may:
            raise ConfigError(
                f"view {index} of {name!r} ({role}) must be given, got none. It generates {', '.join(sorted(may))}."
            )
    return roles


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


_TOKEN = re.compile(r"\s*\[\[([^\[\]]*)\]\]")
_ITEM = re.compile(r"\s*<item:\s*([^<>]*)>")
_ENTITY = re.compile(r"\s*<#([0-9A-Fa-f]{6}) ([A-Za-z]+) (mask|boundingbox): ([^<>]+)>")
_MARKER = re.compile(r"\[\[img(\d+)\]\]")


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt taken apart: `str(prompt)` writes it, `Prompt.parse` reads it back.

    `captions` holds one caption, or for numbered tasks one per view (empty ones allowed).
    """

    tasks: tuple[str, ...]
    captions: tuple[str, ...] = ("",)
    entities: tuple[Entity, ...] = ()
    item: str = ""

    def __post_init__(self) -> None:
        tasks = find_tasks(self.tasks)
        numbered = any(task.numbered for task in tasks)
        if not self.captions or (len(self.captions) != 1 and not numbered):
            raise ConfigError(f"prompt of {self.tasks} must have one caption, got {len(self.captions)}.")
        if numbered:
            view_roles(tasks, len(self.captions))
        if self.entities and self._entity_word() is None:
            raise ConfigError(f"entities must go with semanticmap2image or boundingbox2image, got {self.tasks}.")
        if self.item and not any(task.item for task in tasks):
            raise ConfigError(f"item must go with subject_driven, got {self.tasks}. Leave it out.")
        for caption in self.captions:
            if "[[" in caption or "]]" in caption or "<#" in caption or "<item:" in caption:
                raise ConfigError(f"caption must be plain text without [[, ]], <# or <item:, got {caption!r}.")

    def _entity_word(self) -> str | None:
        words = [task.entities for task in find_tasks(self.tasks) if task.entities]
        return words[0] if words else None

    def __str__(self) -> str:
        pieces = [TASKS[name].token for name in self.tasks]
        if self.item:
            pieces.append(f"<item: {self.item}>")
        pieces += [entity.tag(self._entity_word() or "") for entity in self.entities]
        if any(TASKS[name].numbered for name in self.tasks):
            pieces += [f"[[img{index}]] {caption}".strip() for index, caption in enumerate(self.captions)]
        else:
            pieces.append(self.captions[0])
        return " ".join(piece for piece in pieces if piece)

    @classmethod
    def parse(cls, text: str) -> "Prompt":
        """Return the parts of a written prompt, colours in the table's spelling.

        Raises ConfigError for an unknown token, a colour outside the table or unlike its hex, a tag of the wrong
        task, or `[[imgK]]` out of order.
        """
        names, rest = _take_tokens(text)
        item, rest = _take_item(rest)
        entities, rest = _take_entities(rest, names)
        return cls(names, _split_captions(rest, names), entities, item)


def _take_tokens(text: str) -> tuple[tuple[str, ...], str]:
    names: list[str] = []
    while (match := _TOKEN.match(text)) and not _MARKER.match(match[0].strip()):
        names.append(find_task(match[1]).name)
        text = text[match.end() :]
    if not names:
        raise ConfigError(f"prompt must open with a task token such as [[text2image]], got {text[:40]!r}.")
    return tuple(names), text


def _take_item(text: str) -> tuple[str, str]:
    match = _ITEM.match(text)
    return (match[1].strip(), text[match.end() :]) if match else ("", text)


def _take_entities(text: str, names: tuple[str, ...]) -> tuple[tuple[Entity, ...], str]:
    words = {TASKS[name].entities for name in names}
    entities: list[Entity] = []
    while match := _ENTITY.match(text):
        code, colour, word, label = match.groups()
        spelt = find_colour(colour)
        if COLOURS[spelt] != code.upper():
            raise ConfigError(f"colour {spelt!r} must have the hex #{COLOURS[spelt]}, got #{code}.")
        if word not in words:
            raise ConfigError(f"tag of {'+'.join(names)} must not be a {word}, got {match[0].strip()!r}.")
        entities.append(Entity(label.strip(), spelt))
        text = text[match.end() :]
    return tuple(entities), text


def _split_captions(text: str, names: tuple[str, ...]) -> tuple[str, ...]:
    if not any(TASKS[name].numbered for name in names):
        return (text.strip(),)
    head, *pieces = _MARKER.split(text)
    indices = [int(index) for index in pieces[::2]]
    if head.strip() or indices != list(range(len(indices))) or not indices:
        raise ConfigError(
            f"prompt of {'+'.join(names)} must caption each view: [[img0]] ... [[img1]] ..., got {text.strip()!r}."
        )
    return tuple(piece.strip() for piece in pieces[1::2])


def complete_prompt(tasks: Sequence[Task], prompt: "str | Prompt", num_views: int) -> str:
    """Return the whole prompt of a sample with `num_views` views.

    `prompt` is a `Prompt`, a written prompt that opens with its tokens (checked, kept as it is written), or a bare
    caption. The conditions of a combination repeat the target's caption (the released model asks for it); references
    get empty captions. Raises ConfigError when a written prompt is of other tasks or captions another number of
    views.
    """
    names = tuple(task.name for task in tasks)
    roles = view_roles(tasks, num_views)
    numbered = any(task.numbered for task in tasks)
    if isinstance(prompt, str) and not prompt.lstrip().startswith("[["):
        captions = [prompt.strip() if role not in ("reference", "source") else "" for role in roles]
        return str(Prompt(names, tuple(captions) if numbered else (prompt.strip(),)))
    parsed = prompt if isinstance(prompt, Prompt) else Prompt.parse(prompt)
    if parsed.tasks != names:
        raise ConfigError(
            f"prompt must open with the tokens of {'+'.join(names)}, got those of {'+'.join(parsed.tasks)}."
        )
    if numbered and len(parsed.captions) != num_views:
        raise ConfigError(
            f"prompt of {'+'.join(names)} must caption its {num_views} views, got {len(parsed.captions)} captions."
        )
    return str(prompt)
