"""PYTHONPATH=. python -m pytest tests/pixels/test_codec.py"""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from onegen.errors import SampleError
from onegen.pixels.codec import decode_image, decode_part, encode_part
from tests.packaged import photo
from tests.pictures import decode, encode, jpeg, png, smooth
from tests.properties import PROPERTY

SHAPES = st.tuples(st.integers(1, 40), st.integers(1, 40))


@PROPERTY
@given(SHAPES.flatmap(lambda shape: arrays(np.uint8, shape)), st.sampled_from(["gray8", "index"]))
def test_8_bit_maps_come_back_as_they_were(value, encoding):
    np.testing.assert_array_equal(decode_part(encode_part(value, encoding), encoding), value)


@PROPERTY
@given(SHAPES.flatmap(lambda shape: arrays(np.uint16, shape)))
def test_16_bit_maps_come_back_as_they_were(value):
    decoded = decode_part(encode_part(value, "gray16"), "gray16")
    assert decoded.dtype == np.uint16
    np.testing.assert_array_equal(decoded, value)


def test_bytes_stay_bytes():
    assert decode_part(encode_part(b"\0any", "bytes"), "bytes") == b"\0any"


def test_maps_are_png_that_pillow_reads_too():
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    for encoding, mode in (("gray8", "L"), ("index", "P")):
        with Image.open(io.BytesIO(encode_part(grey, encoding))) as image:
            assert (image.format, image.mode) == ("PNG", mode)
            np.testing.assert_array_equal(np.asarray(image), grey)
    with Image.open(io.BytesIO(encode_part(grey.astype(np.uint16) * 257, "gray16"))) as image:
        np.testing.assert_array_equal(np.asarray(image), grey.astype(np.uint16) * 257)


def test_a_viewer_tells_neighbouring_indices_apart():
    colours = decode(encode_part(np.arange(16, dtype=np.uint8)[None], "index"))[0].astype(int)
    assert colours[0].tolist() == [0, 0, 0]
    for i in range(16):
        for j in range(i):
            assert np.abs(colours[i] - colours[j]).max() > 20


@pytest.mark.parametrize(
    ("value", "encoding", "got"),
    [
        (np.zeros((2, 2), np.uint16), "gray8", "uint16 (2, 2)"),
        (np.zeros((2, 2), np.uint8), "gray16", "uint8 (2, 2)"),
        (np.zeros((2, 2, 3), np.uint8), "gray8", "uint8 (2, 2, 3)"),
        (np.zeros((2, 2), np.float32), "index", "float32 (2, 2)"),
        (b"png", "gray8", "bytes"),
        (np.zeros((2, 2), np.uint8), "bytes", "ndarray"),
        (np.zeros((0, 4), np.uint8), "gray8", "(0, 4)"),
        (np.zeros((0, 4), np.uint8), "index", "(0, 4)"),
    ],
)
def test_an_array_that_does_not_fit_its_encoding_is_refused(value, encoding, got):
    with pytest.raises(SampleError, match="must be") as caught:
        encode_part(value, encoding)
    assert caught.value.reason == "bad_annotation"
    assert got in str(caught.value)


@pytest.mark.parametrize("options", [{}, {"subsampling": 0}, {"subsampling": 2}, {"progressive": True}])
@pytest.mark.parametrize("size", [(64, 48), (63, 47), (1, 1), (17, 300)])
def test_jpeg_pixels_equal_pillows(options, size):
    data = jpeg(5, *size, **options)
    np.testing.assert_array_equal(decode_image(data), decode(data))


def test_a_photo_equals_pillows():
    data = encode(photo("coffee.png"), "JPEG", quality=80)
    np.testing.assert_array_equal(decode_image(data), decode(data))


def test_png_and_webp_are_read_too():
    np.testing.assert_array_equal(decode_image(png(5)), smooth(5))
    np.testing.assert_array_equal(decode_image(encode(smooth(5), "WEBP", lossless=True)), smooth(5))


@pytest.mark.parametrize("data", [b"", b"text", jpeg(5)[:100], png(5)[:60], b"\xff\xd8nothing"])
def test_bytes_that_no_longer_decode_name_the_way_out(data):
    with pytest.raises(SampleError, match="onegen verify") as caught:
        decode_image(data)
    assert caught.value.reason == "unreadable_image"
