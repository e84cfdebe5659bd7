"""Bytes to pixels and back: stored images, and the maps that annotators make of them."""

import contextlib
import io
from typing import Literal

import cv2
import numpy as np
import simplejpeg
from PIL import Image

from onegen.errors import SampleError
from onegen.sample import Encoding

_PNG = [cv2.IMWRITE_PNG_COMPRESSION, 6, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE]
"""Maps are smooth: once PNG has filtered them, runs are all there is to find. Searching for longer matches as well took
four times as long over edge and depth maps and changed their size by 2 per cent, up or down."""


_JPEG = [cv2.IMWRITE_JPEG_QUALITY, 95, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
JPEG_SIDE = 65_500
"""Pixels a side that libjpeg writes at most; the format itself ends a little later."""


def decode_image(data: bytes) -> np.ndarray:
    """Return a stored image as RGB uint8 (H,W,3). It is upright and 8-bit RGB by the contract of ingest.

    Raises SampleError `unreadable_image` for bytes that no longer decode.
    """
    try:
        if data[:2] == b"\xff\xd8":
            # The accurate transforms: the fast ones differ from Pillow's by a few grey levels. What libjpeg only warns
            # of (an odd version, bytes between markers) is an error here and none to Pillow, by which ingest went.
            with contextlib.suppress(ValueError):
                return simplejpeg.decode_jpeg(data, "RGB", fastdct=False, fastupsample=False)
        with Image.open(io.BytesIO(data)) as image:
            return np.asarray(image.convert("RGB"))
    except (OSError, ValueError, SyntaxError) as error:
        raise SampleError(
            "unreadable_image", f"stored image must decode: {error}. Run `onegen verify --full`."
        ) from error


def encode_picture(pixels: np.ndarray, extension: Literal["png", "jpg"]) -> bytes:
    """Return RGB uint8 (H,W,3) as PNG, or as JPEG of quality 95 without chroma subsampling.

    Raises SampleError `too_large_for_jpeg`: no side of a JPEG may be longer than 65,500 pixels.
    """
    if extension == "jpg" and max(pixels.shape[:2]) > JPEG_SIDE:
        size = f"{pixels.shape[1]}x{pixels.shape[0]}"
        raise SampleError("too_large_for_jpeg", f"a JPEG must have at most {JPEG_SIDE:,} pixels a side, got {size}.")
    options = _PNG if extension == "png" else _JPEG
    ok, data = cv2.imencode(f".{extension}", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), options)
    assert ok, "RGB uint8 of such a size can be encoded"
    return data.tobytes()


def encode_part(value: np.ndarray | bytes, encoding: Encoding) -> bytes:
    """Return a part's bytes; raises SampleError `bad_annotation` where the array is not what the encoding takes."""
    if encoding == "bytes":
        if not isinstance(value, bytes):
            raise SampleError("bad_annotation", f"a part of encoding bytes must be bytes, got {type(value).__name__}.")
        return value
    dtype = np.uint16 if encoding == "gray16" else np.uint8
    channels, form = ((3,), "(H,W,3)") if encoding == "rgb8" else ((), "(H,W)")
    is_map = isinstance(value, np.ndarray) and value.shape[2:] == channels and value.ndim == 2 + len(channels)
    if not isinstance(value, np.ndarray) or not is_map or value.dtype != dtype or value.size == 0:
        got = f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__
        wanted = f"{dtype.__name__} {form}"
        raise SampleError("bad_annotation", f"a part of encoding {encoding} must be {wanted}, got {got}.")
    if encoding == "rgb8":
        return encode_picture(value, "png")
    if encoding == "index":
        return _palette_png(value)
    ok, data = cv2.imencode(".png", value, _PNG)
    if not ok:
        raise SampleError("bad_annotation", f"map of shape {value.shape} could not be written as PNG.")
    return data.tobytes()


def decode_part(data: bytes, encoding: Encoding) -> np.ndarray | bytes:
    """Return what `encode_part` was given."""
    if encoding == "bytes":
        return data
    if encoding == "index":
        with Image.open(io.BytesIO(data)) as image:
            return np.asarray(image)
    array = np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED))
    return array[:, :, ::-1] if encoding == "rgb8" else array


def _palette_png(indices: np.ndarray) -> bytes:
    image = Image.fromarray(indices, mode="P")
    # Index 0 is black; the others spread over the hues, so that a viewer without a legend still tells them apart.
    hues = (np.arange(256) * 67 % 180).astype(np.uint8)
    hsv = np.stack([hues, np.full(256, 200, np.uint8), np.full(256, 255, np.uint8)], -1)[None]
    palette = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0]
    palette[0] = 0
    image.putpalette(palette.tobytes())
    sink = io.BytesIO()
    image.save(sink, "PNG", compress_level=6)
    return sink.getvalue()
