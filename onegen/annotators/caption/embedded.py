"""A caption composed from what other columns know: no captioning model speaks here, and the column says so.

No package ships a captioner. Sentences are filled in from counted detections, colours and places, a class name that is
likely, and the caption that came with the image. `captioner` is `composed` in every row, and the producer says so too.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import cv2
import numpy as np

from onegen.annotators import register
from onegen.annotators.caption import PROVIDES, annotation_of, clean
from onegen.annotators.shared.pixels import pixels_of
from onegen.errors import ConfigError
from onegen.pixels.boxes import box_of
from onegen.sample import Annotation, BaseAnnotator, Item, Provides, Rejected

CAPTIONER = "composed"
_ANIMALS = frozenset(("bird", "cat", "dog", "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe"))
_NUM_ANIMAL_CLASSES = 398  # ImageNet's list begins with its animals
_SETTING = frozenset(("person", "dining table", "chair", "couch", "bench", "bed"))
"""Things that a class name, said beside them, may not be of."""
_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_PLURALS = {
    **{"person": "people", "knife": "knives", "mouse": "mice"},
    **{name: name for name in ("sheep", "skis", "scissors")},
}


@register("annotators", "caption", backend="embedded")
@dataclass(frozen=True)
class Caption(BaseAnnotator):
    """`caption` in plain English, `num_words`, `captioner` (always "composed"), `original` as it came.

    The original is its first sentence or sentences, cleaned of control characters and prompt markup, at most
    `max_original_words`; then come the things detected with `min_score` or more, where the largest are and what colour
    they have; a class name with a probability above `min_class_score`; and the tone of the picture. `original` is kept
    whole. Exact.
    """

    backend: Literal["embedded"] = "embedded"
    min_score: float = 0.5
    min_class_score: float = 0.5
    max_original_words: int = 120

    name: ClassVar[str] = "caption"
    producer: ClassVar[str] = "composed-caption"
    version: ClassVar[int] = 2
    requires: ClassVar[tuple[str, ...]] = ("detection", "classes")
    provides: ClassVar[Provides] = PROVIDES

    def check(self) -> None:
        """Raise ConfigError for a score outside [0, 1], and for less than no words."""
        for option in ("min_score", "min_class_score"):
            if not 0.0 <= getattr(self, option) <= 1.0:
                raise ConfigError(f"{option} of caption must be in [0, 1], got {getattr(self, option)}.")
        if self.max_original_words < 0:
            raise ConfigError(f"max_original_words of caption must not be negative, got {self.max_original_words}.")

    def annotate(self, items: Sequence[Item]) -> list[Annotation | Rejected]:
        """Return the caption of each item."""
        return [self._caption(item) for item in items]

    def _caption(self, item: Item) -> Annotation:
        pixels = pixels_of(item)
        objects = item.annotations["detection"].values.get("objects") or []
        things = [thing for thing in objects if thing["score"] >= self.min_score]
        classes = item.annotations["classes"].values.get("classes") or []
        likely = classes[0] if classes and classes[0]["score"] > self.min_class_score else None
        original = clean(item.caption or "", self.max_original_words)
        sentences = [original, *describe(things, likely, pixels, original)]
        caption = " ".join(sentence for sentence in sentences if sentence)
        return annotation_of(caption, CAPTIONER, item.caption)


def describe(
    objects: Sequence[Mapping[str, Any]], likely: Mapping[str, Any] | None, pixels: np.ndarray, original: str
) -> list[str]:
    """Return the composed sentences: what there is, the largest things, the class name, the tone.

    They stand behind the `original` caption, if there is one, and do not say its class name again.
    """
    names, class_name = reconcile(objects, likely, pixels.shape)
    is_grey = _is_grey(pixels)
    kind = "black-and-white photo" if is_grey else "photo"
    sentences = []
    if names:
        sentences.append(f"{'The picture shows' if original else f'A {kind} of'} {enumerate_(names)}.")
    elif not original:
        sentences.append(f"A {kind} of {article(class_name)}." if class_name else f"A {kind}.")
        class_name = ""
    largest = sorted(zip(names, objects, strict=True), key=lambda named: -_share(named[1], pixels.shape))
    for name in list(dict.fromkeys(name for name, _ in largest))[:3]:
        sentences.append(_of_one_name(name, [thing for other, thing in largest if other == name], pixels, is_grey))
    if class_name and not re.search(rf"\b{re.escape(class_name)}\b", original, re.IGNORECASE):
        sentences.append(f"There seems to be {article(class_name)}.")
    if is_grey and original and "black and white" not in original.lower():
        sentences.append("The picture is black and white.")
    tone = "" if is_grey else colour_name(pixels)
    if tone not in ("", "black", "white") and not any(tone in sentence for sentence in sentences):
        sentences.append(f"Most of the picture is {tone}.")
    brightness = float(pixels.mean()) / 255.0
    if brightness < 0.25:
        sentences.append("It is dark.")
    elif brightness > 0.75:
        sentences.append("It is bright.")
    return sentences


def reconcile(
    objects: Sequence[Mapping[str, Any]], likely: Mapping[str, Any] | None, shape: tuple[int, ...]
) -> tuple[list[str], str]:
    """Return the objects' names and the class name still worth saying ("" for none).

    Of animals the classifier knows more kinds than the detector, so a likely one names the animals found; a class that
    must be of a large thing already named is not said twice.
    """
    names = [str(thing["label"]) for thing in objects]
    if likely is None:
        return names, ""
    class_name = str(likely["label"])
    animals = [index for index, name in enumerate(names) if name in _ANIMALS]
    if likely["index"] < _NUM_ANIMAL_CLASSES:
        if animals:
            return [class_name if index in animals else name for index, name in enumerate(names)], ""
        return names, class_name
    named = [thing for thing in objects if thing["label"] not in _SETTING]
    if any(_share(thing, shape) > 0.2 or thing["label"] in class_name for thing in named):
        return names, ""
    return names, class_name


def enumerate_(names: Sequence[str]) -> str:
    """Return `two people, a bus and a dog` for the names, in order of first appearance."""
    counted = [
        article(name) if number == 1 else f"{_NUMBERS[number] if number < len(_NUMBERS) else 'many'} {plural(name)}"
        for name, number in Counter(names).items()
    ]
    return counted[0] if len(counted) == 1 else f"{', '.join(counted[:-1])} and {counted[-1]}"


def article(name: str) -> str:
    """Return the name behind `a` or `an`; plurals such as scissors have none."""
    if _PLURALS.get(name) == name and name != "sheep":
        return name
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"


def plural(name: str) -> str:
    """Return the plural of a class name."""
    if name in _PLURALS:
        return _PLURALS[name]
    if name.endswith(("s", "x", "ch", "sh")):
        return f"{name}es"
    return f"{name[:-1]}ies" if name.endswith("y") and name[-2] not in "aeiou" else f"{name}s"


def colour_name(pixels: np.ndarray) -> str:
    """Return the name of the colour that more than half of RGB uint8 (H,W,3) has, else an empty string.

    Names are black, grey and white by lightness, and six hues by their angle; dark orange is called brown.
    """
    if not pixels.size:
        return ""
    step = max(1, max(pixels.shape[:2]) // 128)  # a share of the pixels tells
    pixels = pixels[::step, ::step]
    hue, saturation, value = np.moveaxis(cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2HSV), 2, 0)
    grey = saturation < 50
    degrees = hue.astype(int) * 2
    is_ = {
        "black": value < 50,
        "white": grey & (value > 200),
        "grey": grey & (value >= 50) & (value <= 200),
    }
    coloured = ~grey & (value >= 50)
    for name, low, high in (
        ("red", 345, 375),
        ("yellow", 45, 70),
        ("green", 70, 165),
        ("blue", 165, 260),
        ("purple", 260, 345),
    ):
        is_[name] = coloured & (((degrees - low) % 360) < high - low)
    orange = coloured & (degrees >= 15) & (degrees < 45)
    is_["brown"], is_["orange"] = orange & (value < 170), orange & (value >= 170)
    name = max(is_, key=lambda name: float(is_[name].mean()))
    return name if is_[name].mean() > 0.5 else ""


def _of_one_name(name: str, things: Sequence[Mapping[str, Any]], pixels: np.ndarray, is_grey: bool) -> str:
    """Return where the things of one name are, the largest first, and what colour a single one has."""
    places = [_place(thing, pixels.shape) for thing in things]
    if len(things) == 1:
        colour = "" if is_grey or name == "person" else colour_name(_centre_of(things[0], pixels))
        return f"The {name} is {f'mostly {colour} and ' if colour else ''}{places[0]}."
    if len(set(places)) == 1:
        return f"The {plural(name)} are {places[0]}."
    first, second = places[0], next(place for place in places if place != places[0])
    return f"One {name} is {first}; another is {second}."


def _share(thing: Mapping[str, Any], shape: tuple[int, ...]) -> float:
    x0, y0, x1, y1 = box_of(thing)
    return float((x1 - x0) * (y1 - y0) / (shape[0] * shape[1]))


def _place(thing: Mapping[str, Any], shape: tuple[int, ...]) -> str:
    share = _share(thing, shape)
    if share > 0.6:
        return "large enough to fill most of the picture"
    column = (thing["x0"] + thing["x1"]) / 2 / shape[1]
    side = "on the left" if column < 0.38 else "on the right" if column > 0.62 else "in the middle"
    return f"large, {side}" if share > 0.25 else f"small, {side}" if share < 0.02 else side


def _centre_of(thing: Mapping[str, Any], pixels: np.ndarray) -> np.ndarray:
    """Return the middle half of a box both ways: what is there belongs to the thing more often than not."""
    x0, y0, x1, y1 = box_of(thing)
    across, down = (x1 - x0) / 4, (y1 - y0) / 4
    return pixels[int(y0 + down) : int(y1 - down) + 1, int(x0 + across) : int(x1 - across) + 1]


def _is_grey(pixels: np.ndarray) -> bool:
    """Say whether the channels hardly differ anywhere."""
    spread = pixels.max(axis=2).astype(int) - pixels.min(axis=2)
    return bool(np.mean(spread > 12) < 0.01)
