"""Maps that a source brings: files of one number a pixel, of the size of the original."""

import io
import tokenize
from collections.abc import Collection, Sequence
from typing import ClassVar

import numpy as np

from onegen.annotators.shared.brought import BaseReader, placement_in, shown
from onegen.errors import SampleError
from onegen.pixels.upright import decoded_as_stored, open_header
from onegen.sample import Brought

NPY = b"\x93NUMPY"
"""How a file of `numpy.save` begins."""
_BITS_AT = 24  # in a PNG: bits a channel
_BROKEN = (ValueError, TypeError, OverflowError, OSError, EOFError, SyntaxError, tokenize.TokenError)
"""What numpy raises for malformed files; it reads a header as Python of old."""
_LOSSLESS = ("PNG", "TIFF")


class MapReader(BaseReader):
    """Base of readers of maps."""

    is_file: ClassVar[bool] = True
    on_pixels: ClassVar[bool] = True


def map_of(brought: Brought, modes: Collection[str]) -> np.ndarray:
    """Return a brought map as its file holds it, (H,W) of the original's size, as uint8, uint16, float32 or float64.

    `modes` are Pillow's for the PNG and TIFF files that will do, and `npy` for arrays of numpy. Raises SampleError
    brought_size, brought_pixels, or as `onegen.pixels.upright` does for a file that is no picture.
    """
    data = brought.value
    if not isinstance(data, bytes):
        raise SampleError("brought_pixels", f"{brought.place} must be a picture, got {shown(data)}.")
    if data.startswith(NPY) and "npy" in modes:
        return _native(_array(brought, data))
    image = open_header(data)
    if image.format not in _LOSSLESS or image.mode not in modes:
        raise SampleError(
            "brought_pixels",
            f"{brought.place} must be PNG or TIFF of mode {' or '.join(modes)}, got {image.format} of mode "
            f"{image.mode}. Write one number a pixel, without loss.",
        )
    _check_size(brought, (image.height, image.width))
    numbers = _sized(brought, decoded_as_stored(image))
    bits = data[_BITS_AT] if image.format == "PNG" and image.mode == "L" else 8
    # Grey of 2 or 4 bits comes out stretched to 255, which is right for a picture and wrong for numbers.
    return _native(numbers // (255 // (2**bits - 1)) if "P" in modes and bits < 8 else numbers)


def _array(brought: Brought, data: bytes) -> np.ndarray:
    """Return the array of a file of `numpy.save`, whose header is checked first: it may promise any size."""
    file = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(file)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, kind = read_header(file)
        if len(shape) != 2 or kind.kind not in "uif":
            raise SampleError("brought_pixels", f"{brought.place} must hold numbers (H,W), got {kind} {shape}.")
        _check_size(brought, shape)
        file.seek(0)
        return np.asarray(np.load(file, allow_pickle=False))
    except _BROKEN as error:
        raise SampleError("brought_pixels", f"{brought.place} must be a whole array of numbers: {error}.") from error


def _native(numbers: np.ndarray) -> np.ndarray:
    """Return numbers as a type that maps are resized in, with the bytes of this machine's order."""
    kind = numbers.dtype.newbyteorder("=")
    if kind.kind == "b":
        return numbers.astype(np.uint8)
    return numbers.astype(kind if kind in (np.uint8, np.uint16, np.float32, np.float64) else np.float64, copy=False)


def _sized(brought: Brought, array: np.ndarray) -> np.ndarray:
    _check_size(brought, array.shape[:2])
    return array


def _check_size(brought: Brought, size: Sequence[int]) -> None:
    height, width = placement_in(brought).original
    if tuple(size) != (height, width):
        raise SampleError(
            "brought_size",
            f"{brought.place} must have the size of its picture, {width}x{height}, got {size[1]}x{size[0]}. "
            f"Give the one made of this picture; with upright: true it lies on the picture as viewers turn it.",
        )
