"""What GenEval asks of a picture: a detector by name (a backend of column `detection`, or Mask2Former), and colours."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from PIL import Image

from onegen.annotators.detection import class_name
from onegen.config.registry import find
from onegen.eval.encoders.clip import ClipEncoder, identities
from onegen.eval.geneval.colours import colour_rule
from onegen.eval.geneval.mask2former import Mask2Former
from onegen.eval.geneval.prompts import COLOURS, OTHER_NAMES
from onegen.eval.geneval.rules import Colours, Thing
from onegen.pixels.boxes import box_of
from onegen.sample import Annotation, Item

_GROUND = 0x99
"""Grey that hides what is outside of an object's mask."""
_TEMPLATES = ("a photo of a {colour} {name}", "a photo of a {colour}-colored {name}", "a photo of a {colour} object")
_LEAST_SCORE = 0.05
"""Detections below it cannot be kept under any threshold in use."""


def detect(detector: str, model: str, pixels: np.ndarray) -> list[Thing]:
    """Return the things in an RGB uint8 (H,W,3) picture, under the benchmark's names."""
    built = build(detector, model)
    if isinstance(built, Mask2Former):
        return built.things(pixels)
    (said,) = built.annotate([Item(key="", pixels=pixels)])
    objects = said.values["objects"] if isinstance(said, Annotation) else []
    return [Thing(_name(thing["label"]), box_of(thing), float(thing["score"])) for thing in objects]


def _name(label: str) -> str:
    known = class_name(label)
    return OTHER_NAMES.get(known, known)


@functools.cache
def build(detector: str, model: str) -> Any:
    """Return a detector; raises ConfigError for a name that none has, and without its weights."""
    named: dict[str, Any] = {"model": model} if model else {}
    if detector == "mask2former":
        return Mask2Former(**named)
    options = {"backend": detector, "min_score": _LEAST_SCORE, **named}
    return find("annotators", "detection", options)(**options)


def detector_weights(detector: str, model: str) -> list[dict[str, str]]:
    """Return what a result records of a detector."""
    return identities(build(detector, model).weights())


def colours_of(pixels: np.ndarray, clip: str) -> Colours:
    """Return what says the colours of things in a picture: CLIP (its model) as the benchmark, or the rule (empty)."""
    if not clip:
        return lambda things: [colour_rule(pixels, thing) for thing in things]
    return lambda things: colours_by_clip(things, pixels, ClipEncoder(clip).images, functools.partial(_texts, clip))


def colours_by_clip(
    things: Sequence[Thing],
    pixels: np.ndarray,
    images: Callable[[Sequence[Image.Image]], np.ndarray],
    texts: Callable[[str], np.ndarray],
) -> list[str]:
    """Return the colour of each thing, that whose text (10,d) lies nearest to its crop; vectors have length 1."""
    if not things:
        return []
    similar = images([crop(pixels, thing) for thing in things]) @ texts(things[0].label).T
    return [COLOURS[int(index)] for index in similar.argmax(axis=1)]


def crop(pixels: np.ndarray, thing: Thing) -> Image.Image:
    """Return a thing cut out by its box, with grey where its mask, if it has one, is not."""
    shown = pixels
    if thing.mask is not None:
        shown = np.where(thing.mask[:, :, np.newaxis], pixels, np.uint8(_GROUND))
    x0, y0, x1, y1 = (round(value) for value in thing.box)
    return Image.fromarray(np.ascontiguousarray(shown)).crop((x0, y0, max(x1, x0 + 1), max(y1, y0 + 1)))


@functools.cache
def _texts(clip: str, name: str) -> np.ndarray:
    """Return (10,d): of each colour the mean of three sentences about a thing of it, of length 1."""
    encoder = ClipEncoder(clip)
    rows = []
    for colour in COLOURS:
        vectors = encoder.texts([template.format(colour=colour, name=name) for template in _TEMPLATES])
        rows.append(vectors.mean(axis=0))
    means = np.array(rows)
    unit: np.ndarray = means / np.linalg.norm(means, axis=1, keepdims=True)
    return unit
