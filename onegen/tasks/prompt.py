"""The grammar of prompts: task tokens, an item, entities with their colours, and the captions of views.

Written and parsed here alone, for the loader (writes prompts), the sampler (checks and completes them) and the audit
(reads them back). Tokens are plain lower-case text, and `[[imgK]]` announces the caption of view K.
"""

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

from onegen.errors import ConfigError
from onegen.tasks.colours import COLOURS, Entity, find_colour
from onegen.tasks.table import TASKS, Task, find_task, find_tasks, view_roles

NEGATIVE_PROMPT = (
    "monochrome, greyscale, low-res, bad anatomy, bad hands, text, error, missing fingers, extra digit, fewer digits, "
    "cropped, worst quality, low quality, normal quality, jpeg artifacts, signature, watermark, username, blurry, "
    "artist name, poorly drawn, bad anatomy, wrong anatomy, extra limb, missing limb, floating limbs, "
    "disconnected limbs, mutation, mutated, ugly, disgusting, blurry, amputation"
)
"""What the documents of the released model steer away from in all their examples, repetitions included."""

_TOKEN = re.compile(r"\s*\[\[([^\[\]]*)\]\]")
_ITEM = re.compile(r"\s*<item:\s*([^<>]*)>")
_ENTITY = re.compile(r"\s*<#([0-9A-Fa-f]{6}) ([A-Za-z]+) (mask|boundingbox): ([^<>]+)>")
_MARKER = re.compile(r"\[\[img(\d+)\]\]")


MARKUP = re.compile(r"\[\[|\]\]|<#|<item:")
"""What prompts are made of, and no caption may hold."""


def plain(text: str) -> str:
    """Return a text as a prompt may hold it: one line without control characters and without the prompts' markup."""
    printable = "".join(c if c.isprintable() else " " for c in text)
    return " ".join(MARKUP.sub(" ", printable).split())


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

    `prompt` is a `Prompt`, a written prompt that opens with its tokens (kept as it is written), or a bare caption. The
    conditions of a combination repeat the target's caption (the released model asks for it); references get empty
    captions. A text outside the grammar is what the released pipeline takes too: it warns, and is used as it is
    written. Raises ConfigError when a `Prompt` is of other tasks or captions another number of views.
    """
    names = tuple(task.name for task in tasks)
    roles = view_roles(tasks, num_views)
    if isinstance(prompt, Prompt):
        _check_prompt(prompt, names, num_views)
        return str(prompt)
    whole = prompt if prompt.lstrip().startswith("[[") else _with_tokens(tasks, prompt.strip(), roles)
    try:
        _check_prompt(Prompt.parse(whole), names, num_views)
    except ConfigError as error:
        # one place to warn from: Python shows a warning once per place, and a command asks before the pipeline does
        warnings.warn(f"{error} The model was not trained on such a prompt; it is used as it is written.", stacklevel=1)
    return whole


def _with_tokens(tasks: Sequence[Task], caption: str, roles: Sequence[str]) -> str:
    """Return a bare caption behind the tokens of its tasks, by view where they number them."""
    pieces = [task.token for task in tasks]
    if any(task.numbered for task in tasks):
        captions = ["" if role in ("reference", "source") else caption for role in roles]
        pieces += [f"[[img{index}]] {text}".strip() for index, text in enumerate(captions)]
    else:
        pieces.append(caption)
    return " ".join(piece for piece in pieces if piece)


def _check_prompt(parsed: Prompt, names: tuple[str, ...], num_views: int) -> None:
    if parsed.tasks != names:
        raise ConfigError(
            f"prompt must open with the tokens of {'+'.join(names)}, got those of {'+'.join(parsed.tasks)}."
        )
    if any(TASKS[name].numbered for name in names) and len(parsed.captions) != num_views:
        raise ConfigError(
            f"prompt of {'+'.join(names)} must caption its {num_views} views, got {len(parsed.captions)} captions."
        )
