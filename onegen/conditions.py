"""Draw the conditions a model is trained on: pure functions of (annotation, seed), nothing read, nothing kept.

Pictures in and out are RGB uint8 (H,W,3), on black, as section 1.2 of `spec/onediffusion.md` describes the paper's own.
"""

import cv2
import numpy as np


def canny(pixels: np.ndarray, low: int = 100, high: int = 200) -> np.ndarray:
    """Return Canny edges of an RGB uint8 (H,W,3) image, white on black, as uint8 (H,W,3).

    `low` and `high` are the hysteresis thresholds on the Sobel gradient's L1 norm of the grey values: stronger than
    `high` is an edge, stronger than `low` is one where it touches an edge.
    """
    edges = cv2.Canny(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), low, high)
    return np.repeat(edges[:, :, np.newaxis], 3, axis=2)
