"""Draw the conditions a model is trained on: pure functions of (annotation, seed), nothing read, nothing kept.

Pictures in and out are RGB uint8 (H,W,3), on black, as docs/onediffusion.md describes the paper's own.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np

from onegen.sample import Annotation
from onegen.tasks.colours import COLOURS
from onegen.tasks.degradations import blur, holes, low_resolution

VERSION = 2
"""Raised by hand when a drawing changes: views that store drawings are made again."""

_WHITE = (255, 255, 255)
_RGB: Mapping[str, tuple[int, ...]] = {name: tuple(bytes.fromhex(code)) for name, code in COLOURS.items()}


def canny(pixels: np.ndarray, low: int = 100, high: int = 200) -> np.ndarray:
    """Return Canny edges of an RGB uint8 (H,W,3) image, white on black, as uint8 (H,W,3).

    `low` and `high` are the hysteresis thresholds on the Sobel gradient's L1 norm of the grey values: stronger than
    `high` is an edge, stronger than `low` is one where it touches an edge.
    """
    edges = cv2.Canny(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), low, high)
    return np.repeat(edges[:, :, np.newaxis], 3, axis=2)


# Links of COCO's 17 points by body part, in the colours of ViTPose's (MMPose 0.x) drawings as the paper's data show
# them.
_HEAD_AND_TORSO, _LEFT, _RIGHT = (255, 153, 51), (0, 255, 0), (0, 128, 255)
_LINKS: tuple[tuple[int, int, tuple[int, int, int]], ...] = (
    *((a, b, _LEFT) for a, b in ((15, 13), (13, 11), (5, 7), (7, 9))),
    *((a, b, _RIGHT) for a, b in ((16, 14), (14, 12), (6, 8), (8, 10))),
    *((a, b, _HEAD_AND_TORSO) for a, b in ((11, 12), (5, 11), (6, 12), (5, 6))),
    *((a, b, _HEAD_AND_TORSO) for a, b in ((1, 2), (0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (4, 6))),
)
_POINTS = (*[_HEAD_AND_TORSO] * 5, *[_LEFT, _RIGHT] * 6)


MIN_VISIBILITY, MIN_SCORE = 0.3, 0.2
"""From where on a joint is drawn, and a person."""


def skeleton(
    people: Sequence[Mapping[str, Any]],
    shape: tuple[int, int],
    min_visibility: float = MIN_VISIBILITY,
    min_score: float = MIN_SCORE,
) -> np.ndarray:
    """Return the skeletons of column `pose` on black, as uint8 (H,W,3) for `shape` (H, W).

    Head and torso orange, the person's own left limbs green, right limbs blue; thin lines, small dots. Points less
    visible than `min_visibility` and links to them are left out, so are people whose score is below `min_score`:
    what is found of them is invented. Half bodies are drawn as far as they are seen.
    """
    drawn = np.zeros((*shape, 3), np.uint8)
    thin = max(1, round(max(shape) / 512))
    for person in people:
        if person["score"] < min_score:
            continue
        points = np.reshape(np.asarray(person["keypoints"], dtype=np.float64), (17, 3))
        seen = points[:, 2] >= min_visibility
        places = [(int(x), int(y)) for x, y in np.rint(np.clip(points[:, :2], -1e4, 1e4))]
        for start, end, colour in _LINKS:
            if seen[start] and seen[end]:
                cv2.line(drawn, places[start], places[end], colour, thin)
        for index in np.flatnonzero(seen):
            cv2.circle(drawn, places[index], 2 * thin, _POINTS[index], -1)
    return drawn


def filled_boxes(entities: Sequence[Mapping[str, Any]], shape: tuple[int, int]) -> np.ndarray:
    """Return the boxes of column `entities` filled with their colours on black, as uint8 (H,W,3) for `shape` (H, W).

    `name: score` stands just above each box in small white letters, inside where there is no room. A black rim, which
    the ground swallows, keeps them legible on another box. Larger boxes lie below.
    """
    drawn = np.zeros((*shape, 3), np.uint8)
    placed = [(entity, [int(np.rint(entity[name])) for name in ("x0", "y0", "x1", "y1")]) for entity in entities]
    for entity, (x0, y0, x1, y1) in sorted(placed, key=lambda place: -_area(place[1])):
        drawn[max(0, y0) : max(0, y1), max(0, x0) : max(0, x1)] = _RGB[entity["colour"]]
    for entity, (x0, y0, _, _) in placed:
        _label(drawn, f"{entity['label']}: {entity['score']:.2f}", x0, y0)
    return drawn


def _label(drawn: np.ndarray, text: str, x0: int, y0: int) -> None:
    """Write above the corner of a box, or in it at the upper border, and within the picture."""
    longer = max(drawn.shape)
    size, thin = max(0.35, longer / 512 * 0.4), max(1, round(longer / 768))
    (wide, high), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, size, thin)
    baseline = y0 - 3 if y0 - 3 - high >= 0 else y0 + high + 3
    left = max(0, min(x0, drawn.shape[1] - wide - 2))
    # A rim by moved copies: OpenCV sets bolder letters at another distance.
    rim = [((0, 0, 0), x, y) for x in (-thin, 0, thin) for y in (-thin, 0, thin)]
    for colour, x, y in (*rim, (_WHITE, 0, 0)):
        place = (left + x, baseline + y)
        cv2.putText(drawn, text, place, cv2.FONT_HERSHEY_SIMPLEX, size, colour, thin, cv2.LINE_AA)


def _area(box: Sequence[int]) -> int:
    return (box[2] - box[0]) * (box[3] - box[1])


def colour_masks(indices: np.ndarray, entities: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """Return flat colours on black, uint8 (H,W,3), from the index map (H,W) of `segmentation` and the entities."""
    table = np.zeros((256, 3), np.uint8)
    for index, entity in enumerate(entities, start=1):
        table[index] = _RGB[entity["colour"]]
    return table[indices]


def frames(pixels: np.ndarray, things: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """Return RGB uint8 (H,W,3) darkened, with a white frame around what columns `detection` and `faces` hold.

    Objects have their `name: score`, faces their five landmarks. For people to look at: no task is conditioned on it.
    """
    drawn = pixels // 3
    thin = max(1, round(max(pixels.shape) / 256))
    for thing in things:
        x0, y0, x1, y1 = (int(np.rint(thing[name])) for name in ("x0", "y0", "x1", "y1"))
        cv2.rectangle(drawn, (x0, y0), (x1, y1), _WHITE, thin)
        if "label" in thing:
            _label(drawn, f"{thing['label']}: {thing['score']:.2f}", x0, y0)
        for x, y in np.rint(np.reshape(thing.get("landmarks", ()), (-1, 2))).astype(int):
            cv2.circle(drawn, (int(x), int(y)), 2 * thin, _RGB["lime"], -1)
    return drawn


def grey_map(map_: np.ndarray) -> np.ndarray:
    """Return a map (H,W), uint8 or uint16 over its full range, as grey uint8 (H,W,3): HED edges, depth."""
    eight_bits = (map_.astype(np.uint32) * 255 + 32767) // 65535 if map_.dtype == np.uint16 else map_
    return np.repeat(eight_bits.astype(np.uint8)[:, :, np.newaxis], 3, axis=2)


@dataclass(frozen=True, slots=True)
class Condition:
    """What is drawn when a training example is made: the columns it is drawn from, how, and the file it is stored as.

    `draw` takes the image, RGB uint8 (H,W,3), what the columns say of it, and the seed that decides where degradations
    fall; it returns a picture of the same shape. On black a PNG is smallest, of a photo a JPEG.
    """

    columns: tuple[str, ...]
    draw: Callable[[np.ndarray, Mapping[str, Annotation], int], np.ndarray]
    extension: Literal["png", "jpg"] = "png"


def _entities(columns: Mapping[str, Annotation]) -> Sequence[Mapping[str, Any]]:
    return columns["entities"].values.get("entities") or ()


CONDITIONS: Mapping[str, Condition] = {
    "canny": Condition((), lambda pixels, columns, seed: canny(pixels)),
    "pose": Condition(
        ("pose",),
        lambda pixels, columns, seed: skeleton(columns["pose"].values.get("people") or (), pixels.shape[:2]),
    ),
    "boxes": Condition(("entities",), lambda pixels, columns, seed: filled_boxes(_entities(columns), pixels.shape[:2])),
    "semantic_map": Condition(
        ("entities", "segmentation"),
        lambda pixels, columns, seed: colour_masks(
            np.asarray(columns["segmentation"].parts["masks.png"]), _entities(columns)
        ),
    ),
    "blurred": Condition((), lambda pixels, columns, seed: blur(pixels, seed), "jpg"),
    "masked": Condition((), lambda pixels, columns, seed: holes(pixels, seed), "jpg"),
    "low_resolution": Condition((), lambda pixels, columns, seed: low_resolution(pixels, seed), "jpg"),
}
"""What is drawn and not stored, by the name the task table gives the view."""


def condition(name: str, pixels: np.ndarray, columns: Mapping[str, Annotation], seed: int) -> np.ndarray:
    """Return one of CONDITIONS for an image, both RGB uint8 (H,W,3), drawn from what the columns it needs say of it.

    `seed` decides where degradations fall. Raises KeyError for another name, or without a column.
    """
    return CONDITIONS[name].draw(pixels, columns, seed)


def pictures(pixels: np.ndarray, columns: Mapping[str, Annotation]) -> dict[str, np.ndarray]:
    """Return everything that can be drawn of a sample, by name, each RGB uint8 (H,W,3) of its size.

    `columns` holds what the columns say of it (parts as arrays); those that are missing are left out. Boxes and masks
    need column `entities`, which has the colours; without it, what was detected is framed.
    """
    drawn = {}
    for column, part in (("depth", "depth.png"), ("hed", "hed.png")):
        if column in columns:
            drawn[column] = grey_map(np.asarray(columns[column].parts[part]))
    for name, label in (("canny", "canny"), ("boxes", "boxes"), ("semantic_map", "masks"), ("pose", "pose")):
        if name == "boxes" and "detection" in columns and "entities" not in columns:
            drawn["detection"] = frames(pixels, columns["detection"].values.get("objects") or ())
        if all(column in columns for column in CONDITIONS[name].columns):
            drawn[label] = condition(name, pixels, columns, seed=0)
    if "faces" in columns:
        drawn["faces"] = frames(pixels, columns["faces"].values.get("faces") or ())
    return drawn
