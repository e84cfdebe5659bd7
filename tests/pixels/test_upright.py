"""Any picture to RGB: one answer for each kind of pixel, whoever asks.

PYTHONPATH=. python -m pytest tests/pixels/test_upright.py
"""

import io

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms

from onegen.audit.show import _look
from onegen.build.ingest import Ingest
from onegen.errors import SampleError
from onegen.pixels.upright import decode, open_header, to_rgb
from onegen.sample import Annotation, Item, SourceImage
from tests.pictures import encode, smooth

PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
EVERY_16_BITS = np.arange(65536, dtype=np.uint16).reshape(256, 256)
ROUNDED = np.rint(EVERY_16_BITS / 257).astype(np.uint8)
"""Dividing by 257 meets no tie: no 16-bit value lies half way between two of 8 bits."""


def pixels_of(picture):
    image = to_rgb(picture)
    assert image.mode == "RGB"
    return np.asarray(image)


def test_16_bits_are_rounded_to_the_nearest_of_8():
    for picture in (EVERY_16_BITS, EVERY_16_BITS.astype(">u2"), Image.fromarray(EVERY_16_BITS)):
        np.testing.assert_array_equal(pixels_of(picture), np.repeat(ROUNDED[..., None], 3, axis=2))
    colours = np.stack([EVERY_16_BITS, EVERY_16_BITS.T, EVERY_16_BITS[::-1]], axis=-1)
    np.testing.assert_array_equal(pixels_of(colours), np.stack([ROUNDED, ROUNDED.T, ROUNDED[::-1]], axis=-1))


@pytest.mark.torch
def test_a_16_bit_file_has_one_answer_in_build_sampler_and_show(tmp_path):
    images = pytest.importorskip("onegen.sampler.images")
    for name, deep in (("grey", EVERY_16_BITS), ("rgb", np.dstack([EVERY_16_BITS, EVERY_16_BITS.T, EVERY_16_BITS]))):
        ok, data = cv2.imencode(".png", deep[..., ::-1] if deep.ndim == 3 else deep)
        assert ok
        path = tmp_path / f"{name}.png"
        path.write_bytes(data.tobytes())
        stored = np.asarray(decode(open_header(path.read_bytes()), path.read_bytes()).image)
        np.testing.assert_array_equal(np.asarray(images.read_image(path)), stored)
        np.testing.assert_array_equal(_look(deep), stored)
    with Image.open(tmp_path / "grey.png") as image:
        np.testing.assert_array_equal(np.asarray(images.to_image(image))[..., 0], ROUNDED)


@pytest.mark.parametrize(
    ("picture", "expected"),
    [
        (Image.new("L", (1, 1), 7), (7, 7, 7)),
        (Image.new("1", (1, 1), 1), (255, 255, 255)),
        (np.full((1, 1), 7, np.uint8), (7, 7, 7)),
        (np.array([[[1, 2, 3]]], np.uint8), (1, 2, 3)),
        (np.array([[[1, 2, 3, 0]]], np.uint8), (255, 255, 255)),
        (np.array([[[0, 257, 514, 65535]]], np.uint16), (0, 1, 2)),
        (Image.new("RGBA", (1, 1), (0, 0, 0, 51)), (204, 204, 204)),
        (Image.new("LA", (1, 1), (10, 0)), (255, 255, 255)),
        (Image.new("CMYK", (1, 1), (0, 255, 255, 0)), (255, 0, 0)),
    ],
)
def test_every_kind_of_pixel_becomes_rgb(picture, expected):
    assert pixels_of(picture).tolist() == [[list(expected)]]


def test_palettes_are_looked_up_and_a_colour_named_transparent_is_white():
    image = Image.fromarray(np.array([[0, 1]], np.uint8), "P")
    image.putpalette([10, 20, 30, 40, 50, 60])
    assert pixels_of(image).tolist() == [[[10, 20, 30], [40, 50, 60]]]
    image.info["transparency"] = 1
    assert pixels_of(image).tolist() == [[[10, 20, 30], [255, 255, 255]]]


@pytest.mark.parametrize("kind", [np.int32, np.float32])
def test_numbers_without_a_range_are_refused(kind):
    for picture in (np.zeros((2, 2), kind), Image.fromarray(np.zeros((2, 2), kind))):
        with pytest.raises(SampleError, match="8 or 16 bits") as caught:
            to_rgb(picture)
        assert caught.value.reason == "unsupported_pixels"


def cmyk_with_a_profile() -> bytes:
    return encode(Image.fromarray(smooth(3)).convert("CMYK"), "JPEG", quality=95, icc_profile=PROFILE)


def test_the_profile_of_cmyk_does_not_stay_on_rgb_pixels():
    data = cmyk_with_a_profile()
    image = open_header(data)
    assert (image.mode, image.info["icc_profile"]) == ("CMYK", PROFILE)
    upright = decode(image, data)
    assert upright.profile is None
    assert upright.image.mode == "RGB"


def test_what_is_stored_of_cmyk_has_no_profile():
    source = SourceImage(cmyk_with_a_profile())
    (stored,) = Ingest().annotate([Item("0" * 64, None, source=source)])
    assert isinstance(stored, Annotation)
    with Image.open(io.BytesIO(stored.parts["jpg"])) as image:
        assert image.mode == "RGB"
        assert "icc_profile" not in image.info


def test_the_profile_of_rgb_stays_when_its_pixels_are_written_again():
    source = SourceImage(encode(smooth(3, 96, 64), "JPEG", quality=95, icc_profile=PROFILE))
    (stored,) = Ingest(max_side=48).annotate([Item("0" * 64, None, source=source)])
    assert isinstance(stored, Annotation)
    with Image.open(io.BytesIO(stored.parts["jpg"])) as image:
        assert image.info["icc_profile"] == PROFILE
