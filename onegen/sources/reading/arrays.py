"""Arrays as the bytes of files, which is how a source hands pictures and maps on."""

import io

import cv2
import numpy as np

from onegen.errors import ConfigError, SampleError

_EXR = b"\x76\x2f\x31\x01"
_CHANNELS = "RGBA"
_MOST_PIXELS = 100_000_000


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
    """Return the numbers (H,W) or (H,W,channels) of a PNG, TIFF or EXR as it stores them, or of a file of numpy.

    Raises SampleError brought_pixels.
    """
    if data.startswith(_EXR):
        return _exr_numbers(name, data)
    try:
        if data.startswith(b"\x93NUMPY"):
            return np.asarray(np.load(io.BytesIO(data), allow_pickle=False))
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except (cv2.error, ValueError, EOFError, OSError, SyntaxError) as error:
        raise SampleError("brought_pixels", f"{name} must be a whole map: {error}.") from error
    if pixels is None:
        raise SampleError(
            "brought_pixels", f"{name} must be a PNG, a TIFF, an EXR or a file of numpy, and does not decode."
        )
    return np.asarray(pixels)


def _exr_numbers(name: str, data: bytes) -> np.ndarray:
    """Return the channels R, G, B, A of an EXR, as many as it has; of one with others, its only one, or Z."""
    try:
        import OpenEXR
    except ImportError as error:
        raise ConfigError(
            f"maps in EXR, such as {name}, need OpenEXR. Install it with: pip install 'onegen[scenes]'."
        ) from error
    try:
        with OpenEXR.File(io.BytesIO(data), header_only=True) as file:
            low, high = file.header()["dataWindow"]
        if np.prod(np.asarray(high, np.int64) - low + 1) > _MOST_PIXELS:
            raise SampleError("brought_pixels", f"{name} must have at most {_MOST_PIXELS:,} pixels, and has more.")
        with OpenEXR.File(io.BytesIO(data), separate_channels=True) as file:
            channels = {channel: np.asarray(held.pixels) for channel, held in file.channels().items()}
    except (RuntimeError, ValueError, TypeError, KeyError, MemoryError) as error:
        raise SampleError("brought_pixels", f"{name} must be a whole EXR: {error}.") from error
    colours = [channels[channel] for channel in _CHANNELS if channel in channels]
    alone = channels.get("Z", next(iter(channels.values()), None)) if len(colours) < 2 else None
    if alone is None and not colours:
        raise SampleError("brought_pixels", f"{name} must have channels, and has none.")
    return alone if alone is not None else np.stack(colours, axis=2)
