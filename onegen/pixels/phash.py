"""A 64-bit perceptual hash of an image: near pictures differ in few bits."""

from functools import cache

import cv2
import numpy as np

FLAT = (0, 1 << 63)
"""Hashes of pictures of one colour, black and any other: they say nothing of what two such pictures share."""
_SIZE = 32
_KEPT = 8


def phash(pixels: np.ndarray) -> int:
    """Return the pHash of RGB uint8 (H,W,3) as an unsigned 64-bit number, top-left bit first.

    Grey 32x32, discrete cosine transform, lowest 8x8 frequencies, each compared with their median
    (Zauner 2010, "Implementation and benchmarking of perceptual image hash functions").
    """
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (_SIZE, _SIZE), interpolation=cv2.INTER_AREA).astype(np.float64)
    basis = _cosines()
    low = basis @ small @ basis.T
    # Rounded, so that a flat picture's zeros do not become noise around the median.
    low = np.round(low, 6)
    bits = (low > np.median(low)).ravel()
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


@cache
def _cosines() -> np.ndarray:
    """Return the first 8 rows of the DCT-II basis of length 32, (8,32)."""
    frequency, position = np.arange(_KEPT)[:, None], np.arange(_SIZE)[None]
    return np.cos(np.pi * frequency * (2 * position + 1) / (2 * _SIZE))
