"""The pixels of an item, for annotators that declare `needs_pixels`."""

import cv2
import numpy as np
from PIL import Image

from onegen.errors import SampleError
from onegen.sample import Item


def pixels_of(item: Item) -> np.ndarray:
    """Return RGB uint8 (H,W,3); raises SampleError where the item came without."""
    if item.pixels is None:
        raise SampleError("no_pixels", f"item {item.key} must come with pixels, and came without.")
    return item.pixels


_LEAST_SIDE, _MOST_RATIO = 28, 16
"""What processors of published models take without a side of nothing."""


def picture_of(item: Item) -> Image.Image:
    """Return the image of an item as processors of transformers take it.

    A side shorter than 28 pixels or than a sixteenth of the other is stretched to that: what is one pixel wide has no
    size left where processors keep its shape.
    """
    pixels = pixels_of(item)
    height, width = pixels.shape[:2]
    least = max(_LEAST_SIDE, -(-max(height, width) // _MOST_RATIO))
    if min(height, width) < least:
        size = (max(width, least), max(height, least))
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_NEAREST)
    return Image.fromarray(pixels)
