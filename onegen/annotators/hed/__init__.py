"""Soft edges: the `hed2img` condition, grey edges white on black. What the column stores, whichever backend made it."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from onegen.annotators.shared.brought import brought_of, placement_in
from onegen.annotators.shared.brought_maps import MapReader, map_of
from onegen.pixels.placement import lay_map
from onegen.sample import Annotation, Item, Part, Provides

PROVIDES = Provides(parts=(Part("hed.png", "gray8"),))
"""`hed.png`: edge probability of every pixel, an 8-bit map of the image's size; 255 is certainly an edge."""


def annotation_of(probabilities: np.ndarray) -> Annotation:
    """Return what the column stores of edge probabilities, float (H,W); what lies outside of [0, 1] is clipped."""
    return Annotation(parts={"hed.png": np.rint(np.clip(probabilities, 0.0, 1.0) * 255.0).astype(np.uint8)})


@dataclass(frozen=True)
class BroughtHed(MapReader):
    """Edges that a source brings: a grey picture of 8 bits. A pixel of a smaller image is the mean of those below."""

    provides: ClassVar[Provides] = PROVIDES

    def take(self, item: Item) -> Annotation:
        """Return what the column stores; raises SampleError brought_size or brought_pixels."""
        brought = brought_of(item)
        return annotation_of(lay_map(placement_in(brought), map_of(brought, ("L",)), "area") / 255.0)


BROUGHT = BroughtHed
