"""Pictures in: colour modes, the crop, the resize without antialiasing; pictures out."""

import numpy as np
import pytest
import torch
from PIL import Image

from onegen.errors import ConfigError
from onegen.sampler.images import paint_holes, prepare, read_image, to_image, to_pil

pytestmark = pytest.mark.torch


def test_black_and_white_are_minus_one_and_one():
    assert prepare(Image.new("RGB", (16, 16), 0), 16, 16).unique().tolist() == [-1.0]
    assert prepare(np.full((20, 30, 3), 255, np.uint8), 16, 16).unique().tolist() == [1.0]


def test_the_middle_is_kept_and_the_sides_are_cut():
    pixels = np.zeros((10, 30, 3), np.uint8)
    pixels[:, 10:20] = 255
    assert prepare(pixels, 16, 16).min() == 1.0
    assert prepare(pixels, 16, 16, crop=False).min() == -1.0  # stretched: the sides are still there


def test_cropped_images_are_shrunk_without_antialiasing():
    # one-pixel stripes, three times smaller: the taps 1, 4, 7 and 10 hit them or miss them; antialiasing mixes them
    stripes = np.zeros((12, 12, 3), np.uint8)
    stripes[:, [1, 7]] = 255
    row = (prepare(stripes, 4, 4)[0, 0] + 1) / 2
    assert row.tolist() == [1.0, 0.0, 1.0, 0.0]
    mixed = (prepare(stripes, 4, 4, crop=False)[0, 0] + 1) / 2
    assert mixed.max() < 0.5


def test_other_modes_become_rgb():
    assert to_image(Image.new("RGBA", (1, 1), (0, 0, 0, 0))).getpixel((0, 0)) == (255, 255, 255)
    assert to_image(Image.new("L", (1, 1), 7)).getpixel((0, 0)) == (7, 7, 7)
    deep = Image.fromarray(np.array([[257 * 200]], np.uint16))
    assert to_image(deep).getpixel((0, 0)) == (200, 200, 200)


def test_pixels_without_a_range_are_refused():
    with pytest.raises(ConfigError, match="8 or 16 bits, got mode F"):
        to_image(Image.new("F", (1, 1)))


@pytest.mark.parametrize(
    "array", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32), np.zeros((3, 4, 4), np.uint8)]
)
def test_arrays_of_another_kind_are_refused(array):
    with pytest.raises(ConfigError, match=r"uint8 \(H, W, 3\)"):
        to_image(array)


def test_the_refusal_of_floats_says_how_to_scale_them():
    with pytest.raises(ConfigError, match=r"got float32 \(4, 4, 3\). Bring its values to 0 .. 255"):
        to_image(np.zeros((4, 4, 3), np.float32))


def test_transparent_holes_are_black_where_inpainting_fills_them_and_white_elsewhere(tmp_path):
    photo = Image.new("RGBA", (4, 2), (10, 200, 30, 255))
    photo.putpixel((1, 0), (90, 90, 90, 0))
    exif = photo.getexif()
    exif[0x0112] = 6  # turn by a quarter: the hole goes where the pixel goes
    photo.save(tmp_path / "holes.png", exif=exif)
    assert to_image(photo).getpixel((1, 0)) == (255, 255, 255)
    assert to_image(photo, "masked").getpixel((1, 0)) == (0, 0, 0)
    assert to_image(photo, "masked").getpixel((0, 0)) == (10, 200, 30)
    upright = read_image(tmp_path / "holes.png", "masked")
    assert upright.size == (2, 4)
    assert upright.getpixel((1, 1)) == (0, 0, 0)
    assert read_image(tmp_path / "holes.png").getpixel((1, 1)) == (255, 255, 255)


def test_a_palette_with_a_transparent_colour_has_holes_too():
    image = Image.new("P", (2, 1), 0)
    image.putpalette([9, 9, 9, 50, 60, 70])
    image.putpixel((1, 0), 1)
    image.info["transparency"] = 0
    assert [to_image(image, "masked").getpixel((x, 0)) for x in (0, 1)] == [(0, 0, 0), (50, 60, 70)]


def test_a_mask_is_black_on_its_photo_where_it_is_white():
    photo, mask = Image.new("RGB", (3, 1), (5, 6, 7)), Image.new("RGB", (3, 1))
    mask.putpixel((1, 0), (128, 128, 128))
    mask.putpixel((2, 0), (127, 127, 127))
    assert [paint_holes(photo, mask).getpixel((x, 0)) for x in range(3)] == [(5, 6, 7), (0, 0, 0), (5, 6, 7)]
    with pytest.raises(ConfigError, match="got none of it. Invert it"):
        paint_holes(photo, Image.new("RGB", (3, 1)))
    with pytest.raises(ConfigError, match="size of its photo, 3x1, got 1x3. Resize"):
        paint_holes(photo, mask.transpose(Image.Transpose.ROTATE_90))


def test_files_are_read_upright(tmp_path):
    image = Image.new("RGB", (4, 2))
    exif = image.getexif()
    exif[0x0112] = 6  # turn by a quarter
    image.save(tmp_path / "turned.jpg", exif=exif)
    assert read_image(tmp_path / "turned.jpg").size == (2, 4)


def test_what_is_no_picture_is_refused(tmp_path):
    (tmp_path / "text.png").write_text("no picture")
    for name in ("text.png", "absent.png"):
        with pytest.raises(ConfigError, match="readable picture"):
            read_image(tmp_path / name)


def test_out_come_the_pixels_that_went_in():
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    back = to_pil((prepare(pixels, 16, 16)[None] + 1) / 2)
    np.testing.assert_array_equal(np.asarray(back[0]), pixels)
    assert torch.equal(torch.from_numpy(np.asarray(back[0]).copy()), torch.from_numpy(pixels))
