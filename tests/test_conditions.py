import numpy as np
import pytest

from onegen.conditions import canny
from tests.packaged import photo


def test_canny_is_white_on_black_at_the_step():
    picture = np.zeros((40, 60, 3), np.uint8)
    picture[:, 30:] = 200
    drawn = canny(picture, 100, 200)
    assert drawn.shape == picture.shape
    assert drawn.dtype == np.uint8
    assert set(np.unique(drawn)) == {0, 255}
    columns = np.flatnonzero(drawn[20, :, 0])
    assert len(columns) == 1
    assert abs(columns[0] - 30) <= 1


def test_canny_thresholds_choose_how_much_is_an_edge():
    loose, strict = (np.count_nonzero(canny(photo("chelsea.png"), *limits)) for limits in ((20, 60), (150, 300)))
    assert loose > 4 * strict > 0


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (50, 1), (2, 3)])
def test_canny_takes_any_size(shape):
    picture = np.full((*shape, 3), 9, np.uint8)
    np.testing.assert_array_equal(canny(picture, 100, 200), np.zeros_like(picture))


def test_canny_leaves_the_picture_alone():
    picture = photo("chelsea.png").copy()
    canny(picture, 100, 200)
    np.testing.assert_array_equal(picture, photo("chelsea.png"))
