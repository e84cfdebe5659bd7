"""Masks asked for by boxes: the entities of an item on the picture that a network of the SAM family sees."""

from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from PIL import Image

from onegen.annotators.segmentation import annotation_of
from onegen.annotators.shared.pixels import pixels_of
from onegen.pixels.boxes import box_of
from onegen.sample import Annotation, Item


def entities_of(item: Item) -> Sequence[Mapping[str, Any]]:
    """Return the entities of column `entities`."""
    entities: Sequence[Mapping[str, Any]] = item.annotations["entities"].values.get("entities") or ()
    return entities


def boxes_on(item: Item, picture: Image.Image) -> np.ndarray:
    """Return the entities' boxes (N,4) on the picture that stands for the image, which may be stretched."""
    height, width = pixels_of(item).shape[:2]
    scale = np.array([picture.width / width, picture.height / height] * 2)
    return np.array([box_of(entity) for entity in entities_of(item)], np.float64).reshape(-1, 4) * scale


def masked(item: Item, logits: Sequence[np.ndarray]) -> Annotation:
    """Return what the column stores of an item, given the logits float (h,w) of each entity, above 0 inside."""
    height, width = pixels_of(item).shape[:2]
    masks = [
        cv2.resize(np.asarray(one, np.float32), (width, height), interpolation=cv2.INTER_LINEAR) > 0 for one in logits
    ]
    return annotation_of(masks, [entity["score"] for entity in entities_of(item)], (height, width))


def best_of(masks: np.ndarray, fits: np.ndarray) -> np.ndarray:
    """Return of several masks an entity (N,M,h,w) the one (N,h,w) that fits best, by what the network thinks (N,M)."""
    best: np.ndarray = masks[np.arange(len(masks)), fits.argmax(axis=1)]
    return best
