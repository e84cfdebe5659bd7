"""Metric depth by Depth Pro (Bochkovskii et al., ICLR 2025), and the focal length that it tells from the picture."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import cv2
import numpy as np
import pyarrow as pa

from onegen.annotators import register
from onegen.annotators.depth import PROVIDES, annotation_of
from onegen.annotators.shared.image_network import ImageNetwork
from onegen.annotators.shared.pixels import pixels_of
from onegen.sample import CHANGES_NO_RESULT, Annotation, Item, Provides, Rejected

_NEAREST, _FARTHEST = 1e-4, 1e4
"""Metres between which depth is believed."""


@register("annotators", "depth", backend="depth-pro")
@dataclass(frozen=True)
class DepthPro(ImageNetwork):
    """Inverse depth in 1/m, of which `minimum` and `maximum` keep the scale, and `focal`, in pixels of the image.

    The network sees 1536 x 1536 pixels whatever the image. Apple's research licence: not for commercial use.
    """

    backend: Literal["depth-pro"] = "depth-pro"
    model: str = field(default="apple/DepthPro-hf", metadata={CHANGES_NO_RESULT: True})

    name: ClassVar[str] = "depth"
    producer: ClassVar[str] = "depth-pro"
    version: ClassVar[int] = 1
    tolerance: ClassVar[Mapping[str, float]] = {"depth.png": 66.0, "minimum": 1e-3, "maximum": 1e-2, "focal": 0.1}
    provides: ClassVar[Provides] = Provides(PROVIDES.parts, {**PROVIDES.fields, "focal": pa.float64()})
    loader: ClassVar[str] = "DepthProForDepthEstimation"

    def read(self, output: Any) -> Sequence[Any]:
        """Return of each inverse depth float32 (h,w) for a focal length of one width, and the field of view."""
        depths = output.predicted_depth.float().cpu().numpy()
        views = [None] * len(depths) if output.field_of_view is None else output.field_of_view.tolist()
        return list(zip(depths, views, strict=True))

    def finish(self, item: Item, answer: Any) -> Annotation | Rejected:
        """Return what is stored: in 1/m and at the image's size."""
        height, width = pixels_of(item).shape[:2]
        canonical, degrees = answer
        # The angle that the picture's width spans; a checkpoint without that head leaves the scale as it is.
        focal = None if degrees is None else 0.5 * width / np.tan(np.radians(degrees) / 2)
        inverse = canonical.astype(np.float64) * (width / focal if focal else 1.0)
        inverse = cv2.resize(inverse, (width, height), interpolation=cv2.INTER_LINEAR)
        stored = annotation_of(np.clip(inverse, 1 / _FARTHEST, 1 / _NEAREST))
        return Annotation({**stored.values, "focal": None if focal is None else round(float(focal), 2)}, stored.parts)
