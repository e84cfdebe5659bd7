"""How far two columns of one modality agree on an image: the field's own measures, by what the columns store.

Each is in [0, 1], 1 where both say the same; None where one of them says nothing.
"""

import io
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from onegen.audit.export.samples import Picture
from onegen.errors import ConfigError
from onegen.pixels.boxes import box_of, iou
from onegen.tasks.closeness import keypoint_similarity, points_of

_MATCHES = 0.5
"""Overlap (IoU) from which two boxes or masks are one thing, as COCO counts at its loosest."""
_SEEN = 0.5
Score = Callable[[Picture, str, str], float | None]


@dataclass(frozen=True)
class Measure:
    """A measure of agreement: its name, what it says in a sentence, and how it is taken."""

    name: str
    what: str
    score: Score


def depth(picture: Picture, one: str, other: str) -> float | None:
    """Return how well depth maps agree up to scale and shift: the correlation of their pixels, 0 where it is negative.

    Relative depth has no unit: R is 1 for maps that a line takes into each other (Ranftl et al., 2020).
    """
    maps = _maps(picture, one, other, "depth.png")
    return None if maps is None else _correlation(*maps)


def edges(picture: Picture, one: str, other: str) -> float | None:
    """Return the correlation of two edge maps."""
    maps = _maps(picture, one, other, "hed.png")
    return None if maps is None else _correlation(*maps)


def normals(picture: Picture, one: str, other: str) -> float | None:
    """Return 1 less the mean angle between normals as a share of 180 degrees."""
    maps = _maps(picture, one, other, "normals.png")
    if maps is None:
        return None
    vectors: list[np.ndarray] = [array.astype(np.float64) / 127.5 - 1.0 for array in maps]
    lengths: list[np.ndarray] = [np.maximum(np.linalg.norm(vector, axis=2), 1e-6) for vector in vectors]
    cosines = np.clip((vectors[0] * vectors[1]).sum(axis=2) / (lengths[0] * lengths[1]), -1.0, 1.0)
    return float(1.0 - np.degrees(np.arccos(cosines)).mean() / 180.0)


def masks(picture: Picture, one: str, other: str) -> float | None:
    """Return the panoptic quality of masks against each other, names aside (Kirillov et al., 2019)."""
    maps = _maps(picture, one, other, "masks.png")
    if maps is None:
        return None
    first, second = (array.astype(np.int64) for array in maps)
    counts = np.bincount((first * 256 + second).ravel(), minlength=65536).reshape(256, 256)
    areas, others = counts.sum(axis=1), counts.sum(axis=0)
    rows, columns = np.flatnonzero(areas[1:]) + 1, np.flatnonzero(others[1:]) + 1
    shared = counts[np.ix_(rows, columns)]
    overlaps = shared / np.maximum(areas[rows][:, None] + others[columns][None] - shared, 1)
    return _quality(overlaps)


def boxes(picture: Picture, one: str, other: str) -> float | None:
    """Return the panoptic quality of boxes of the same name: overlap of pairs times the F1 of finding them."""
    first, second = (_things(picture.values(column)) for column in (one, other))
    if first is None or second is None:
        return None
    corners = [np.array([box_of(record) for record in records]).reshape(-1, 4) for records in (first, second)]
    labels = [np.array([record.get("label", "") for record in records], str) for records in (first, second)]
    return _quality(iou(corners[0], corners[1]) * (labels[0][:, None] == labels[1][None]))


def people(picture: Picture, one: str, other: str) -> float | None:
    """Return the mean similarity of keypoints (OKS, COCO) of people matched at best; those unmatched count 0."""
    first, second = (picture.values(column).get("people") for column in (one, other))
    if first is None or second is None:
        return None
    similar = np.array([[_oks(person, twin) for twin in second] for person in first], np.float64)
    most = max(len(first), len(second))
    if not most:
        return 1.0
    if not similar.size:
        return 0.0
    return float(sum(_matched(similar)) / most)


def captions(picture: Picture, one: str, other: str) -> float | None:
    """Return the F1 of the words two captions share, each as often as it comes (as in ROUGE-1)."""
    texts = [str(picture.values(column).get("caption") or "") for column in (one, other)]
    if not all(texts):
        return None
    words = [Counter(text.lower().replace(",", " ").replace(".", " ").split()) for text in texts]
    shared = sum((words[0] & words[1]).values())
    return 2 * shared / max(sum(words[0].values()) + sum(words[1].values()), 1)


def vectors(picture: Picture, one: str, other: str) -> float | None:
    """Return the cosine of two vectors of features, 0 where it is negative."""
    arrays = [np.array(picture.values(column).get("features") or (), np.float64) for column in (one, other)]
    if not arrays[0].size or arrays[0].shape != arrays[1].shape:
        return None
    lengths = float(np.linalg.norm(arrays[0]) * np.linalg.norm(arrays[1]))
    return float(np.clip(float(arrays[0] @ arrays[1]) / max(lengths, 1e-12), 0.0, 1.0))


BY_PART: Mapping[str, Measure] = {
    "depth.png": Measure("correlation", "of inverse depth, whatever scale and shift", depth),
    "hed.png": Measure("correlation", "of edge strength", edges),
    "normals.png": Measure("angle", "1 less the mean angle over 180 degrees", normals),
    "masks.png": Measure("quality", "panoptic quality of masks, names aside", masks),
}
BY_FIELD: Mapping[str, Measure] = {
    "objects": Measure("quality", "overlap of boxes of one name, times F1 of finding them at IoU 0.5", boxes),
    "entities": Measure("quality", "overlap of boxes of one name, times F1 of finding them at IoU 0.5", boxes),
    "faces": Measure("quality", "overlap of boxes, times F1 of finding them at IoU 0.5", boxes),
    "people": Measure("OKS", "similarity of keypoints, people matched at best", people),
    "caption": Measure("word F1", "of the words both use", captions),
    "features": Measure("cosine", "of the vectors", vectors),
}


def measure_of(one: str, other: str, parts: Sequence[set[str]], fields: Sequence[set[str]]) -> Measure:
    """Return the measure for two columns, given what each stores; raises ConfigError where they share none."""
    for names, measures in ((parts, BY_PART), (fields, BY_FIELD)):
        for name, measure in measures.items():
            if name in names[0] and name in names[1]:
                return measure
    if "objects" in fields[0] | fields[1] and "entities" in fields[0] | fields[1]:
        return BY_FIELD["objects"]
    known = ", ".join((*BY_PART, *BY_FIELD))
    raise ConfigError(
        f"compare needs two columns of one modality, got {one!r} and {other!r}, which both store none of {known}."
    )


def array_of(data: bytes) -> np.ndarray:
    """Return a stored map as its array; palettes give their indices."""
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image)


def _maps(picture: Picture, one: str, other: str, part: str) -> tuple[np.ndarray, np.ndarray] | None:
    if any(part not in picture.parts(column) for column in (one, other)):
        return None
    first, second = (array_of(picture.part(column, part)) for column in (one, other))
    if first.shape != second.shape:
        sizes = f"{first.shape[1]}x{first.shape[0]} and {second.shape[1]}x{second.shape[0]}"
        raise ConfigError(f"maps of {picture.key} must have one size, got {sizes}. `onegen verify` says more.")
    return first, second


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Return the correlation of two maps in [0, 1]; flat maps agree with flat ones alone."""
    first, second = one.astype(np.float64) - one.mean(), other.astype(np.float64) - other.mean()
    spread = float(np.sqrt((first * first).sum() * (second * second).sum()))
    if spread == 0.0:
        return float(not first.any() and not second.any())
    return float(np.clip(float((first * second).sum()) / spread, 0.0, 1.0))


def _things(values: Mapping[str, Any]) -> list[Mapping[str, Any]] | None:
    return next((values[name] for name in ("objects", "entities", "faces") if values.get(name) is not None), None)


def _quality(overlaps: np.ndarray) -> float:
    """Return panoptic quality: overlaps of pairs over all pairs and half of what has none; 1 for nothing at all."""
    total = sum(overlaps.shape)
    if not total:
        return 1.0
    pairs = [overlap for overlap in _matched(overlaps) if overlap > _MATCHES]
    return float(sum(pairs) / (len(pairs) + (total - 2 * len(pairs)) / 2))


def _matched(similar: np.ndarray) -> list[float]:
    """Return how similar the pairs are (N,M) that are matched best first, each row and column once, as COCO does."""
    left = similar.copy()
    pairs: list[float] = []
    while left.size and left.max() > 0:
        row, column = np.unravel_index(int(left.argmax()), left.shape)
        pairs.append(float(left[row, column]))
        left[row, :] = left[:, column] = 0
    return pairs


def _oks(person: Mapping[str, Any], twin: Mapping[str, Any]) -> float:
    seen = (points_of(person)[:, 2] > _SEEN) | (points_of(twin)[:, 2] > _SEEN)
    return keypoint_similarity(twin, person, seen) if seen.any() else 0.0
