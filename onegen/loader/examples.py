"""From a stored sample to the views and the prompt of a task: crop once, draw the condition, choose the words.

One example serves both directions of a task: its mask, and so its direction, is the trainer's (docs/onediffusion.md).
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from onegen.errors import ConfigError, SampleError
from onegen.geometry.cameras import Camera, scale_to_distance
from onegen.loader.choices import Choices
from onegen.loader.draw import Draw, caption_names, chance, drops_text, is_captioned, views_of
from onegen.loader.example import Example
from onegen.loader.framing import Frame
from onegen.loader.needs import CAMERA, INSTRUCTION, MAPS, MASKS, NEEDS, SUBJECT, parts_of
from onegen.loader.reader import Reader
from onegen.loader.scan import CAPTION, ORIGINAL
from onegen.loader.seeds import part_seed
from onegen.loader.stored import Stored, key_number
from onegen.sample import IMAGE, Annotation
from onegen.tasks.colours import Entity
from onegen.tasks.conditions import CONDITIONS, condition, grey_map
from onegen.tasks.prompt import Prompt, plain
from onegen.tasks.table import TASKS


def read_example(reader: Reader, draw: Draw, choices: Choices) -> Example:
    """Read one sample and make the example that was drawn; raises SampleError naming what is wrong with it."""
    needs = NEEDS[draw.task]
    columns, parts = needs.columns, parts_of(draw.task)
    if draw.is_alone:
        columns, parts = (), {}
    if is_captioned(draw.task) and not drops_text(draw, choices):
        columns = (*columns, *caption_names(choices))
    stored = reader.read(draw.shard, draw.position, columns, parts, draw.images)
    if key_number(stored.key) != draw.key:
        raise SampleError("changed", f"shard {draw.shard:06d} must be as it was when the loader started. Start again.")
    return make_example(stored, draw, choices)


def make_example(stored: Stored, draw: Draw, choices: Choices) -> Example:
    """Return the example that was drawn of a stored sample; raises SampleError where it lacks or breaks something."""
    frames = [Frame.centred(_size(stored, image), draw.size) for image in draw.images]
    pictures = [frame.picture(stored.picture(image)) for image, frame in zip(draw.images, frames, strict=True)]
    words = _Words(stored, draw, choices)
    views: tuple[np.ndarray | Camera, ...]
    if draw.task == "multiview":
        cameras = scale_to_distance([_camera(stored, image) for image in draw.images])
        views = tuple(view for pair in zip(pictures, cameras, strict=True) for view in pair)
    elif len(pictures) > 1 or draw.is_alone or draw.task == "text2image":
        views = tuple(pictures)
    else:
        drawn, entities = _condition(stored, draw, frames[0], pictures[0])
        views = (pictures[0], drawn)
        words.entities = entities
    return Example(stored.dataset, stored.key, draw.task, words.prompt(), views_of(draw), views, draw.seed)


def _size(stored: Stored, image: int) -> tuple[int, int]:
    values = stored.of(IMAGE, image)
    return int(values["height"]), int(values["width"])


def _condition(
    stored: Stored, draw: Draw, frame: Frame, picture: np.ndarray
) -> tuple[np.ndarray, Sequence[Mapping[str, Any]]]:
    """Return the condition of a picture, drawn in its frame, and the entities that are seen in it."""
    role = TASKS[draw.task].views[1]
    image = draw.images[0]
    if role in MAPS:
        _, part, encoding = MAPS[role]
        return grey_map(frame.map(stored.map(part, encoding, image))), ()
    columns, seen = _framed(stored, role, frame, image)
    return condition(role, picture, columns, part_seed(draw.seed, role)), seen


def _framed(
    stored: Stored, role: str, frame: Frame, image: int
) -> tuple[dict[str, Annotation], Sequence[Mapping[str, Any]]]:
    """Return what a condition is drawn from, moved into the frame, and the entities that are left in it."""
    columns: dict[str, Annotation] = {}
    entities: Sequence[Mapping[str, Any]] = ()
    needed = CONDITIONS[role].columns
    if "pose" in needed:
        columns["pose"] = Annotation({"people": frame.people(stored.of("pose", image).get("people") or ())})
    if "entities" in needed:
        entities = stored.of("entities", image).get("entities") or ()
    if "segmentation" in needed:
        indices = frame.indices(stored.map(MASKS[1], MASKS[2], image))
        if indices.max(initial=0) > len(entities):
            raise SampleError("wrong_entities", f"masks must count {len(entities)} entities, got {indices.max()}.")
        columns["segmentation"] = Annotation(parts={MASKS[1]: indices})
        columns["entities"] = Annotation({"entities": entities})
        return columns, [entities[index - 1] for index in np.unique(indices) if index]
    boxes = [(entity, frame.box(entity)) for entity in entities]
    entities = [{**entity, **box} for entity, box in boxes if box is not None]
    if "entities" in needed:
        columns["entities"] = Annotation({"entities": entities})
    return columns, entities


def _camera(stored: Stored, image: int) -> Camera:
    """Return the camera of an image; a centred square crop leaves its focal lengths as they are."""
    try:
        values = stored.of(IMAGE, image)[CAMERA]
        matrix = np.asarray(values["camera_to_world"], np.float64).reshape(4, 4)
        across, down = (float(length) for length in values["focal"])
        return Camera(matrix, (across, down))
    except (KeyError, TypeError, ValueError, ConfigError) as error:
        raise SampleError("bad_camera", f"image {image} must have a camera: {error}.") from error


class _Words:
    """The prompt of an example, once the entities in its frame are known."""

    def __init__(self, stored: Stored, draw: Draw, choices: Choices) -> None:
        self._stored, self._draw, self._choices = stored, draw, choices
        self.entities: Sequence[Mapping[str, Any]] = ()

    def prompt(self) -> str:
        """Return the whole prompt; a dropped one is the task's token, and those of its views where it numbers them."""
        task, images = TASKS[self._draw.task], self._draw.images
        shown = images if task.numbered else images[:1]
        if drops_text(self._draw, self._choices):
            return str(Prompt((task.name,), ("",) * len(shown)))
        if task.name == "image_editing":
            captions: tuple[str, ...] = (plain(str(self._stored.of(IMAGE).get(INSTRUCTION) or "")),)
        else:
            captions = tuple(self._caption(image) for image in shown)
        item = _label(self._stored.of(IMAGE).get(SUBJECT)) if task.item else ""
        return str(Prompt((task.name,), captions, self._entities(), item))

    def _caption(self, image: int) -> str:
        """Return the caption of an image: one of those it has, drawn by the example's seed."""
        names = self._choices.captions or (CAPTION, ORIGINAL)
        said = [text for name in names if (text := self._said(name, image))]
        if not said:
            return ""
        is_first = not self._choices.captions
        return said[0] if is_first else said[int(chance(self._draw.seed, "caption") * len(said))]

    def _said(self, name: str, image: int) -> str:
        column, field = (IMAGE, "caption") if name == ORIGINAL else (name, "caption")
        return plain(str(self._stored.of(column, image).get(field) or ""))

    def _entities(self) -> tuple[Entity, ...]:
        """Return an entity a class, in the order of the column; two of a class have one colour and one tag."""
        by_label: dict[str, str] = {}
        for entity in self.entities:
            by_label.setdefault(_label(entity["label"]), str(entity["colour"]))
        return tuple(Entity(label, colour) for label, colour in by_label.items() if label)


def _label(text: object) -> str:
    """Return the name of a thing as tags may hold it."""
    return plain(re.sub(r"[<>\[\]]", " ", str(text or "")))
