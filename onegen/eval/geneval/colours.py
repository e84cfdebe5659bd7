"""The colour of an object without a network: a vote of its pixels among ten colours. Named `colour_rule` in results.

Each pixel is black, white, grey (no vote) or has a hue, by OpenCV's HSV; brown is dark orange, pink pale red to
magenta. Thresholds are our choice: CLIP, which the benchmark uses, has none.
"""

import cv2
import numpy as np

from onegen.eval.geneval.prompts import COLOURS
from onegen.eval.geneval.rules import Thing

VERSION = 1
_BLACK_VALUE, _WHITE_VALUE, _GREY_SATURATION = 50, 185, 40
"""Of 255: darker is black; paler than the saturation is white where it is bright, else grey."""
_HUES = ((8, "red"), (22, "orange"), (34, "yellow"), (85, "green"), (128, "blue"), (150, "purple"), (170, "pink"))
"""Upper ends of hue ranges, in OpenCV's degrees over 2; beyond the last it is red again."""
_BROWN_VALUE, _PINK_SATURATION = 170, 130


def colour_rule(pixels: np.ndarray, thing: Thing) -> str:
    """Return which of the ten colours most pixels of a thing in an RGB uint8 (H,W,3) picture have; `grey` for none.

    Without a mask the pixels are those of the middle half of its box, by side.
    """
    votes = _votes(_pixels_of(pixels, thing))
    counts = {colour: int((votes == index).sum()) for index, colour in enumerate(COLOURS)}
    best = max(counts, key=lambda colour: counts[colour])
    return best if counts[best] else "grey"


def _pixels_of(pixels: np.ndarray, thing: Thing) -> np.ndarray:
    """Return (N,3) pixels."""
    if thing.mask is not None and thing.mask.any():
        return pixels[thing.mask]
    x0, y0, x1, y1 = thing.box
    across, down = (x1 - x0) / 4, (y1 - y0) / 4
    left, top = max(0, int(x0 + across)), max(0, int(y0 + down))
    right, bottom = max(left + 1, int(np.ceil(x1 - across))), max(top + 1, int(np.ceil(y1 - down)))
    return pixels[top:bottom, left:right].reshape(-1, 3)


def _votes(rgb: np.ndarray) -> np.ndarray:
    """Return of each pixel (N,3) the index of its colour in COLOURS, -1 for grey."""
    if not len(rgb):
        return np.empty(0, int)
    hsv = cv2.cvtColor(np.ascontiguousarray(rgb)[np.newaxis], cv2.COLOR_RGB2HSV)[0]
    hue, saturation, value = (hsv[:, channel].astype(int) for channel in range(3))
    votes = np.full(len(rgb), COLOURS.index("red"))
    low = 0
    for high, name in _HUES:
        votes[(hue >= low) & (hue < high)] = COLOURS.index(name)
        low = high
    is_reddish = (hue < 22) | (hue >= 170)
    votes[(hue < 22) & (value < _BROWN_VALUE) & ~((hue < 4) & (saturation > 200))] = COLOURS.index("brown")
    pale = is_reddish & (saturation < _PINK_SATURATION) & (value >= _BROWN_VALUE) & ((hue < 8) | (hue >= 170))
    votes[pale] = COLOURS.index("pink")
    is_grey = saturation < _GREY_SATURATION
    votes[is_grey] = np.where(value[is_grey] >= _WHITE_VALUE, COLOURS.index("white"), -1)
    votes[value < _BLACK_VALUE] = COLOURS.index("black")
    return votes
