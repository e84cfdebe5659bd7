"""PYTHONPATH=. python -m pytest tests/pixels/test_colour.py"""

import io

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo

from onegen.build.ingest import Ingest
from onegen.pixels.colour import to_srgb
from onegen.pixels.upright import decode, open_header
from onegen.sample import Annotation, Item, SourceImage
from tests.pictures import encode, smooth
from tests.profiles import cmyk_profile, grey_profile, rgb_profile

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
COLOURS = ((200, 60, 40), (40, 160, 60), (30, 70, 190))


def stripes() -> Image.Image:
    image = Image.new("RGB", (90, 30))
    for index, colour in enumerate(COLOURS):
        image.paste(colour, (30 * index, 0, 30 * index + 30, 30))
    return image


def in_profile(profile: bytes) -> Image.Image:
    """Return the stripes as they stand in a profile of RGB."""
    target = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    return ImageCms.profileToProfile(stripes(), ImageCms.createProfile("sRGB"), target)


def stored(data: bytes, **options: object) -> tuple[bytes, Image.Image]:
    (answer,) = Ingest(**options).annotate([Item("0" * 64, None, source=SourceImage(data))])
    assert isinstance(answer, Annotation)
    (part,) = answer.parts.values()
    return part, Image.open(io.BytesIO(part))


def colours(image: Image.Image) -> np.ndarray:
    return np.array([image.convert("RGB").getpixel((x, 15)) for x in (15, 45, 75)], int)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_rgb_of_another_profile_is_stored_in_srgb(mode):
    profile = rgb_profile()
    image = in_profile(profile)
    data = encode(image.quantize(4) if mode == "P" else image.convert(mode), "PNG", icc_profile=profile)
    part, image = stored(data)
    assert "icc_profile" not in image.info
    assert np.abs(colours(image) - COLOURS).max() <= 2
    assert np.abs(colours(Image.open(io.BytesIO(data))) - COLOURS).max() > 20
    assert stored(part)[0] == part, "once is enough"


def test_rgb_may_be_kept_in_its_profile():
    profile = rgb_profile()
    data = encode(in_profile(profile), "PNG", icc_profile=profile)
    assert stored(data, colour="keep")[0] == data
    part, image = stored(data, colour="keep", max_side=45)
    assert part != data
    assert image.info["icc_profile"] == profile


def test_16_bit_rgb_goes_through_its_profile_too():
    profile = rgb_profile()
    deep = np.asarray(in_profile(profile), np.uint16) * 257
    ok, data = cv2.imencode(".png", deep[:, :, ::-1])
    assert ok
    with_profile = data.tobytes()
    chunk = encode(stripes(), "PNG", icc_profile=profile)
    start = chunk.index(b"iCCP") - 4
    size = int.from_bytes(chunk[start : start + 4], "big") + 12
    with_profile = with_profile[:33] + chunk[start : start + size] + with_profile[33:]
    assert np.abs(colours(stored(with_profile)[1]) - COLOURS).max() <= 2


@pytest.mark.parametrize("profile", [SRGB, b"a profile " * 30, grey_profile(1.0), b""])
def test_srgb_and_what_is_no_profile_of_rgb_pass_through(profile):
    for data in (encode(stripes(), "PNG", icc_profile=profile), encode(stripes(), "JPEG", icc_profile=profile)):
        assert stored(data)[0] == data


def test_cmyk_goes_through_its_profile_whatever_is_kept():
    inks = Image.new("CMYK", (90, 30), (255, 0, 0, 0))
    profile = cmyk_profile()
    with_profile, without = (encode(inks, "JPEG", quality=100, **extra) for extra in ({"icc_profile": profile}, {}))
    expected = to_srgb(inks, profile)
    assert expected is not None
    for colour in ("srgb", "keep"):
        _, image = stored(with_profile, colour=colour)
        assert "icc_profile" not in image.info
        assert np.abs(colours(image) - colours(expected)).max() <= 3
    plain = colours(stored(without)[1])
    assert np.abs(plain - (0, 255, 255)).max() <= 3
    assert np.abs(plain - colours(expected)).max() > 50


@pytest.mark.parametrize("deep", [False, True])
def test_grey_goes_through_its_profile(deep):
    grey = Image.new("L", (90, 30), 64)
    profile = grey_profile(1.0)
    picture = Image.fromarray(np.asarray(grey, np.uint16) * 257) if deep else grey
    data = encode(picture, "PNG", icc_profile=profile)
    assert np.abs(colours(stored(data)[1]) - 137).max() <= 1
    assert colours(stored(encode(picture, "PNG"))[1]).max() == 64


def test_what_the_sampler_sees_of_rgb_is_as_it_stands():
    profile = rgb_profile()
    data = encode(in_profile(profile), "PNG", icc_profile=profile)
    upright = decode(open_header(data), data)
    assert upright.profile == profile
    assert (np.asarray(upright.image) == np.asarray(in_profile(profile))).all()


@pytest.mark.parametrize("cut", [1, 4, 11, 12, 16, 20])
def test_a_png_without_its_tail_is_written_again(cut):
    whole = encode(smooth(3, 96, 64), "PNG")
    part, image = stored(whole[:-cut])
    assert part != whole[:-cut]
    assert cv2.imdecode(np.frombuffer(part, np.uint8), cv2.IMREAD_COLOR) is not None
    assert (np.asarray(image) == smooth(3, 96, 64)).all()
    assert stored(whole)[0] == whole


def test_a_sound_png_with_large_text_is_read():
    text = PngInfo()
    text.add_text("workflow", "a prompt " * 1_000_000, zip=True)
    data = encode(smooth(3), "PNG", pnginfo=text)
    assert stored(data)[0] == data
