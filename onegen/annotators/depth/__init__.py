"""How near each pixel is: the `depth2image` condition. What the column stores, whichever backend made it."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import pyarrow as pa

from onegen.annotators.shared.brought import brought_of, placement_in
from onegen.annotators.shared.brought_maps import MapReader, map_of
from onegen.errors import SampleError
from onegen.pixels.placement import lay_map
from onegen.sample import Annotation, Item, Part, Provides

PROVIDES = Provides(parts=(Part("depth.png", "gray16"),), fields={"minimum": pa.float64(), "maximum": pa.float64()})
"""`depth.png`: inverse depth of every pixel, 16 bits stretched over the full range, near = bright; a picture without
any difference in depth is black. `minimum` and `maximum` are the inverse depths that 0 and 65535 stand for.
"""


def annotation_of(inverse: np.ndarray) -> Annotation:
    """Return what the column stores of inverse depth, float (H,W) in any unit, large = near."""
    low, high = float(inverse.min()), float(inverse.max())
    stretched = (inverse - low) * (65535.0 / (high - low)) if high > low else np.zeros_like(inverse)
    values = {"minimum": round(low, 6), "maximum": round(high, 6)}
    return Annotation(values, {"depth.png": np.rint(stretched).astype(np.uint16)})


@dataclass(frozen=True)
class BroughtDepth(MapReader):
    """Depth that a source brings: a grey picture of 8 or 16 bits, or numbers of numpy or a TIFF.

    `near: bright` takes it for inverse depth, in any unit; `near: dark` for distances, whose inverse is stored. 0 is
    then no distance, nor is what is not finite, and lies as far as the farthest that was measured. Smaller images get
    the nearest pixel: a mean of two depths is a depth that nothing has.
    """

    near: Literal["bright", "dark"] = "bright"

    provides: ClassVar[Provides] = PROVIDES

    def take(self, item: Item) -> Annotation:
        """Return what the column stores; raises SampleError brought_size, brought_pixels or brought_value."""
        brought = brought_of(item)
        original = map_of(brought, ("L", "I;16", "I;16B", "I", "F", "npy"))
        numbers = lay_map(placement_in(brought), original, "nearest").astype(np.float64)
        measured = np.isfinite(numbers)
        if self.near == "dark":
            measured &= numbers > 0
            numbers = 1.0 / np.where(measured, numbers, 1.0)
        if not measured.any():
            raise SampleError("brought_value", f"{brought.place} must measure a pixel, got none.")
        inverse = np.where(measured, numbers, numbers[measured].min())
        # Of distances in millimetres the inverse has all its digits behind the fourth.
        values = {"minimum": float(f"{inverse.min():.6g}"), "maximum": float(f"{inverse.max():.6g}")}
        return Annotation(values, annotation_of(inverse).parts)


BROUGHT = BroughtDepth
