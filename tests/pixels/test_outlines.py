"""Masks as COCO writes them. PYTHONPATH=. python -m pytest tests/pixels/test_outlines.py"""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onegen.pixels.outlines import polygon_mask, runs_mask, unpack_counts

SQUARE = [1, 1, 4, 1, 4, 3, 1, 3]


def packed(counts: list[int]) -> str:
    """Return run lengths as the text that COCO's tools write."""
    text = ""
    for index, count in enumerate(counts):
        number, more = count - counts[index - 2] if index > 2 else count, True
        while more:
            digit, number = number & 31, number >> 5
            more = number != (-1 if digit & 16 else 0)
            text += chr(48 + digit + 32 * more)
    return text


def test_a_polygon_holds_the_pixels_whose_centres_lie_in_it():
    mask = polygon_mask(SQUARE, (5, 6))
    expected = np.zeros((5, 6), bool)
    expected[1:3, 1:4] = True
    np.testing.assert_array_equal(mask, expected)
    np.testing.assert_array_equal(polygon_mask([v + 0.4 for v in SQUARE], (5, 6)), expected)
    back = [number for point in zip(SQUARE[-2::-2], SQUARE[::-2], strict=True) for number in point]
    np.testing.assert_array_equal(polygon_mask(back, (5, 6)), expected)


def test_a_triangle_has_half_the_pixels_and_a_hole_none():
    triangle = polygon_mask([0, 0, 100, 0, 0, 100], (100, 100))
    assert triangle.mean() == pytest.approx(0.5, abs=0.01)
    assert triangle[2, 95]
    assert not triangle[95, 90]
    star = polygon_mask([0, 0, 9, 0, 9, 9, 0, 9, 0, 0, 3, 3, 3, 6, 6, 6, 6, 3, 3, 3], (9, 9))
    assert not star[4, 4]
    assert star[1, 1]


def test_what_lies_outside_the_image_is_cut_off():
    assert polygon_mask([-50, -50, 50, -50, 50, 50, -50, 50], (4, 4)).all()
    assert not polygon_mask([-9, -9, -1, -9, -1, -1], (4, 4)).any()


@pytest.mark.parametrize(
    "polygon", [[], [1, 2, 3, 4], [1, 2, 3, 4, 5], [0, 0, 1, 1, 2, math.nan], [[0, 0], [1, 1]], ["a"] * 6]
)
def test_what_is_no_polygon_is_refused(polygon):
    with pytest.raises(ValueError):
        polygon_mask(polygon, (4, 4))


def test_runs_go_down_the_columns():
    mask = runs_mask({"size": [3, 2], "counts": [1, 2, 2, 1]}, (3, 2))
    np.testing.assert_array_equal(mask, [[False, False], [True, False], [True, True]])


@given(st.lists(st.integers(0, 100_000), min_size=1, max_size=20))
@settings(max_examples=200, deadline=None)
def test_packed_runs_come_back(counts):
    assert unpack_counts(packed(counts)) == counts


def test_packed_runs_known_from_the_format():
    assert packed([0, 5, 1000]) == "05Xo0"
    assert unpack_counts("05Xo0") == [0, 5, 1000]
    mask = runs_mask({"size": [3, 2], "counts": packed([1, 2, 2, 1])}, (3, 2))
    np.testing.assert_array_equal(mask, runs_mask({"size": [3, 2], "counts": [1, 2, 2, 1]}, (3, 2)))


@pytest.mark.parametrize(
    "runs",
    [
        {"size": [2, 3], "counts": [6]},
        {"size": [3, 2], "counts": [5]},
        {"size": [3, 2], "counts": [7, -1]},
        {"size": [3, 2], "counts": [6.0]},
        {"size": [3, 2], "counts": "P"},
        {"size": [3, 2], "counts": "\x00"},
        {"size": [3, 2], "counts": "é"},
    ],
)
def test_runs_of_another_mask_are_refused(runs):
    with pytest.raises(ValueError, match="runs"):
        runs_mask(runs, (3, 2))
