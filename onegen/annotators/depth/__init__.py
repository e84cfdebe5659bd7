"""How near each pixel is: the `depth2image` condition. What the column stores, whichever backend made it."""

import numpy as np
import pyarrow as pa

from onegen.sample import Annotation, Part, Provides

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
