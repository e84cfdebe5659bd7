"""The 553 prompts of GenEval (Ghosh et al., NeurIPS 2023), made and not downloaded: the published file byte for byte.

One numpy generator of seed 43 draws classes, colours and relations in a fixed order; exact duplicates are dropped.
"""

import functools
import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

SHA256 = "5c48e0813e812e3c373fa5c8ed07a8f0a483be30272b4427b0559c8048e67c13"
"""Of the published file, 85,209 bytes."""
_NAMES = (
    "person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light, fire hydrant, stop sign, "
    "parking meter, bench, bird, cat, dog, horse, sheep, cow, elephant, bear, zebra, giraffe, backpack, umbrella, "
    "handbag, tie, suitcase, frisbee, skis, snowboard, sports ball, kite, baseball bat, baseball glove, skateboard, "
    "surfboard, tennis racket, bottle, wine glass, cup, fork, knife, spoon, bowl, banana, apple, sandwich, orange, "
    "broccoli, carrot, hot dog, pizza, donut, cake, chair, couch, potted plant, bed, dining table, toilet, tv, "
    "laptop, mouse, remote, keyboard, cell phone, microwave, oven, toaster, sink, refrigerator, book, clock, vase, "
    "scissors, teddy bear, hair drier, toothbrush"
)
COCO_NAMES = tuple(_NAMES.split(", "))
"""The 80 things of COCO, in its order."""
OTHER_NAMES = {"mouse": "computer mouse", "remote": "tv remote", "keyboard": "computer keyboard"}
"""COCO's names that the benchmark makes unmistakable."""
CLASSES = tuple(OTHER_NAMES.get(name, name) for name in COCO_NAMES)
COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white")
RELATIONS = ("left of", "right of", "above", "below")
TASKS = ("single_object", "two_object", "counting", "colors", "position", "color_attr")
_NUMBERS = {2: "two", 3: "three", 4: "four"}
_EACH = 100
Record = dict[str, Any]


@functools.cache
def prompts() -> tuple[Record, ...]:
    """Return the records of the 553 prompts in the published order.

    Keys: tag, include, exclude (of counting), prompt; entries have class, count, and color or position.
    """
    lines = dict.fromkeys(json.dumps(record) for record in _drawn(np.random.default_rng(43)))
    return tuple(json.loads(line) for line in lines)


def prompt_file() -> bytes:
    """Return the prompts as the published file has them, a JSON line each."""
    return "".join(f"{json.dumps(record)}\n" for record in prompts()).encode()


def _drawn(rng: np.random.Generator) -> Iterator[Record]:
    """Yield the records of all six tasks, duplicates among them."""
    for index in rng.choice(80, size=80, replace=False):
        name = CLASSES[index]
        yield _record("single_object", [_entry(name)], f"a photo of {_with_article(name)}")
    for _ in range(_EACH):
        a, b = (CLASSES[index] for index in rng.choice(80, size=2, replace=False))
        text = f"a photo of {_with_article(a)} and {_with_article(b)}"
        yield _record("two_object", [_entry(a), _entry(b)], text)
    for _ in range(_EACH):
        yield _counting(CLASSES[rng.choice(80)], int(rng.integers(2, 4, endpoint=True)))
    for _ in range(_EACH):
        # People, the first class, are never coloured.
        name = CLASSES[rng.choice(79) + 1]
        colour = COLOURS[rng.choice(10)]
        text = f"a photo of {_with_article(colour)} {name}"
        yield _record("colors", [_entry(name) | {"color": colour}], text)
    for _ in range(_EACH):
        a, b = (CLASSES[index] for index in rng.choice(80, size=2, replace=False))
        relation = RELATIONS[rng.choice(4)]
        text = f"a photo of {_with_article(a)} {relation} {_with_article(b)}"
        yield _record("position", [_entry(b), _entry(a) | {"position": [relation, 0]}], text)
    for _ in range(_EACH):
        names = [CLASSES[index + 1] for index in rng.choice(79, size=2, replace=False)]
        colours = [COLOURS[index] for index in rng.choice(10, size=2, replace=False)]
        yield _attribution(names, colours)


def _counting(name: str, count: int) -> Record:
    return {
        "tag": "counting",
        "include": [_entry(name, count)],
        "exclude": [_entry(name, count + 1)],
        "prompt": f"a photo of {_NUMBERS[count]} {_plural(name)}",
    }


def _attribution(names: Sequence[str], colours: Sequence[str]) -> Record:
    pairs = list(zip(names, colours, strict=True))
    described = " and ".join(f"{_with_article(colour)} {name}" for name, colour in pairs)
    return _record(
        "color_attr", [_entry(name) | {"color": colour} for name, colour in pairs], f"a photo of {described}"
    )


def _record(tag: str, include: list[Record], prompt: str) -> Record:
    return {"tag": tag, "include": include, "prompt": prompt}


def _entry(name: str, count: int = 1) -> Record:
    return {"class": name, "count": count}


def _with_article(name: str) -> str:
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def _plural(name: str) -> str:
    """Return the benchmark's plural, "skises" and "sheeps" included."""
    return f"{name}es" if name.endswith("s") else f"{name}s"
