"""Parts of a packed sample as arrays and records, for readers that hand over a name and bytes.

    webdataset.WebDataset("out/shards/000000.tar").decode(onegen.decoder).rename(image="jpg;png;webp")

A PNG says itself what its pixels are: 16 bits of depth stay 16, and the indices of masks stay indices. docs/build.md.
"""

import io
import json
import warnings
from typing import Any

import numpy as np
from PIL import Image

from onegen.pixels.codec import decode_image

_PICTURES = ("jpg", "webp")


def decode(name: str, data: bytes) -> Any:
    """Return a part of a sample, None for what is no part of ours, so that another handler may know it.

    An image is RGB uint8 (H,W,3); depth uint16 (H,W), near is bright; other maps uint8 (H,W); masks uint8 (H,W) of
    entity indices, 0 for none; `key.json` a dict. `name` is the part with or without its leading dot. Raises
    SampleError for an image, OSError for a map and ValueError for JSON that does not read.
    """
    extension = name.rpartition(".")[2].lower()
    if extension == "json":
        return json.loads(data)
    if extension in _PICTURES:
        return decode_image(data)
    return _png(data) if extension == "png" else None


def _png(data: bytes) -> np.ndarray:
    """Return the pixels of a PNG as they are stored; colours as RGB uint8 (H,W,3)."""
    with warnings.catch_warnings():
        # Pillow says of 16 bits that they will be called otherwise one day.
        warnings.simplefilter("ignore", DeprecationWarning)
        with Image.open(io.BytesIO(data)) as image:
            pixels = np.asarray(
                image if image.mode in ("L", "P") or image.mode.startswith("I") else image.convert("RGB")
            )
    return pixels if pixels.dtype == np.uint8 else pixels.astype(np.uint16)
