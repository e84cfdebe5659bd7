"""Arrays as the bytes of files, which is how a source hands pictures and maps on."""

import io

import cv2
import numpy as np

from onegen.errors import SampleError


def png_of(pixels: np.ndarray) -> bytes:
    """Return RGB uint8 (H,W,3), or grey uint8 (H,W), as the bytes of a PNG."""
    ok, data = cv2.imencode(".png", pixels[:, :, ::-1] if pixels.ndim == 3 else pixels)
    assert ok
    return bytes(data.tobytes())


def npy_of(numbers: np.ndarray) -> bytes:
    """Return an array as the bytes of a file of numpy."""
    sink = io.BytesIO()
    np.save(sink, numbers, allow_pickle=False)
    return sink.getvalue()


def stored_numbers(name: str, data: bytes) -> np.ndarray:
    """Return the numbers (H,W) or (H,W,channels) of a PNG or TIFF as it stores them, or of a file of numpy.

    Raises SampleError brought_pixels.
    """
    try:
        if data.startswith(b"\x93NUMPY"):
            return np.asarray(np.load(io.BytesIO(data), allow_pickle=False))
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except (cv2.error, ValueError, EOFError, OSError, SyntaxError) as error:
        raise SampleError("brought_pixels", f"{name} must be a whole map: {error}.") from error
    if pixels is None:
        raise SampleError("brought_pixels", f"{name} must be a PNG, a TIFF or a file of numpy, and does not decode.")
    return np.asarray(pixels)
