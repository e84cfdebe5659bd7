"""Small pictures made in the test, and their bytes in any format."""

import io

import cv2
import numpy as np
from PIL import Image


def smooth(seed: int = 0, width: int = 48, height: int = 32) -> np.ndarray:
    """Return a soft coloured picture, RGB uint8 (H,W,3), another one for every seed."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (4, 5, 3), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def encode(pixels: np.ndarray | Image.Image, format: str, **options: object) -> bytes:
    """Return pixels as the bytes of a file of Pillow's format name."""
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    sink = io.BytesIO()
    image.save(sink, format, **options)
    return sink.getvalue()


def png(seed: int = 0, width: int = 48, height: int = 32) -> bytes:
    """Return the picture of a seed as PNG bytes."""
    return encode(smooth(seed, width, height), "PNG")


def jpeg(seed: int = 0, width: int = 48, height: int = 32, **options: object) -> bytes:
    """Return the picture of a seed as JPEG bytes."""
    return encode(smooth(seed, width, height), "JPEG", **{"quality": 90, **options})


def decode(data: bytes) -> np.ndarray:
    """Return what Pillow makes of an image file, RGB uint8 (H,W,3)."""
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))
