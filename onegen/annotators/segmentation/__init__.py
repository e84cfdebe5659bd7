"""Which pixels belong to which entity: the `semanticmap2image` condition.

What the column stores, whichever backend made it, and which mask a pixel goes to that several claim.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from onegen.annotators.shared.brought import brought_of, placement_in, shown
from onegen.annotators.shared.brought_maps import MapReader, map_of
from onegen.annotators.shared.brought_records import records_of, scores_of
from onegen.errors import SampleError
from onegen.pixels.outlines import polygon_mask, runs_mask
from onegen.pixels.placement import lay_map
from onegen.sample import Annotation, Brought, Item, Part, Provides

_MOST = 255
"""Entities that a palette of 256 colours can count, beside none."""
PROVIDES = Provides(
    parts=(Part("masks.png", "index"),), fields={"areas": pa.list_(pa.float64()), "coverage": pa.float64()}
)
"""`masks.png`: a palette PNG of the image's size; value i is entity i of column `entities`, counted from 1; 0 is none.
`areas` are the entities' shares of the image in [0, 1], in their order; `coverage` is their sum.
"""


def annotation_of(masks: Sequence[np.ndarray], scores: Sequence[float], shape: tuple[int, int]) -> Annotation:
    """Return what the column stores of the entities' masks, bool (H,W) of `shape` each, and their detection scores."""
    return _annotation_of_indices(resolve(masks, scores, shape), len(masks))


def _annotation_of_indices(indices: np.ndarray, count: int) -> Annotation:
    """Return what the column stores of a map uint8 (H,W) of `count` entities."""
    shares = np.bincount(indices.ravel(), minlength=count + 1)[1:] / indices.size
    areas = [round(float(share), 5) for share in shares]
    return Annotation({"areas": areas, "coverage": round(float(shares.sum()), 5)}, {"masks.png": indices})


def resolve(masks: Sequence[np.ndarray], scores: Sequence[float], shape: tuple[int, int]) -> np.ndarray:
    """Return uint8 (H,W): which mask (1, 2, ...; 0 for none) each pixel belongs to.

    Where masks overlap, one that lies in a larger one is on top (a tie on its wearer); else the better detection score
    wins, and between equal scores the smaller area.
    """
    areas = [int(mask.sum()) for mask in masks]
    # Painted from the bottom up: worst score first, of equal scores the largest, of equal areas the last.
    order = sorted(range(len(masks)), key=lambda index: (scores[index], -areas[index], -index))
    painted: list[int] = []
    for index in order:
        # A mask that lies in one already painted stays above it anyway; one that holds them goes below.
        below = len(painted)
        for place, other in enumerate(painted):
            shared = int((masks[index] & masks[other]).sum())
            if areas[index] > 2 * areas[other] and shared > 0.8 * areas[other] > 0:
                below = place
                break
        painted.insert(below, index)
    indices = np.zeros(shape, np.uint8)
    for index in painted:
        indices[masks[index]] = index + 1
    return indices


@dataclass(frozen=True)
class BroughtMasks(MapReader):
    """Masks that a source brings: a palette or grey picture whose values count entities from 1, 0 is none.

    Or records, in the order of the entities, each with a `segmentation` as COCO has it: polygons, or runs of pixels, on
    the picture as its file holds it; where they overlap the better score wins, then the smaller. Values in `ignore`
    become 0, such as 255 of datasets that leave borders open. Smaller images get the nearest pixel: the mean of two
    entities is a third.
    """

    ignore: tuple[int, ...] = ()

    provides: ClassVar[Provides] = PROVIDES

    def take(self, item: Item) -> Annotation:
        """Return what the column stores; raises SampleError brought_size, brought_pixels or brought_value."""
        brought = brought_of(item)
        if not isinstance(brought.value, bytes):
            return self._outlined(brought)
        numbers = map_of(brought, ("P", "L", "1", "I;16", "I"))
        if self.ignore:
            numbers = np.where(np.isin(numbers, self.ignore), 0, numbers)
        largest, least = int(numbers.max()), int(numbers.min())
        if least < 0 or largest > 255:
            got = least if least < 0 else largest
            raise SampleError("brought_value", f"{brought.place} must count entities from 0 to 255, got {got}.")
        indices = lay_map(placement_in(brought), numbers.astype(np.uint8), "nearest")
        # Counted before it is made smaller: an entity that is lost then has a share of 0, not none.
        return _annotation_of_indices(indices, largest)

    def _outlined(self, brought: Brought) -> Annotation:
        """Return what the column stores of records with outlines."""
        records, shape = records_of(brought, "objects"), placement_in(brought).original
        if len(records) > _MOST:
            raise SampleError("brought_value", f"{brought.place} must have at most {_MOST} masks, got {len(records)}.")
        masks = [_outline(brought.place, record, shape) for record in records]
        indices = resolve(masks, list(scores_of(brought, records, "score")), shape)
        return _annotation_of_indices(lay_map(placement_in(brought), indices, "nearest"), len(records))


def _outline(place: str, record: Mapping[str, Any], shape: tuple[int, int]) -> np.ndarray:
    """Return the mask bool (H,W) of a record, empty without an outline; raises SampleError brought_pixels."""
    outline = record.get("segmentation")
    try:
        if isinstance(outline, Mapping):
            return runs_mask(outline, shape)
        masks = [polygon_mask(polygon, shape) for polygon in outline or ()]
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        what = record.get("id", shown(record))
        raise SampleError("brought_pixels", f"{place} must have outlines as COCO has them, {what}: {error}.") from error
    return np.any(masks, axis=0) if masks else np.zeros(shape, bool)


BROUGHT = BroughtMasks
