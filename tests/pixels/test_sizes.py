"""Sizes: what fits, the training table of buckets, the choice of a bucket, and the crop into it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onegen.errors import ConfigError
from onegen.pixels.sizes import BASES, bucket_table, center_crop, check_size, fit, nearest_bucket


def test_what_fits_keeps_its_size_and_the_rest_shrinks_to_its_longer_side():
    assert fit((300, 400, 3), 512) == (1.0, (400, 300))
    assert fit((300, 400), 200) == (0.5, (200, 150))
    assert fit((1000, 1, 3), 100) == (0.1, (1, 100))
    assert fit((1000, 1, 3), 100, least=20) == (0.1, (20, 100))
    assert fit((300, 400), 800, enlarge=True) == (2.0, (800, 600))


def test_the_width_may_have_a_limit_of_its_own():
    assert fit((300, 400), 300, 100) == (0.25, (100, 75))
    assert fit((300, 400), 30, 400) == (0.1, (40, 30))


@pytest.mark.parametrize("enlarge", [False, True])
def test_the_scale_is_the_quotient_of_the_longer_side_to_the_last_bit(enlarge):
    for side in (7, 320, 768):
        for height, width in ((1, 999), (37, 41), (640, 427), (3, 3)):
            scale = side / max(height, width)
            assert fit((height, width), side, enlarge=enlarge)[0] == (scale if enlarge else min(1.0, scale))


@pytest.mark.parametrize("base", BASES)
def test_forty_buckets_of_sides_divisible_by_sixteen(base):
    table = bucket_table(base)
    assert len(table) == 40
    for ratio, (height, width) in table.items():
        assert height % 16 == width % 16 == 0
        assert height / width == pytest.approx(ratio, abs=0.13)
        assert 0.9 < height * width / base**2 <= 1.01


@pytest.mark.parametrize(
    ("base", "module", "name"),
    [
        (256, "pixart_alpha.pipeline_pixart_alpha", "ASPECT_RATIO_256_BIN"),
        (512, "pixart_alpha.pipeline_pixart_alpha", "ASPECT_RATIO_512_BIN"),
        (1024, "pixart_alpha.pipeline_pixart_alpha", "ASPECT_RATIO_1024_BIN"),
        (2048, "pixart_alpha.pipeline_pixart_sigma", "ASPECT_RATIO_2048_BIN"),
    ],
)
def test_the_table_agrees_with_the_published_ones(base, module, name):
    pipelines = pytest.importorskip(f"diffusers.pipelines.{module}")
    published = getattr(pipelines, name)
    table = bucket_table(base)
    assert len(published) >= 29
    for ratio, size in published.items():
        assert table[float(ratio)] == tuple(map(int, size))


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [
        (480, 640, (416, 576)),
        (640, 480, (576, 448)),
        (512, 512, (512, 512)),
        (100, 4000, (256, 1024)),
        (1080, 1920, (384, 672)),
    ],
)
def test_the_nearest_bucket(height, width, expected):
    assert nearest_bucket(height, width) == expected


def test_unknown_bases_are_refused():
    with pytest.raises(ConfigError, match="must be one of"):
        bucket_table(384)


@pytest.mark.parametrize(
    ("size", "target", "box"),
    [
        # 640 / (576 / 416) = 462.22 rows; half of the 17.78 that go is 8, half of 480 - 462 would be 9
        ((480, 640), (416, 576), (8, 0, 462, 640)),
        ((3000, 4000), (416, 576), (55, 0, 2888, 4000)),
        # 1365 * (608 / 416) is 1995 on paper and just below it in floats
        ((1365, 2048), (416, 608), (0, 26, 1365, 1994)),
        ((480, 640), (512, 512), (0, 80, 480, 480)),
        ((641, 480), (512, 512), (80, 0, 480, 480)),
        ((512, 512), (512, 512), (0, 0, 512, 512)),
        ((100, 333), (512, 512), (0, 116, 100, 100)),
    ],
)
def test_the_crop_is_centred_and_cuts_fractions(size, target, box):
    assert center_crop(*size, *target) == box


@given(st.integers(1, 5000), st.integers(1, 5000), st.sampled_from(sorted(bucket_table(512).values())))
def test_the_crop_lies_inside_the_picture(height, width, target):
    top, left, rows, columns = center_crop(height, width, *target)
    assert top >= 0 <= left
    assert 1 <= rows <= height - top
    assert 1 <= columns <= width - left


@pytest.mark.parametrize(
    ("height", "width", "says"), [(500, 512, r"height .* got 500. Use 496"), (512, 0, r"width .* got 0. Use 16")]
)
def test_sizes_not_divisible_by_sixteen_are_refused(height, width, says):
    with pytest.raises(ConfigError, match=says):
        check_size(height, width)
