"""Whether a sample's annotations agree with its picture and with each other; no weights, and no word on who is wrong.

Each score is in [0, 1] and null where there is nothing to compare. For edges it is the chance that a pixel on an
outline has a stronger edge than one that is not: 1 where outlines lie on all edges, 0.5 for annotations of another
picture. `python -m benchmarks agreement` says how often a score falls when annotations are exchanged.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import cv2
import numpy as np
import pyarrow as pa

from onegen.annotators import register
from onegen.annotators.shared.pixels import pixels_of
from onegen.errors import ConfigError
from onegen.pixels.boxes import box_of, iou
from onegen.pixels.sizes import fit
from onegen.sample import Annotation, BaseAnnotator, Item, Provides, Rejected

COMPARED = ("depth", "hed", "segmentation", "entities", "pose")
_SIDE = 128
"""Longer side on which edges are compared: depth maps know no finer ones."""
_BLUR = 0.7
_FEWEST = 20
"""Pixels on an outline, and off it, below which nothing is said."""
_STRONG = 0.9
"""Share of a picture's pixels that have no edge."""
_SEEN, _FEWEST_POINTS = 0.5, 3
"""Visibility from which a keypoint counts, and how many a person must have."""
SCORES = ("masks_on_image", "depth_on_masks", "edges_on_image", "boxes_on_masks", "points_on_masks")


@register("annotators", "agreement")
@dataclass(frozen=True)
class Agreement(BaseAnnotator):
    """How well the columns named in `of` agree with the picture and with each other. Exact.

    `masks_on_image`: outlines of masks on edges of the picture. `depth_on_masks`: outlines of masks on edges of the
    depth map. `edges_on_image`: edges of `hed` on edges of the picture. `boxes_on_masks`: mean overlap (IoU) of each
    entity's box with the box around its mask. `points_on_masks`: share of each person's visible keypoints that lie in
    one person's mask, times the overlap of their box with the box around that mask, of the mask where this is most; as
    a mean over people.
    """

    of: tuple[str, ...] = COMPARED

    name: ClassVar[str] = "agreement"
    version: ClassVar[int] = 1
    provides: ClassVar[Provides] = Provides(fields=dict.fromkeys(SCORES, pa.float64()))

    @property
    def requires(self) -> tuple[str, ...]:  # type: ignore[override]
        """The columns that are compared."""
        return self.of

    def check(self) -> None:
        """Raise ConfigError for a column that cannot be compared, and for none."""
        unknown = [name for name in self.of if name not in COMPARED]
        if unknown or not self.of:
            raise ConfigError(
                f"of must name columns among {', '.join(COMPARED)}, got {unknown or 'none'}. Leave out what the recipe "
                f"does not make: of: [depth, segmentation]."
            )

    def annotate(self, items: Sequence[Item]) -> list[Annotation | Rejected]:
        """Return the scores of each item."""
        return [Annotation(dict(zip(SCORES, self._scores(item), strict=True))) for item in items]

    def _scores(self, item: Item) -> list[float | None]:
        said = item.annotations
        image = _edges(_small(pixels_of(item)))
        masks, depth, hed = (
            _part(said.get(column), part)
            for column, part in (("segmentation", "masks.png"), ("depth", "depth.png"), ("hed", "hed.png"))
        )
        entities = _records(said.get("entities"), "entities")
        scores = (
            _above_chance(image, _outlines(masks)) if masks is not None else None,
            _above_chance(_edges(_small(depth)), _outlines(masks)) if masks is not None and depth is not None else None,
            _above_chance(_small(hed).astype(np.float32), _strong(image)) if hed is not None else None,
            boxes_on_masks(entities, masks) if masks is not None else None,
            points_on_masks(_records(said.get("pose"), "people"), entities, masks) if masks is not None else None,
        )
        return [None if score is None else round(score, 4) for score in scores]


def boxes_on_masks(entities: Sequence[Mapping[str, Any]], masks: np.ndarray) -> float | None:
    """Return the mean IoU of entities' boxes with those around their masks uint8 (H,W); 0 for one without a mask."""
    if not entities:
        return None
    boxes = np.array([box_of(entity) for entity in entities], np.float64)
    around = np.array([_box_around(masks == index) for index in range(1, len(entities) + 1)], np.float64)
    return float(np.diagonal(iou(boxes, around)).mean())


def points_on_masks(
    people: Sequence[Mapping[str, Any]], entities: Sequence[Mapping[str, Any]], masks: np.ndarray
) -> float | None:
    """Return how well people lie in one person's mask each, as a mean; None where nobody has enough points."""
    persons = [index for index, entity in enumerate(entities, 1) if entity["label"] == "person"]
    around = np.array([_box_around(masks == index) for index in persons], np.float64).reshape(-1, 4)
    height, width = masks.shape
    fits: list[float] = []
    for person in people:
        points = np.array(person["keypoints"], np.float64).reshape(-1, 3)
        x, y = np.floor(points[:, 0]).astype(int), np.floor(points[:, 1]).astype(int)
        counts = (points[:, 2] > _SEEN) & (x >= 0) & (y >= 0) & (x < width) & (y < height)
        if counts.sum() >= _FEWEST_POINTS:
            hit = masks[y[counts], x[counts]]
            shares = np.array([(hit == index).mean() for index in persons])
            overlaps = iou(np.array([box_of(person)], np.float64), around)[0]
            fits.append(float(np.max(shares * overlaps, initial=0.0)))
    return float(np.mean(fits)) if fits else None


def _part(annotation: Annotation | None, name: str) -> np.ndarray | None:
    return None if annotation is None else np.asarray(annotation.parts[name])


def _records(annotation: Annotation | None, field: str) -> Sequence[Mapping[str, Any]]:
    return [] if annotation is None else annotation.values.get(field) or []


def _small(pixels: np.ndarray) -> np.ndarray:
    """Return a picture or a map at the size on which edges are compared."""
    _, size = fit(pixels.shape[:2], _SIDE)
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA))


def _edges(pixels: np.ndarray) -> np.ndarray:
    """Return the strength of edges float32 (H,W) of a map, or the strongest of a picture's channels."""
    channels = cv2.split(cv2.GaussianBlur(pixels.astype(np.float32), (0, 0), _BLUR))
    slopes = [np.hypot(cv2.Sobel(c, cv2.CV_32F, 1, 0), cv2.Sobel(c, cv2.CV_32F, 0, 1)) for c in channels]
    return np.asarray(np.max(slopes, axis=0))


def _strong(edges: np.ndarray) -> np.ndarray:
    return edges > np.quantile(edges, _STRONG)


def _outlines(masks: np.ndarray) -> np.ndarray:
    """Return bool (H,W), small: pixels where one mask meets another or none, and those around them."""
    _, size = fit(masks.shape, _SIDE)
    small = cv2.resize(masks, size, interpolation=cv2.INTER_NEAREST)
    meets = np.zeros(small.shape, np.uint8)
    across, down = small[:, 1:] != small[:, :-1], small[1:] != small[:-1]
    meets[:, 1:] |= across
    meets[:, :-1] |= across
    meets[1:] |= down
    meets[:-1] |= down
    return np.asarray(cv2.dilate(meets, np.ones((3, 3), np.uint8)) > 0)


def _above_chance(strength: np.ndarray, chosen: np.ndarray) -> float | None:
    """Return how likely a chosen pixel is stronger than another, ties counting half: the area under the ROC curve."""
    inside, outside = int(chosen.sum()), int((~chosen).sum())
    if min(inside, outside) < _FEWEST:
        return None
    _, places, counts = np.unique(strength, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[places.ravel()].reshape(strength.shape)
    return float((ranks[chosen].sum() - inside * (inside + 1) / 2) / (inside * outside))


def _box_around(mask: np.ndarray) -> tuple[float, float, float, float]:
    """Return the box around a mask, an empty one where there is none."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1) if len(rows) else (0.0, 0.0, 0.0, 0.0)
