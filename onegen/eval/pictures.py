"""Pictures of a folder as arrays, and what is wrong with those that are none."""

from pathlib import Path

import numpy as np
from PIL import Image

from onegen.errors import SampleError
from onegen.pixels.upright import decode, open_header


def read_picture(path: Path) -> Image.Image:
    """Return a picture as upright RGB; raises SampleError `unreadable` for one that is truncated or none."""
    try:
        data = path.read_bytes()
        return decode(open_header(data), data).image
    except OSError as error:
        raise SampleError("unreadable", f"{path} must be a readable picture: {error}") from error
    except SampleError as error:
        raise SampleError("unreadable", f"{path} must be a readable picture: {error}") from error


def read_pixels(path: Path, size: tuple[int, int] | None = None) -> np.ndarray:
    """Return a picture as RGB uint8 (H,W,3); raises SampleError, `size` where it has not this (height, width)."""
    picture = read_picture(path)
    if size is not None and (picture.height, picture.width) != size:
        raise SampleError(
            "size", f"{path} must be {size[1]}x{size[0]} pixels, got {picture.width}x{picture.height}. Resize it."
        )
    return np.asarray(picture)
