"""Lenses made straight. PYTHONPATH=. python -m pytest tests/geometry/test_lens.py"""

import numpy as np
import pytest

from onegen.errors import SampleError
from onegen.geometry.lens import Lens, check_lens, straighten

PLAIN = Lens(200, 160, 180.0, 180.0, 100.0, 80.0)
BENT = Lens(200, 160, 180.0, 180.0, 104.0, 77.0, "brown", (-0.25, 0.08, 0.001, -0.002))
FISHEYE = Lens(200, 160, 120.0, 120.0, 100.0, 80.0, "fisheye", (0.05, -0.01, 0.0, 0.0))


def distort(lens, x, y):
    """A point of the plane z = 1 as a pixel, by the published formulas, first pixel centre at 0.5."""
    square = x * x + y * y
    if lens.model == "fisheye":
        radius = np.sqrt(square)
        angle = np.arctan(radius)
        k1, k2, k3, k4 = lens.distortion
        bent = angle * (1 + k1 * angle**2 + k2 * angle**4 + k3 * angle**6 + k4 * angle**8)
        factor = np.where(radius > 1e-9, bent / np.maximum(radius, 1e-9), 1.0)
        u, v = x * factor, y * factor
    else:
        k1, k2, p1, p2 = lens.distortion
        radial = 1 + k1 * square + k2 * square**2
        u = x * radial + 2 * p1 * x * y + p2 * (square + 2 * x * x)
        v = y * radial + p1 * (square + 2 * y * y) + 2 * p2 * x * y
    return lens.fx * u + lens.cx, lens.fy * v + lens.cy


def world(x, y):
    """What there is to see on the plane z = 1: smooth, and different everywhere."""
    return 128 + 100 * np.sin(7 * x + 1) * np.cos(6 * y)


def photograph(lens):
    """A picture through a lens, each pixel's ray found by turning the published formula round."""
    v, u = np.mgrid[: lens.height, : lens.width] + 0.5
    x, y = (u - lens.cx) / lens.fx, (v - lens.cy) / lens.fy
    for _ in range(60):
        at = distort(lens, x, y)
        x, y = x + (u - at[0]) / lens.fx, y + (v - at[1]) / lens.fy
    return np.clip(np.rint(world(x, y)), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("lens", [BENT, FISHEYE])
def test_a_straight_picture_is_what_a_pinhole_of_its_focal_sees(lens):
    straight = straighten(photograph(lens), lens)
    fx, fy = (length * 160 for length in lens.focal)
    v, u = np.mgrid[:160, :200] + 0.5
    expected = world((u - 100) / fx, (v - 80) / fy)
    assert np.abs(straight.astype(float) - expected).max() < 6  # to the very corners: nothing is blank
    assert np.abs(straight.astype(float) - expected).mean() < 1


def test_a_plain_lens_leaves_a_picture_alone():
    picture = np.random.default_rng(0).integers(0, 255, (160, 200, 3), dtype=np.uint8)
    assert straighten(picture, PLAIN) is picture
    assert PLAIN.focal == (180 / 160, 180 / 160)


def test_a_lens_of_the_full_size_serves_a_smaller_picture():
    small = BENT.resized(100, 80)
    assert small.focal == pytest.approx(BENT.focal, rel=0.02)
    picture = photograph(small)
    np.testing.assert_array_equal(straighten(picture, BENT), straighten(picture, small))


def test_a_principal_point_off_the_middle_is_moved_there():
    off = Lens(200, 160, 180.0, 180.0, 120.0, 80.0)
    assert not off.is_straight
    assert off.focal[0] > PLAIN.focal[0]
    straight = straighten(np.zeros((160, 200, 3), np.uint8), off)
    assert straight.shape == (160, 200, 3)


def test_a_picture_of_another_aspect_is_not_of_this_lens():
    with pytest.raises(SampleError) as caught:
        straighten(np.zeros((100, 100), np.uint8), BENT)
    assert caught.value.reason == "unsupported_lens"


@pytest.mark.parametrize(
    "lens",
    [
        Lens(200, 160, 0.0, 180.0, 100.0, 80.0),
        Lens(200, 160, np.nan, 180.0, 100.0, 80.0),
        Lens(0, 160, 180.0, 180.0, 100.0, 80.0),
        Lens(200, 160, 180.0, 180.0, 300.0, 80.0),
        Lens(200, 160, 180.0, 180.0, 100.0, 80.0, "brown", (np.inf, 0, 0, 0)),
    ],
)
def test_a_lens_that_is_none_is_refused(lens):
    with pytest.raises(SampleError) as caught:
        check_lens(lens)
    assert caught.value.reason == "no_intrinsics"
