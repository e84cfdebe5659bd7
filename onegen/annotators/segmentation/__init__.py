"""Which pixels belong to which entity: the `semanticmap2image` condition.

What the column stores, whichever backend made it, and which mask a pixel goes to that several claim.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from onegen.sample import Annotation, Part, Provides

PROVIDES = Provides(
    parts=(Part("masks.png", "index"),), fields={"areas": pa.list_(pa.float64()), "coverage": pa.float64()}
)
"""`masks.png`: a palette PNG of the image's size; value i is entity i of column `entities`, counted from 1; 0 is none.
`areas` are the entities' shares of the image in [0, 1], in their order; `coverage` is their sum.
"""


def annotation_of(masks: Sequence[np.ndarray], scores: Sequence[float], shape: tuple[int, int]) -> Annotation:
    """Return what the column stores of the entities' masks, bool (H,W) of `shape` each, and their detection scores."""
    indices = resolve(masks, scores, shape)
    shares = np.bincount(indices.ravel(), minlength=len(masks) + 1)[1:] / indices.size
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
