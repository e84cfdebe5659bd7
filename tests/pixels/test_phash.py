"""PYTHONPATH=. python -m pytest tests/pixels/test_phash.py"""

import cv2
import imagehash
import numpy as np
import pytest
from PIL import Image

from onegen.pixels.phash import FLAT, phash
from tests.packaged import photo

PHOTOS = ["astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg"]


def distance(one: int, other: int) -> int:
    return (one ^ other).bit_count()


@pytest.mark.parametrize("name", ["astronaut.png", "chelsea.png", "coffee.png"])
def test_equals_imagehash_bit_for_bit(name):
    expected = imagehash.phash(Image.fromarray(photo(name)))
    assert f"{phash(photo(name)):016x}" == str(expected)


def test_is_a_64_bit_number():
    for name in PHOTOS:
        assert 0 <= phash(photo(name)) < 2**64


@pytest.mark.parametrize("name", PHOTOS)
def test_what_a_web_server_does_to_a_photo_moves_few_bits(name):
    pixels = photo(name)
    height, width = pixels.shape[:2]
    smaller = cv2.resize(pixels, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    ok, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 40])
    assert ok
    pressed = cv2.imdecode(data, cv2.IMREAD_COLOR)
    brighter = np.clip(pixels.astype(np.int16) + 12, 0, 255).astype(np.uint8)
    for changed in (smaller, pressed, brighter):
        assert distance(phash(pixels), phash(changed)) <= 4


def test_other_photos_are_far_apart():
    hashes = [phash(photo(name)) for name in PHOTOS]
    for i, one in enumerate(hashes):
        for other in hashes[i + 1 :]:
            assert distance(one, other) > 16


def test_a_flat_picture_has_a_steady_hash():
    # All frequencies but the mean are zero: rounding must not let noise decide their bits.
    hashes = {phash(np.full((40, 60, 3), level, np.uint8)) for level in range(1, 256, 5)}
    assert hashes == {1 << 63}
    assert {*hashes, phash(np.zeros((40, 60, 3), np.uint8))} == set(FLAT)


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (500, 1), (3, 2)])
def test_any_shape_has_a_hash(shape):
    pixels = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    assert phash(pixels) == phash(pixels.copy())
