"""The pixels of an item, for annotators that declare `needs_pixels`."""

import numpy as np

from onegen.errors import SampleError
from onegen.sample import Item


def pixels_of(item: Item) -> np.ndarray:
    """Return RGB uint8 (H,W,3); raises SampleError where the item came without."""
    if item.pixels is None:
        raise SampleError("no_pixels", f"item {item.key} must come with pixels, and came without.")
    return item.pixels
