"""Draw the conditions a model is trained on: pure functions of (annotation, seed), nothing read, nothing kept.

Pictures in and out are RGB uint8 (H,W,3), on black, as section 1.2 of `spec/onediffusion.md` describes the paper's own.
"""

import random
from collections.abc import Mapping, Sequence

import cv2
import numpy as np

COLOURS: Mapping[str, tuple[int, int, int]] = {
    "red": (255, 0, 0),
    "lime": (0, 255, 0),
    "blue": (0, 0, 255),
    "yellow": (255, 255, 0),
    "magenta": (255, 0, 255),
    "cyan": (0, 255, 255),
    "orange": (255, 165, 0),
    "purple": (128, 0, 128),
    "brown": (165, 42, 42),
    "green": (0, 128, 0),
    "pink": (255, 192, 203),
    "teal": (0, 128, 128),
    "darkorange": (255, 140, 0),
    "blueviolet": (138, 43, 226),
    "darkgreen": (0, 100, 0),
    "orangered": (255, 69, 0),
    "navy": (0, 0, 128),
    "gold": (255, 215, 0),
    "turquoise": (64, 224, 208),
    "orchid": (218, 112, 214),
}
"""The 20 colours of entities (CSS names) as RGB."""


def assign_colours(labels: Sequence[str], seed: int) -> dict[str, str]:
    """Return a colour name for each different label, each its own, drawn by `seed` alone; at most 20 labels."""
    different = list(dict.fromkeys(labels))
    return dict(zip(different, random.Random(seed).sample(list(COLOURS), len(different)), strict=True))


def canny(pixels: np.ndarray, low: int = 100, high: int = 200) -> np.ndarray:
    """Return Canny edges of an RGB uint8 (H,W,3) image, white on black, as uint8 (H,W,3).

    `low` and `high` are the hysteresis thresholds on the Sobel gradient's L1 norm of the grey values: stronger than
    `high` is an edge, stronger than `low` is one where it touches an edge.
    """
    edges = cv2.Canny(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), low, high)
    return np.repeat(edges[:, :, np.newaxis], 3, axis=2)
