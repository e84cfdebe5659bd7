"""Parts of a packed sample as arrays and records, for readers that hand over a name and bytes.

    webdataset.WebDataset("out/shards/000000.tar").decode(onegen.decoder).rename(image="jpg;png;webp")

A PNG says itself what its pixels are: 16 bits of depth stay 16, and the indices of masks stay indices. docs/build.md.
"""

import io
import json
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
    with Image.open(io.BytesIO(data)) as image:
        is_map = image.mode in ("L", "P") or image.mode.startswith("I")
        pixels = np.asarray(image if is_map else image.convert("RGB"))
    # Older versions of Pillow read 16 bits as 32.
    return pixels if pixels.dtype == np.uint8 else pixels.astype(np.uint16)
