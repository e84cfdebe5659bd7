"""Any picture to upright 8-bit RGB, in one way: what ingest stores, what the sampler sees, what `onegen show` draws.

First frame, EXIF orientation applied, alpha over white, 16 bits divided by 257, CMYK and grey through their profile.
docs/contract.md, rule 4.
"""

import io
import struct
import warnings
import zlib
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image, PngImagePlugin, UnidentifiedImageError

from onegen.errors import SampleError
from onegen.pixels.colour import to_srgb
from onegen.sample import Panel

# Pillow's own limit warns at one size and raises at another; `max_pixels` is checked here, before anything is decoded.
Image.MAX_IMAGE_PIXELS = None
# A sound PNG may carry a workflow or a prompt of some megabytes, which Pillow takes for an attack from 1 MB on.
PngImagePlugin.MAX_TEXT_CHUNK = 1 << 24

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
SUFFIXES = (
    ".avif", ".bmp", ".dib", ".gif", ".j2c", ".j2k", ".jfif", ".jp2", ".jpc", ".jpe", ".jpeg", ".jpf", ".jpg", ".jpx",
    ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".qoi", ".tga", ".tif", ".tiff", ".webp",
)  # fmt: skip
"""How the names of such files end, in lower case."""
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
"""Modes whose colour profile still fits after the image became RGB; CMYK and grey are converted through theirs."""
_PNG_END = b"IEND\xae\x42\x60\x82"
"""The last chunk of a PNG: what lacks it is read by Pillow and by few others."""
_ORIENTATION_TAG = 0x0112
_WIDTH_TAG, _HEIGHT_TAG = 256, 257
_BITS_TAG = 258


@dataclass(frozen=True, slots=True)
class Upright:
    """A whole image, upright RGB, and how it was stored.

    `is_plain` says that the original bytes are just that, so that a reader who knows nothing of orientation, alpha or
    frames sees the same; `profile` is the ICC profile that came with RGB pixels, which are still in it.
    """

    image: Image.Image
    is_plain: bool
    is_lossless: bool
    profile: bytes | None = None


def silence_odd_metadata() -> None:
    """Silence Pillow's warnings of odd metadata: a crawl has thousands, and what matters of it fails by name."""
    warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")


def open_header(data: bytes) -> Image.Image:
    """Return the image with nothing but its header read; raises SampleError empty_file, not_an_image, undecodable."""
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


def decode(image: Image.Image, data: bytes) -> Upright:
    """Return what `open_header` opened, decoded whole; raises SampleError undecodable or unsupported_pixels."""
    format_ = str(image.format)
    try:
        deep = _is_16_bit(image, data)
        # Counting frames reads the file, and fails like decoding where it is damaged.
        is_single = getattr(image, "n_frames", 1) == 1
        # Before the orientation: asking a PNG for its EXIF decodes it too, and what breaks is reported only once.
        image.load()
        orientation = _orientation(image)
        # After decoding: a PNG may name its transparent colour behind the picture.
        is_rgb = image.mode == "RGB" and "transparency" not in image.info and not deep
        if not deep and image.mode.startswith("I"):
            # 12 bits of a TIFF look like 16 to Pillow; what the file's header does not call 16 is not scaled as such.
            raise _unsupported(image.mode)
        profile = image.info.get("icc_profile")
        upright = image if is_rgb else _to_rgb_through(profile, _read_16_bit(data) if deep else image)
        if orientation in _UPRIGHT:
            upright = upright.transpose(_UPRIGHT[orientation])
    except _BROKEN as error:
        raise SampleError("undecodable", f"{format_} must decode whole: {error}.") from error
    return Upright(
        upright,
        is_plain=is_rgb and is_single and orientation == 1 and (format_ != "PNG" or _PNG_END in data),
        is_lossless=format_ in _LOSSLESS or (format_ == "WEBP" and _is_lossless_webp(data)),
        profile=profile if image.mode in _KEEPS_PROFILE else None,
    )


def decoded_as_stored(image: Image.Image) -> np.ndarray:
    """Return the numbers of what `open_header` opened as its file holds them: not turned, not made RGB, palettes kept.

    Raises SampleError undecodable.
    """
    try:
        image.load()
        return np.asarray(image)
    except _BROKEN as error:
        raise SampleError("undecodable", f"{image.format} must decode whole: {error}.") from error


def in_srgb(upright: Upright) -> Upright:
    """Return a picture whose RGB profile is another than sRGB in sRGB, without it; any other as it is."""
    converted = to_srgb(upright.image, upright.profile) if upright.profile else None
    return Upright(converted, False, upright.is_lossless) if converted is not None else upright


def _to_rgb_through(profile: bytes | None, picture: Image.Image | np.ndarray) -> Image.Image:
    """Return a picture as RGB, through its profile where that is of CMYK or of grey."""
    if profile and isinstance(picture, Image.Image) and picture.mode == "CMYK":
        return to_srgb(picture, profile) or to_rgb(picture)
    rgb = to_rgb(picture)
    is_grey = picture.ndim == 2 if isinstance(picture, np.ndarray) else picture.mode in ("L", "LA", "1")
    return (to_srgb(rgb.convert("L"), profile) or rgb) if profile and is_grey else rgb


def to_rgb(picture: Image.Image | np.ndarray) -> Image.Image:
    """Return a picture of any kind as 8-bit RGB.

    Takes PIL images of any mode, and arrays of grey (H,W), RGB (H,W,3) or RGBA (H,W,4) in uint8 or uint16. 16 bits are
    divided by 257 and rounded, so that 0 and 65,535 become 0 and 255; grey is repeated, palettes are looked up, CMYK is
    converted without its profile; alpha, and a colour named as transparent, lies over white. Raises SampleError
    `unsupported_pixels` for integers and floats of 32 bits, whose range nothing tells.
    """
    if isinstance(picture, Image.Image) and picture.mode.startswith("I;16"):
        picture = np.asarray(picture)
    image = Image.fromarray(_to_8_bit(picture)) if isinstance(picture, np.ndarray) else picture
    if image.mode == "F" or image.mode.startswith("I"):
        raise _unsupported(image.mode)
    if "transparency" in image.info or image.mode in ("RGBA", "LA", "PA", "RGBa", "La"):
        layer = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return image.convert("RGB")


def _to_8_bit(pixels: np.ndarray) -> np.ndarray:
    is_deep = pixels.dtype.kind == "u" and pixels.dtype.itemsize == 2
    return ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8) if is_deep else pixels


def _unsupported(mode: str) -> SampleError:
    return SampleError("unsupported_pixels", f"pixels must have 8 or 16 bits, got mode {mode}. Convert the file first.")


def cut(whole: Upright, panel: Panel) -> Upright:
    """Return one panel of a picture that holds several; raises SampleError no_panel where it does not lie inside."""
    width, height = whole.image.size
    box = panel.box or _share(panel, width, height)
    if not (0 <= box[0] < box[2] <= width and 0 <= box[1] < box[3] <= height):
        what = f"the panel {list(box)}" if panel.box else f"{panel.count} panels with margins of {panel.margin}"
        raise SampleError("no_panel", f"image must hold {what}, got {width}x{height}.")
    return Upright(whole.image.crop(box), False, whole.is_lossless, whole.profile)


def _share(panel: Panel, width: int, height: int) -> tuple[int, int, int, int]:
    """Return the box of a panel that is an equal part of a picture, without its margin."""
    left, right = width * panel.index // panel.count, width * (panel.index + 1) // panel.count
    return left + panel.margin, panel.margin, right - panel.margin, height - panel.margin


def orientation_of(image: Image.Image) -> tuple[tuple[int, int], int]:
    """Return (height, width) of what `open_header` opened as its file holds it, and the EXIF number that turns it."""
    if image.format == "TIFF":
        tags = image.tag_v2  # type: ignore[attr-defined]
        number = tags.get(_ORIENTATION_TAG, 1)
        return (int(tags[_HEIGHT_TAG]), int(tags[_WIDTH_TAG])), number if number in _UPRIGHT else 1
    return (image.height, image.width), _orientation(image)


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


def _read_16_bit(data: bytes) -> np.ndarray:
    """Return 16-bit grey (H,W), RGB (H,W,3) or RGBA (H,W,4) of a file as uint16; Pillow would cut the low byte off."""
    deep = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if deep is None or deep.dtype != np.uint16:
        raise ValueError("16-bit pixels could not be read")
    if deep.ndim == 2:
        return deep
    return cv2.cvtColor(deep, cv2.COLOR_BGRA2RGBA if deep.shape[2] == 4 else cv2.COLOR_BGR2RGB)
