"""The image column: check, orient, resize and hash what a source read. DESIGN section 4, rules 3 and 4.

An upright 8-bit RGB JPEG, PNG or WebP within `max_side` keeps its original bytes. Anything else is rewritten once:
first frame, EXIF orientation applied, alpha over white, 16-bit divided by 257, LANCZOS to `max_side`; PNG where the
source was lossless, else JPEG of quality 95 without chroma subsampling.
"""

import io
import struct
import warnings
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from onegen.phash import phash
from onegen.sample import Annotation, Item, Provides, Rejected, Resources, SampleError, Weights
from onegen.shards.index import IMAGE_FIELDS
from onegen.text import storable

# Pillow's own limit warns at one size and raises at another; `max_pixels` is checked here, before anything is decoded.
Image.MAX_IMAGE_PIXELS = None

_BROKEN = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    OverflowError,
    EOFError,
    struct.error,
    zlib.error,
)
"""What Pillow's decoders raise for malformed bytes."""
_FORMATS = ("AVIF", "BMP", "DIB", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "QOI", "TGA", "TIFF", "WEBP")
"""What is opened. Pillow knows more: it would run Ghostscript on PostScript that calls itself photo.jpg."""
_EXTENSIONS = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp"}
_LOSSLESS = {"PNG", "BMP", "GIF", "TIFF", "PPM", "TGA"}
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_KEEPS_PROFILE = ("RGB", "RGBA", "P")
"""Modes whose colour profile still fits after the image became RGB; those of CMYK and grey do not."""
_ORIENTATION_TAG = 0x0112
_BITS_TAG = 258


@dataclass(frozen=True)
class Ingest:
    """Make the `image` column.

    `min_side` (pixels; smaller is filtered), `max_side` (pixels; larger is resized; None keeps), `max_pixels` (more
    fails on its header alone), `licence` and `attribution` where the source names none.
    """

    min_side: int = 1
    max_side: int | None = 1024
    max_pixels: int = 100_000_000
    licence: str | None = None
    attribution: str | None = None

    name: ClassVar[str] = "image"
    version: ClassVar[int] = 1
    tolerance: ClassVar[Mapping[str, float]] = {}
    requires: ClassVar[tuple[str, ...]] = ()
    provides: ClassVar[Provides] = Provides(fields=IMAGE_FIELDS)
    resources: ClassVar[Resources] = Resources()
    needs_pixels: ClassVar[bool] = False

    def weights(self) -> tuple[Weights, ...]:
        """Return nothing: ingest has no model."""
        return ()

    def load(self) -> None:
        """Silence Pillow's warnings of odd metadata: a crawl has thousands, and what matters of it fails by name."""
        warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")

    def annotate(self, items: Sequence[Item]) -> list[Annotation | Rejected]:
        """Return the stored image (part jpg, png or webp) and its facts, or Rejected `too_small`.

        Raises SampleError: empty_file, not_an_image, too_many_pixels, undecodable, unsupported_pixels.
        """
        return [self._one(item) for item in items]

    def _one(self, item: Item) -> Annotation | Rejected:
        source = item.source
        assert source is not None, "ingest is fed by a source"
        data = source.images[0]
        image = _open(data)
        width, height = image.size
        if width * height > self.max_pixels:
            raise SampleError(
                "too_many_pixels",
                f"image must have at most {self.max_pixels:,} pixels, got {width}x{height}. "
                f"Raise image.max_pixels to take it.",
            )
        if min(width, height) < self.min_side:
            return Rejected("too_small", f"{width}x{height}, image.min_side is {self.min_side}")
        extension, stored, pixels = self._store(image, data)
        return Annotation(
            values={
                "width": pixels.shape[1],
                "height": pixels.shape[0],
                "phash": phash(pixels),
                "caption": _text(source.caption),
                "licence": _text(source.licence or self.licence),
                "attribution": _text(source.attribution or self.attribution),
            },
            parts={extension: stored},
        )

    def _store(self, image: Image.Image, data: bytes) -> tuple[str, bytes, np.ndarray]:
        """Return extension, bytes and RGB pixels of what is stored."""
        format_ = str(image.format)
        fits = self.max_side is None or max(image.size) <= self.max_side
        try:
            deep = _is_16_bit(image, data)
            # Counting frames reads the file, and fails like decoding where it is damaged.
            is_single = getattr(image, "n_frames", 1) == 1
            # Before the orientation: asking a PNG for its EXIF decodes it too, and what breaks is reported only once.
            image.load()
            orientation = _orientation(image)
            # After decoding: a PNG may name its transparent colour behind the picture.
            plain = image.mode == "RGB" and "transparency" not in image.info and is_single
            if format_ in _EXTENSIONS and plain and fits and orientation == 1 and not deep:
                return _EXTENSIONS[format_], data, np.asarray(image)
            upright = _to_rgb(_from_16_bit(data) if deep else image)
            if orientation in _UPRIGHT:
                upright = upright.transpose(_UPRIGHT[orientation])
        except _BROKEN as error:
            raise SampleError("undecodable", f"{format_} must decode whole: {error}.") from error
        if self.max_side is not None and max(upright.size) > self.max_side:
            scale = self.max_side / max(upright.size)
            size = (max(1, round(upright.width * scale)), max(1, round(upright.height * scale)))
            upright = upright.resize(size, Image.Resampling.LANCZOS)
        lossless = format_ in _LOSSLESS or (format_ == "WEBP" and _is_lossless_webp(data))
        profile = image.info.get("icc_profile") if image.mode in _KEEPS_PROFILE and not deep else None
        return *_encode(upright, lossless, profile), np.asarray(upright)


def _text(said: str | None) -> str | None:
    return storable(said) if said is not None else None


def _open(data: bytes) -> Image.Image:
    if not data:
        raise SampleError("empty_file", "image file must hold bytes, got 0.")
    try:
        return Image.open(io.BytesIO(data), formats=_FORMATS)
    except UnidentifiedImageError:
        raise SampleError(
            "not_an_image", f"file must be one of {', '.join(_FORMATS)}, it begins with {data[:12]!r}."
        ) from None
    except _BROKEN as error:
        raise SampleError("undecodable", f"image header must be readable: {error}.") from error


def _orientation(image: Image.Image) -> int:
    """Return what is left to do after decoding: a key of `_UPRIGHT`, else 1."""
    if image.format == "TIFF":
        # Both decoders turn a TIFF upright themselves.
        return 1
    try:
        orientation = int(image.getexif().get(_ORIENTATION_TAG, 1))
    except _BROKEN:
        # Unreadable EXIF says nothing about the pixels; viewers show such a file as it lies.
        return 1
    return orientation if orientation in _UPRIGHT else 1


def _is_lossless_webp(data: bytes) -> bool:
    """Say whether the first frame is lossless; profiles and animation headers of any size may stand before it."""
    offset = 12
    while offset + 8 <= len(data):
        kind, size = data[offset : offset + 4], int.from_bytes(data[offset + 4 : offset + 8], "little")
        if kind in (b"VP8 ", b"VP8L"):
            return kind == b"VP8L"
        # A frame's own chunks follow its 16 bytes of place and duration.
        offset += 8 + (16 if kind == b"ANMF" else size + size % 2)
    return False


def _is_16_bit(image: Image.Image, data: bytes) -> bool:
    if image.format == "PNG":
        if data[12:16] != b"IHDR":
            raise ValueError("IHDR must be the first chunk")
        return data[24] == 16
    if image.format == "TIFF":
        bits = image.tag_v2.get(_BITS_TAG, 8)  # type: ignore[attr-defined]
        return (bits[0] if isinstance(bits, tuple) else bits) == 16
    return False


def _from_16_bit(data: bytes) -> Image.Image:
    """Decode 16-bit grey, RGB or RGBA to 8 bits by dividing by 257; Pillow would cut the low byte off."""
    deep = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if deep is None or deep.dtype != np.uint16:
        raise ValueError("16-bit pixels could not be read")
    shallow = ((deep.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if shallow.ndim == 2:
        return Image.fromarray(shallow, "L")
    order = cv2.COLOR_BGRA2RGBA if shallow.shape[2] == 4 else cv2.COLOR_BGR2RGB
    return Image.fromarray(cv2.cvtColor(shallow, order))


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F" or image.mode.startswith("I"):
        raise SampleError(
            "unsupported_pixels", f"pixels must have 8 or 16 bits, got mode {image.mode}. Convert the file first."
        )
    if "transparency" in image.info or image.mode in ("RGBA", "LA", "PA", "RGBa", "La"):
        layer = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return image.convert("RGB")


def _encode(image: Image.Image, lossless: bool, profile: bytes | None) -> tuple[str, bytes]:
    """Return extension and bytes; `profile` is the ICC profile the pixels are in, None for sRGB."""
    sink = io.BytesIO()
    if lossless:
        image.save(sink, "PNG", compress_level=6, icc_profile=profile)
        return "png", sink.getvalue()
    image.save(sink, "JPEG", quality=95, subsampling=0, icc_profile=profile)
    return "jpg", sink.getvalue()
