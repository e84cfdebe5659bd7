"""Soft edges: the `hed2img` condition, grey edges white on black. What the column stores, whichever backend made it."""

import numpy as np

from onegen.sample import Annotation, Part, Provides

PROVIDES = Provides(parts=(Part("hed.png", "gray8"),))
"""`hed.png`: edge probability of every pixel, an 8-bit map of the image's size; 255 is certainly an edge."""


def annotation_of(probabilities: np.ndarray) -> Annotation:
    """Return what the column stores of edge probabilities, float (H,W); what lies outside of [0, 1] is clipped."""
    return Annotation(parts={"hed.png": np.rint(np.clip(probabilities, 0.0, 1.0) * 255.0).astype(np.uint8)})
