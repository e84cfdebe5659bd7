"""Which way surfaces face: no task of the model needs it, other people's trainers do. What the column stores."""

import numpy as np

from onegen.sample import Annotation, Part, Provides

DEFAULT_BACKEND = "marigold"
"""No package ships weights for it."""
PROVIDES = Provides(parts=(Part("normals.png", "rgb8"),))
"""`normals.png`: unit vectors in the camera's frame as 8-bit RGB, 255 (n + 1) / 2: x to the right, y up, z towards the
viewer, so that a wall faced straight is (128, 128, 255).
"""


def annotation_of(normals: np.ndarray) -> Annotation:
    """Return what the column stores of vectors, float (H,W,3) of any length; none at all faces the viewer."""
    lengths = np.linalg.norm(normals, axis=2, keepdims=True)
    units = np.where(lengths > 1e-6, normals / np.maximum(lengths, 1e-6), np.array([0.0, 0.0, 1.0]))
    return Annotation(parts={"normals.png": np.rint((units + 1.0) * 127.5).astype(np.uint8)})
