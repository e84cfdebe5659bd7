"""Malformed and odd image files, seeded: whole ones of every kind a crawl brings, and mutations of them.

`python -m tests.hostile FOLDER [COUNT]` writes them as files, to look at one that a test names.
"""

import struct
import sys
import zlib
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from tests.pictures import encode, smooth

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF")
WIDE, HIGH = 61, 43
_EXTREMES = (0, 1, 2, 0x7F, 0x80, 0xFE, 0xFF)
_NUMBERS = (0, 1, 0xFF, 0x7FFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


@cache
def whole() -> dict[str, bytes]:
    """Return sound files of every kind by name; the part before `_` is the format."""
    rgb = Image.fromarray(smooth(5, WIDE, HIGH))
    grey, alpha = rgb.convert("L"), rgb.convert("RGBA")
    alpha.putalpha(Image.fromarray(smooth(6, WIDE, HIGH)[..., 0]))
    palette = rgb.quantize(40)
    frames = [Image.fromarray(smooth(seed, WIDE, HIGH)) for seed in (7, 8, 9)]
    moving = {"save_all": True, "append_images": frames[1:], "duration": 40}
    deep = np.random.default_rng(1).integers(0, 65536, (HIGH, WIDE, 3), dtype=np.uint16)
    found = {
        "JPEG_plain": encode(rgb, "JPEG", quality=80),
        "JPEG_progressive": encode(rgb, "JPEG", progressive=True, subsampling=2),
        "JPEG_grey": encode(grey, "JPEG"),
        "JPEG_cmyk": encode(rgb.convert("CMYK"), "JPEG"),
        "JPEG_restarts": encode(rgb, "JPEG", restart_marker_blocks=2),
        "JPEG_optimised": encode(rgb, "JPEG", optimize=True, subsampling=0, dpi=(72, 72), comment=b"said"),
        "PNG_plain": encode(rgb, "PNG"),
        "PNG_grey": encode(grey, "PNG"),
        "PNG_bits": encode(grey.convert("1"), "PNG"),
        "PNG_alpha": encode(alpha, "PNG"),
        "PNG_grey_alpha": encode(alpha.convert("LA"), "PNG"),
        "PNG_palette": encode(palette, "PNG"),
        "PNG_palette_alpha": encode(palette, "PNG", transparency=bytes(range(0, 200, 5))),
        "PNG_transparent_colour": encode(rgb, "PNG", transparency=rgb.getpixel((3, 3))),
        "PNG_16_grey": bytes(cv2.imencode(".png", deep[..., 0])[1].tobytes()),
        "PNG_16_rgb": bytes(cv2.imencode(".png", deep)[1].tobytes()),
        "PNG_moving": encode(frames[0], "PNG", **moving),
        "WEBP_lossy": encode(rgb, "WEBP", quality=70),
        "WEBP_lossless": encode(rgb, "WEBP", lossless=True),
        "WEBP_alpha": encode(alpha, "WEBP", quality=70),
        "WEBP_lossless_alpha": encode(alpha, "WEBP", lossless=True),
        "WEBP_moving": encode(frames[0], "WEBP", **moving),
        "GIF_plain": encode(palette, "GIF"),
        "GIF_transparent": encode(palette, "GIF", transparency=3),
        "GIF_moving": encode(frames[0], "GIF", **moving),
        "TIFF_plain": encode(rgb, "TIFF"),
        "TIFF_lzw": encode(rgb, "TIFF", compression="tiff_lzw"),
        "TIFF_deflate": encode(alpha, "TIFF", compression="tiff_adobe_deflate"),
        "TIFF_jpeg": encode(rgb, "TIFF", compression="jpeg"),
        "TIFF_fax": encode(grey.convert("1"), "TIFF", compression="group4"),
        "TIFF_cmyk": encode(rgb.convert("CMYK"), "TIFF"),
        "TIFF_palette": encode(palette, "TIFF"),
        "TIFF_16_grey": bytes(cv2.imencode(".tiff", deep[..., 0])[1].tobytes()),
        "TIFF_16_rgb": bytes(cv2.imencode(".tiff", deep)[1].tobytes()),
        "TIFF_pages": encode(frames[0], "TIFF", save_all=True, append_images=frames[1:]),
        "TIFF_big": encode(rgb, "TIFF", big_tiff=True),
    }
    for format in ("JPEG", "PNG", "WEBP", "TIFF"):
        for orientation in range(1, 9):
            exif = Image.Exif()
            exif[0x0112] = orientation
            lossless = {"lossless": True} if format == "WEBP" else {}
            found[f"{format}_turned_{orientation}"] = encode(rgb, format, exif=exif, **lossless)
    for width, height in ((1, 1), (1, 3000), (3000, 1), (2, 1)):
        for format in FORMATS:
            found[f"{format}_of_{width}x{height}"] = encode(smooth(4, width, height), format)
    return found


@cache
def bombs() -> dict[str, bytes]:
    """Return small files that ask for much: too many pixels, frames, tags or bytes of text."""
    flat = Image.new("L", (5000, 4000))
    plain = whole()
    jpeg, gif, webp = bytearray(plain["JPEG_plain"]), bytearray(plain["GIF_plain"]), bytearray(plain["WEBP_lossless"])
    start = jpeg.index(b"\xff\xc0")
    jpeg[start + 5 : start + 9] = b"\xff\xff\xff\xff"
    gif[6:10] = b"\xff\xff\xff\xff"
    webp[21:25] = b"\xff\xff\xff\x0f"
    tiff = bytearray(plain["TIFF_plain"])
    (ifd,) = struct.unpack_from("<I", tiff, 4)
    (count,) = struct.unpack_from("<H", tiff, ifd)
    round_trip = bytearray(tiff)
    struct.pack_into("<I", round_trip, ifd + 2 + 12 * count, ifd)
    for entry in range(count):
        if struct.unpack_from("<H", tiff, ifd + 2 + 12 * entry)[0] in (256, 257):
            struct.pack_into("<HII", tiff, ifd + 2 + 12 * entry + 2, 4, 1, 1_000_000)
    zeros = zlib.compress(bytes(30_000_000))
    ticks = [Image.new("P", (1, 1), index % 2) for index in range(2000)]
    return {
        "PNG_pixels": png_file(50_000, 50_000),
        "PNG_pixels_flat": encode(flat, "PNG"),
        "JPEG_pixels": bytes(jpeg),
        "JPEG_pixels_flat": encode(flat, "JPEG"),
        "GIF_pixels": bytes(gif),
        "WEBP_pixels": bytes(webp),
        "TIFF_pixels": bytes(tiff),
        "PNG_text": png_file(8, 8, (b"zTXt", b"Comment\0\0" + zeros)),
        "PNG_profile": png_file(8, 8, (b"iCCP", b"icc\0\0" + zeros)),
        "PNG_too_much_data": png_file(8, 8, data=zeros),
        "PNG_many_chunks": png_file(8, 8, *[(b"tEXt", b"k\0v")] * 50_000),
        "PNG_of_no_width": png_file(0, 8),
        "GIF_many_frames": encode(ticks[0], "GIF", save_all=True, append_images=ticks[1:]),
        "TIFF_that_goes_round": bytes(round_trip),
        "JPEG_many_markers": jpeg_with(plain["JPEG_plain"], b"\xff\xe1\x00\x08Exif\0\0" * 20_000),
        "JPEG_deep_exif": jpeg_with(
            plain["JPEG_plain"], b"\xff\xe1\x00\x16Exif\0\0MM\0*\0\0\0\x08\xff\xff\x01\x12\0\x03"
        ),
    }


def no_images() -> dict[str, bytes]:
    """Return files that are no pictures, or none that may be opened."""
    return {
        "text": b"no picture",
        "empty": b"",
        "html": b"<!doctype html><html><body>404</body></html>",
        "svg": b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>',
        "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 60 40\n%%EndComments\n0 0 moveto showpage\n",
        "pdf": b"%PDF-1.4\n%\xe2\xe3\n1 0 obj<<>>endobj\ntrailer<<>>\n%%EOF",
        "zeros": bytes(5000),
        "signature": b"\x89PNG\r\n\x1a\n",
    }


def mutations(count: int, seed: int = 0) -> Iterator[tuple[str, bytes]]:
    """Yield (name, bytes): every sound file in turn, changed in one or two ways."""
    sound = list(whole().items())
    ways: list[Callable[[np.random.Generator, bytes], bytes]] = [
        flip_bits, truncate, splice, change_header, change_structure, change_structure,
    ]  # fmt: skip
    for number in range(count):
        rng = np.random.default_rng([seed, number])
        name, data = sound[number % len(sound)]
        for _ in range(rng.integers(1, 3)):
            data = ways[rng.integers(len(ways))](rng, data)
        yield f"{name}_{seed}_{number:05d}", data


def flip_bits(rng: np.random.Generator, data: bytes) -> bytes:
    """Flip up to 12 bits anywhere."""
    changed = bytearray(data)
    for _ in range(rng.integers(1, 13) if changed else 0):
        changed[rng.integers(len(changed))] ^= 1 << rng.integers(8)
    return bytes(changed)


def truncate(rng: np.random.Generator, data: bytes) -> bytes:
    """Cut the end off, or the beginning."""
    at = int(rng.integers(len(data) + 1))
    return data[:at] if rng.random() < 0.9 else data[at:]


def splice(rng: np.random.Generator, data: bytes) -> bytes:
    """Take a piece out, repeat it, put noise in its place, or go on as another file does."""
    first, last = sorted(int(at) for at in rng.integers(len(data) + 1, size=2))
    last = min(last, first + 400)
    middle = [
        b"",
        data[first:last] * 3,
        rng.integers(0, 256, last - first, dtype=np.uint8).tobytes(),
        bytes(last - first),
    ][rng.integers(4)]
    if rng.random() < 0.2:
        _, other = list(whole().items())[rng.integers(len(whole()))]
        return data[:first] + other[first:]
    return data[:first] + middle + data[last:]


def change_header(rng: np.random.Generator, data: bytes) -> bytes:
    """Put extreme values into the bytes after the signature."""
    changed = bytearray(data)
    for _ in range(rng.integers(1, 4) if len(changed) > 8 else 0):
        changed[rng.integers(4, min(128, len(changed)))] = _EXTREMES[rng.integers(len(_EXTREMES))]
    return bytes(changed)


def change_structure(rng: np.random.Generator, data: bytes) -> bytes:
    """Change a length, type or field where the format keeps one, with checksums that agree."""
    if data.startswith(b"\x89PNG"):
        return _change_png(rng, data)
    if data[:4] == b"RIFF":
        return _put(rng, data, [at + 4 for at in _riff_chunks(data)], "<I")
    if data[:2] == b"\xff\xd8":
        return _put(rng, data, _jpeg_lengths(data), ">H")
    if data[:4] in (b"II*\0", b"MM\0*"):
        return _change_tiff(rng, data)
    return _put(rng, data, [6, 8, 10, 13], "<H")


def png_file(width: int, height: int, *chunks: tuple[bytes, bytes], data: bytes | None = None) -> bytes:
    """Return an RGB PNG; `data` is its compressed picture, that of a black one unless said."""
    if data is None:
        data = zlib.compress(bytes(min(height, 8) * (1 + 3 * min(width, 8))))
    header = (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + b"".join(map(_png_chunk, [header, *chunks, (b"IDAT", data), (b"IEND", b"")]))


def jpeg_with(data: bytes, segments: bytes) -> bytes:
    """Return a JPEG with more segments after its first two bytes."""
    return data[:2] + segments + data[2:]


def _png_chunk(chunk: tuple[bytes, bytes]) -> bytes:
    kind, data = chunk
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _change_png(rng: np.random.Generator, data: bytes) -> bytes:
    chunks = _png_chunks(data)
    if not chunks:
        return data
    at = int(rng.integers(len(chunks)))
    kind, held = chunks[at]
    match rng.integers(6):
        case 0:
            chunks.insert(int(rng.integers(len(chunks))), chunks[at])
        case 1:
            del chunks[at]
        case 2:
            chunks[at] = (rng.integers(65, 123, 4, dtype=np.uint8).tobytes(), held)
        case 3:
            chunks[at] = (kind, truncate(rng, held))
        case _:
            changed = bytearray(held)
            if changed:
                changed[rng.integers(min(len(changed), 40))] = _EXTREMES[rng.integers(len(_EXTREMES))]
            chunks[at] = (kind, bytes(changed))
    return data[:8] + b"".join(map(_png_chunk, chunks))


def _png_chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    chunks, at = [], 8
    while at + 8 <= len(data):
        (size,) = struct.unpack_from(">I", data, at)
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + size]))
        at += 12 + size
    return chunks


def _riff_chunks(data: bytes) -> list[int]:
    places, at = [0], 12
    while at + 8 <= len(data):
        places.append(at)
        at += 8 + (16 if data[at : at + 4] == b"ANMF" else struct.unpack_from("<I", data, at + 4)[0] + 1 & ~1)
    return places


def _jpeg_lengths(data: bytes) -> list[int]:
    places, at = [], 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xDA:
        # A length, and inside a frame header the size and number of components.
        places += [at + 2, *([at + 5, at + 7] if data[at + 1] in (0xC0, 0xC2) else [])]
        at += 2 + struct.unpack_from(">H", data, at + 2)[0]
    return places or [2]


def _change_tiff(rng: np.random.Generator, data: bytes) -> bytes:
    """Change tag, type, count or value of an entry of the first directory, its size, or the link to the next."""
    order = "<" if data[:2] == b"II" else ">"
    if len(data) < 8:
        return data
    (ifd,) = struct.unpack_from(f"{order}I", data, 4)
    if ifd + 2 > len(data):
        return _put(rng, data, [4], f"{order}I")
    (count,) = struct.unpack_from(f"{order}H", data, ifd)
    entry = ifd + 2 + 12 * int(rng.integers(max(1, count)))
    if rng.random() < 0.4:
        return _put(rng, data, [ifd, entry, entry + 2], f"{order}H")
    return _put(rng, data, [4, entry + 4, entry + 8, ifd + 2 + 12 * count], f"{order}I")


def _put(rng: np.random.Generator, data: bytes, places: list[int], form: str) -> bytes:
    """Put an extreme or a small random number at one of some places."""
    changed = bytearray(data)
    at = places[rng.integers(len(places))]
    size = struct.calcsize(form)
    value = _NUMBERS[rng.integers(len(_NUMBERS))] if rng.random() < 0.6 else int(rng.integers(2000))
    if at + size <= len(changed):
        struct.pack_into(form, changed, at, value & ((1 << 8 * size) - 1))
    return bytes(changed)


def main() -> None:
    """Write the files into a folder."""
    folder, count = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in [*whole().items(), *bombs().items(), *no_images().items(), *mutations(count)]:
        (folder / f"{name}.jpg").write_bytes(data)


if __name__ == "__main__":
    main()
