"""Simple measures of a photo's quality, for filtering and for audits: no model, only arithmetic on pixels."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import cv2
import numpy as np
import pyarrow as pa

from onegen.annotators import register
from onegen.annotators.shared.pixels import pixels_of
from onegen.errors import ConfigError
from onegen.pixels.sizes import fit
from onegen.sample import Annotation, BaseAnnotator, Item, Provides, Rejected


@register("annotators", "scores")
@dataclass(frozen=True)
class Scores(BaseAnnotator):
    """Four numbers per image, each measured on the image with its longer side at most `side` pixels. Exact.

    * `sharpness`: variance of the Laplacian of the grey values (0-255). 0 is flat; under about 100 a photo looks
      blurred.
    * `brightness`: mean grey value over 255, in [0, 1].
    * `contrast`: standard deviation of the grey values over 127.5, in [0, 1].
    * `colourfulness`: Hasler and Suesstrunk (2003), in [0, about 190]. 0 is grey, 33 moderate, 59 quite, 109 extreme.

    `side` makes sharpness comparable between photos of different sizes; smaller images are not enlarged.
    """

    side: int = 512

    name: ClassVar[str] = "scores"
    version: ClassVar[int] = 1
    provides: ClassVar[Provides] = Provides(
        fields={name: pa.float64() for name in ("sharpness", "brightness", "contrast", "colourfulness")}
    )

    def check(self) -> None:
        """Raise ConfigError for a `side` below 32."""
        if self.side < 32:
            raise ConfigError(f"side of scores must be at least 32, got {self.side}. Try 512.")

    def annotate(self, items: Sequence[Item]) -> list[Annotation | Rejected]:
        """Return the four numbers of each item."""
        return [Annotation(self._measures(pixels_of(item))) for item in items]

    def _measures(self, pixels: np.ndarray) -> dict[str, float]:
        scale, size = fit(pixels.shape, self.side)
        if scale < 1.0:
            pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
        grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY).astype(np.float64)
        return {
            "sharpness": round(float(cv2.Laplacian(grey, cv2.CV_64F).var()), 3),
            "brightness": round(float(grey.mean() / 255.0), 5),
            "contrast": round(float(grey.std() / 127.5), 5),
            "colourfulness": round(_colourfulness(pixels), 3),
        }


def _colourfulness(pixels: np.ndarray) -> float:
    """Return the M3 measure of Hasler and Suesstrunk (2003): spread plus 0.3 x mean of the two opponent channels."""
    red, green, blue = np.moveaxis(pixels.astype(np.float64), 2, 0)
    red_green = red - green
    yellow_blue = 0.5 * (red + green) - blue
    spread = np.hypot(red_green.std(), yellow_blue.std())
    mean = np.hypot(red_green.mean(), yellow_blue.mean())
    return float(spread + 0.3 * mean)
