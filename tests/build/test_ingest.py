"""What is stored for every kind of file a crawl brings. docs/contract.md, rules 3 and 4.

PYTHONPATH=. python -m pytest tests/build/test_ingest.py
"""

import io
import struct
import zlib

import cv2
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from onegen.build.assemble import column_job
from onegen.build.ingest import Ingest
from onegen.errors import SampleError
from onegen.pixels.codec import decode_image
from onegen.pixels.phash import phash
from onegen.sample import Annotation, Annotator, Item, Panel, Rejected, SourceImage
from tests.packaged import photo
from tests.pictures import decode, encode, jpeg, png, smooth
from tests.properties import PROPERTY

SMALL = smooth(1, 48, 32)


def ingest(data: bytes, source: SourceImage | None = None, **options: object) -> Annotation | Rejected:
    (answer,) = Ingest(**options).annotate([Item("0" * 64, None, source=source or SourceImage(data))])
    return answer


def stored(data: bytes, **options: object) -> tuple[str, bytes]:
    """Return extension and bytes of what is stored, after checking the facts about it."""
    answer = ingest(data, **options)
    assert isinstance(answer, Annotation)
    ((extension, kept),) = answer.parts.items()
    pixels = decode(kept)
    assert (answer.values["height"], answer.values["width"]) == pixels.shape[:2]
    with Image.open(io.BytesIO(kept)) as image:
        assert image.mode == "RGB"
        assert image.format == {"jpg": "JPEG", "png": "PNG", "webp": "WEBP"}[extension]
        assert image.getexif().get(0x0112, 1) not in range(2, 9)
    return extension, kept


def refused(data: bytes, **options: object) -> SampleError:
    with pytest.raises(SampleError) as caught:
        ingest(data, **options)
    return caught.value


def assert_close(found: np.ndarray, expected: np.ndarray) -> None:
    """Say that two pictures differ by no more than one pass through a JPEG of quality 95."""
    difference = np.abs(found.astype(int) - expected)
    assert difference.mean() < 3
    assert difference.max() < 20


def over_white(rgba: np.ndarray) -> np.ndarray:
    alpha = rgba[..., 3:].astype(float) / 255
    return rgba[..., :3] * alpha + 255 * (1 - alpha)


def test_is_an_annotator():
    assert isinstance(Ingest(), Annotator)
    assert Ingest.requires == ()


@pytest.mark.parametrize(
    ("extension", "data"),
    [
        ("jpg", jpeg(1)),
        ("jpg", jpeg(1, progressive=True, subsampling=2)),
        ("png", png(1)),
        ("png", encode(SMALL, "PNG", compress_level=0)),
        ("webp", encode(SMALL, "WEBP", quality=80)),
        ("webp", encode(SMALL, "WEBP", lossless=True)),
    ],
)
def test_an_upright_rgb_picture_keeps_its_bytes(extension, data):
    assert stored(data) == (extension, data)
    assert stored(data, max_side=48) == (extension, data)


@pytest.mark.parametrize("value", [0, 1, 9])
def test_an_orientation_that_says_nothing_keeps_the_bytes(value):
    data = jpeg(1, exif=_orientation(value))
    assert stored(data) == ("jpg", data)


def test_bytes_after_the_picture_are_kept_with_it():
    assert stored(jpeg(1) + b"trailing") == ("jpg", jpeg(1) + b"trailing")


def _orientation(value: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = value
    return exif


@pytest.mark.parametrize("orientation", range(2, 9))
@pytest.mark.parametrize(("format", "extension"), [("PNG", "png"), ("TIFF", "png"), ("WEBP", "png"), ("JPEG", "jpg")])
def test_orientation_is_applied_as_pillow_does(format, extension, orientation):
    options = {"lossless": True} if format == "WEBP" else {"quality": 95} if format == "JPEG" else {}
    data = encode(SMALL, format, exif=_orientation(orientation), **options)
    found, kept = stored(data)
    with Image.open(io.BytesIO(data)) as image:
        expected = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    assert found == extension
    assert decode(kept).shape == expected.shape == ((32, 48, 3) if orientation < 5 else (48, 32, 3))
    if extension == "png":
        np.testing.assert_array_equal(decode(kept), expected)
    else:
        assert_close(decode(kept), expected)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_orientation_of_16_bit_pictures_is_applied_once(format, orientation):
    deep = SMALL[..., 0].astype(np.uint16) * 257
    data = encode(Image.fromarray(deep), format, exif=_orientation(orientation))
    with Image.open(io.BytesIO(encode(SMALL[..., 0], "PNG", exif=_orientation(orientation)))) as shallow:
        expected = np.asarray(ImageOps.exif_transpose(shallow))
    extension, kept = stored(data)
    assert extension == "png"
    np.testing.assert_array_equal(decode(kept)[..., 0], expected)


def test_unreadable_exif_says_nothing():
    plain = png(1)
    body = b"eXIfnonsense"
    data = plain[:33] + struct.pack(">I", 8) + body + struct.pack(">I", zlib.crc32(body)) + plain[33:]
    answer = ingest(data)
    assert answer.parts == {"png": data}


def encode_deep(pixels: np.ndarray, format: str) -> bytes:
    """Return uint16 grey, RGB or RGBA as a 16-bit PNG or TIFF."""
    if pixels.ndim == 3:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_RGBA2BGRA if pixels.shape[2] == 4 else cv2.COLOR_RGB2BGR)
    ok, data = cv2.imencode(f".{format}", pixels)
    assert ok
    return data.tobytes()


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("format", ["png", "tiff"])
def test_16_bit_pixels_are_divided_by_257(channels, format):
    shape = (20, 30) if channels == 1 else (20, 30, channels)
    deep = np.random.default_rng(channels).integers(0, 65536, shape, dtype=np.uint16)
    if channels == 4:
        deep[..., 3] = 65535
    extension, kept = stored(encode_deep(deep, format))
    expected = np.rint(deep / 257).astype(np.uint8)
    expected = np.repeat(expected[..., None], 3, axis=2) if channels == 1 else expected[..., :3]
    assert extension == "png"
    np.testing.assert_array_equal(decode(kept), expected)


def test_16_bit_alpha_is_laid_over_white():
    deep = np.zeros((4, 4, 4), np.uint16)
    deep[..., 0], deep[..., 3] = 65535, 32768
    np.testing.assert_allclose(decode(stored(encode_deep(deep, "png"))[1])[0, 0], [255, 127, 127], atol=1)


def test_cmyk_is_stored_as_rgb_without_chroma_subsampling():
    data = encode(Image.fromarray(SMALL).convert("CMYK"), "JPEG", quality=95)
    extension, kept = stored(data)
    assert extension == "jpg"
    assert_close(decode(kept), decode(data))


@pytest.mark.parametrize("mode", ["L", "1", "P", "RGBA", "LA"])
def test_other_modes_of_lossless_files_are_stored_exactly(mode):
    image = Image.fromarray(SMALL).convert(mode)
    extension, kept = stored(encode(image, "PNG"))
    assert extension == "png"
    np.testing.assert_array_equal(decode(kept), np.asarray(image.convert("RGB")))


def test_grey_jpeg_is_stored_as_rgb_jpeg():
    extension, kept = stored(encode(SMALL[..., 0], "JPEG", quality=95))
    assert extension == "jpg"
    np.testing.assert_allclose(decode(kept)[..., 1].astype(int), SMALL[..., 0], atol=6)


def test_alpha_is_laid_over_white():
    rgba = np.dstack([SMALL, np.linspace(0, 255, 48, dtype=np.uint8)[None].repeat(32, 0)])
    extension, kept = stored(encode(rgba, "PNG"))
    assert extension == "png"
    np.testing.assert_allclose(decode(kept), over_white(rgba), atol=1)


def test_a_transparent_palette_colour_is_laid_over_white():
    image = Image.fromarray(np.array([[0, 1], [1, 2]], np.uint8), "P")
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    for format in ("PNG", "GIF"):
        _, kept = stored(encode(image, format, transparency=1))
        assert decode(kept).tolist() == [[[255, 0, 0], [255, 255, 255]], [[255, 255, 255], [0, 0, 255]]]


def test_a_transparent_rgb_colour_is_laid_over_white():
    data = encode(np.full((2, 3, 3), (1, 2, 3), np.uint8), "PNG", transparency=(1, 2, 3))
    assert (decode(stored(data)[1]) == 255).all()


@pytest.mark.parametrize("format", ["GIF", "WEBP", "TIFF", "PNG"])
def test_only_the_first_frame_is_kept(format):
    frames = [Image.new("RGB", (40, 30), colour) for colour in ("red", "lime", "blue")]
    options = {"lossless": True} if format == "WEBP" else {}
    data = encode(frames[0], format, save_all=True, append_images=frames[1:], **options)
    extension, kept = stored(data)
    assert extension == "png"
    assert np.unique(decode(kept).reshape(-1, 3), axis=0).tolist() == [[255, 0, 0]]


@pytest.mark.parametrize(("format", "extension"), [("BMP", "png"), ("TIFF", "png"), ("GIF", "png"), ("MPO", "jpg")])
def test_other_formats_become_png_where_lossless_and_jpeg_where_not(format, extension):
    assert stored(encode(SMALL, format))[0] == extension


@pytest.mark.parametrize("lossless", [True, False])
@pytest.mark.parametrize("extra", [{}, {"icc_profile": b"a profile " * 30}, {"exif": _orientation(1)}])
def test_webp_that_is_rewritten_knows_whether_it_was_lossless(lossless, extra):
    data = encode(SMALL, "WEBP", lossless=lossless, **extra)
    extension, kept = stored(data, max_side=24)
    assert extension == ("png" if lossless else "jpg")
    assert decode(kept).shape == (16, 24, 3)


def test_rewritten_jpegs_have_quality_95_and_full_chroma():
    _, kept = stored(jpeg(1, 80, 60), max_side=40)
    with Image.open(io.BytesIO(kept)) as image, Image.open(io.BytesIO(jpeg(1, quality=95))) as known:
        assert image.quantization == known.quantization
        assert [component[1:3] for component in image.layer] == [(1, 1)] * 3


FORMATS = ["jpg", "png", "webp"]


@pytest.mark.parametrize("wanted", FORMATS)
@pytest.mark.parametrize("given", FORMATS)
def test_one_format_for_all_gives_one_part_name(given, wanted):
    data = encode(SMALL, {"jpg": "JPEG", "png": "PNG", "webp": "WEBP"}[given])
    extension, kept = stored(data, format=wanted)
    assert extension == wanted
    assert (kept == data) == (given == wanted)
    if wanted != "jpg":
        assert np.array_equal(decode(kept), decode(data)), "nothing is lost a second time"
    assert_close(decode(kept), decode(data))


@pytest.mark.parametrize("wanted", FORMATS)
def test_what_is_rewritten_for_another_reason_has_the_format_too(wanted):
    turned = encode(SMALL, "JPEG", exif=_orientation(6))
    deep = encode_deep(np.full((8, 9), 1000, np.uint16), "png")
    inked = encode(Image.fromarray(SMALL).convert("CMYK"), "JPEG")
    for data in (turned, deep, inked, encode(SMALL, "BMP")):
        assert stored(data, format=wanted, max_side=40)[0] == wanted


def test_a_format_has_its_longest_side():
    long = encode(np.zeros((1, 16_384, 3), np.uint8), "PNG")
    error = refused(long, format="webp", max_side=None)
    assert (error.reason, "16384x1" in str(error)) == ("too_large_for_format", True)
    assert stored(long, format="png", max_side=None)[0] == "png"


def test_the_option_that_came_later_changes_no_fingerprint_of_before():
    options = [
        column_job("image", Ingest(format=name), "image").provenance.settings["options"] for name in ("keep", "jpg")
    ]
    assert "format" not in options[0]
    assert options[1] == {**options[0], "format": "jpg"}


def test_large_pictures_are_resized_with_lanczos():
    pixels = photo("chelsea.png")
    answer = ingest(encode(pixels, "PNG"), max_side=200)
    size = (200, round(pixels.shape[0] * 200 / pixels.shape[1]))
    expected = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS))
    np.testing.assert_array_equal(decode(answer.parts["png"]), expected)
    assert answer.values["phash"] == phash(expected)


def test_null_keeps_every_size():
    data = jpeg(1, 2000, 30)
    assert stored(data, max_side=None) == ("jpg", data)


@pytest.mark.parametrize(
    ("size", "expected"),
    [((1, 1), (1, 1)), ((3000, 1), (1024, 1)), ((1, 3000), (1, 1024)), ((5000, 2), (1024, 1))],
)
def test_odd_shapes_are_kept(size, expected):
    _, kept = stored(png(1, *size))
    assert decode(kept).shape[1::-1] == expected


def test_the_same_bytes_are_stored_every_time():
    for data in (jpeg(1, 2000, 900), encode(SMALL, "BMP"), encode(np.dstack([SMALL, SMALL[..., 0]]), "PNG")):
        assert stored(data) == stored(data)


def test_small_pictures_are_filtered_by_rule():
    answer = ingest(png(1, 64, 31), min_side=32)
    assert answer == Rejected("too_small", "64x31, image.min_side is 32")
    assert isinstance(ingest(png(1, 64, 32), min_side=32), Annotation)


def test_a_bomb_is_refused_on_its_header():
    header = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    idat = struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))
    error = refused(b"\x89PNG\r\n\x1a\n" + chunk + idat)
    assert error.reason == "too_many_pixels"
    assert "50000x50000" in str(error)
    assert refused(png(1, 11, 10), max_pixels=109).reason == "too_many_pixels"
    assert isinstance(ingest(png(1, 11, 10), max_pixels=110), Annotation)


def test_files_that_are_no_pictures_are_named_so():
    assert refused(b"").reason == "empty_file"
    error = refused(b"Not found: see https")
    assert error.reason == "not_an_image"
    assert "b'Not found: s'" in str(error)


DEEP = np.random.default_rng(0).integers(0, 65536, (64, 64, 3), dtype=np.uint16)
FILES = {
    "jpeg": jpeg(3, 200, 150),
    "progressive": jpeg(3, 200, 150, progressive=True),
    "png": encode(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8), "PNG"),
    "palette": encode(Image.fromarray(smooth(3, 120, 90)).convert("P"), "PNG"),
    "deep png": encode_deep(DEEP, "png"),
    "deep tiff": encode(Image.fromarray(DEEP[..., 0]), "TIFF"),
    "webp": encode(smooth(3, 200, 150), "WEBP"),
    "gif": encode(smooth(3, 200, 150), "GIF"),
    "bmp": encode(smooth(3, 60, 40), "BMP"),
    "tiff": encode(smooth(3, 60, 40), "TIFF"),
    "packed tiff": encode(smooth(3, 60, 40), "TIFF", compression="tiff_lzw"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_cut_in_half_fails(name):
    data = FILES[name]
    assert refused(data[: len(data) // 2]).reason in ("undecodable", "not_an_image")


def test_a_png_with_a_wrong_checksum_fails():
    data = bytearray(FILES["png"])
    data[-20] ^= 1
    assert refused(bytes(data)).reason == "undecodable"


def test_a_jpeg_that_libjpeg_warns_of_is_read_wherever_it_was_stored():
    data = jpeg(3)
    start = data.index(b"\xff\xdb")
    odd = data[:start] + b"\0\0\0" + data[start:]
    assert stored(odd) == ("jpg", odd)
    np.testing.assert_array_equal(decode_image(odd), decode(data))


@PROPERTY
@given(st.sampled_from(sorted(FILES)), st.data())
def test_damage_is_a_sample_error_or_a_picture(name, data):
    damaged = bytearray(FILES[name])
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    del damaged[data.draw(st.integers(1, len(damaged))) :]
    try:
        answer = ingest(bytes(damaged), max_pixels=1_000_000)
    except SampleError as error:
        assert error.reason in ("not_an_image", "undecodable", "too_many_pixels", "unsupported_pixels")  # noqa: PT017
    else:
        assert isinstance(answer, Annotation)
        ((_, kept),) = answer.parts.items()
        assert decode_image(kept).shape == (answer.values["height"], answer.values["width"], 3)


@pytest.mark.parametrize("kind", [np.float32, np.int32])
def test_pixels_of_32_bits_are_refused(kind):
    error = refused(encode(Image.fromarray(np.ones((8, 8), kind)), "TIFF"))
    assert error.reason == "unsupported_pixels"


def test_facts_of_the_source_come_first():
    said = SourceImage(png(1), "a cat", "CC0-1.0", None)
    values = ingest(b"", said, licence="all rights reserved", attribution="a crawl").values
    assert (values["caption"], values["licence"], values["attribution"]) == ("a cat", "CC0-1.0", "a crawl")


def test_answers_fit_the_fields_of_the_image_column():
    values = ingest(png(1)).values
    for name, value in values.items():
        assert pa.array([value], Ingest.provides.fields[name])[0].as_py() == value


def composite(margin: int = 4) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return two pictures side by side, each with a white margin, and the two."""
    inside = [smooth(seed, 40, 32) for seed in (1, 2)]
    framed = [np.pad(one, ((margin, margin), (margin, margin), (0, 0)), constant_values=255) for one in inside]
    return np.hstack(framed), inside


def panel(data: bytes, index: int, margin: int = 4, count: int = 2, **options: object) -> Annotation | Rejected:
    return ingest(data, SourceImage(data, panel=Panel(index, count, margin)), **options)


@pytest.mark.parametrize("index", [0, 1])
def test_a_panel_is_cut_out_to_the_pixel_and_stored_without_loss(index):
    whole, inside = composite()
    answer = panel(encode(whole, "PNG"), index)
    assert (answer.values["width"], answer.values["height"]) == (40, 32)
    np.testing.assert_array_equal(decode(answer.parts["png"]), inside[index])


def test_a_panel_of_a_jpeg_is_a_jpeg():
    whole, inside = composite()
    assert_close(decode(panel(encode(whole, "JPEG", quality=98, subsampling=0), 1).parts["jpg"]), inside[1])


def test_a_panel_is_cut_from_the_upright_picture():
    whole, inside = composite()
    turned = Image.fromarray(whole).transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6
    np.testing.assert_array_equal(decode(panel(encode(turned, "PNG", exif=exif), 0).parts["png"]), inside[0])


def test_a_panel_must_be_there_and_large_enough():
    whole, _ = composite()
    data = encode(whole, "PNG")
    with pytest.raises(SampleError, match="must hold 2 panels with margins of 20, got 96x40") as caught:
        panel(data, 0, margin=20)
    assert caught.value.reason == "no_panel"
    rejected = panel(data, 0, min_side=33)
    assert isinstance(rejected, Rejected)
    assert (rejected.reason, rejected.detail) == ("too_small", "40x32, image.min_side is 33")
    assert decode(panel(data, 1, max_side=20).parts["png"]).shape == (16, 20, 3)
    narrow = encode(smooth(1, 3, 50), "PNG")
    assert panel(narrow, 1, margin=0).values["width"] == 2, "parts of an odd width differ by a pixel"
