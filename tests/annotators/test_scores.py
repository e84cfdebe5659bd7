import cv2
import numpy as np
import pytest

from onegen.annotators.scores import Scores
from onegen.errors import ConfigError
from onegen.sample import Item
from tests.packaged import item, photo


def measured(picture: np.ndarray, side: int = 512) -> dict[str, float]:
    return dict(Scores(side=side).annotate([Item("k", picture)])[0].values)


def test_flat_grey_has_known_scores():
    values = measured(np.full((60, 80, 3), 51, np.uint8))
    assert values == {"sharpness": 0, "brightness": 0.2, "contrast": 0, "colourfulness": 0}


def test_black_and_white_halves_have_full_contrast():
    picture = np.zeros((100, 100, 3), np.uint8)
    picture[:, 50:] = 255
    values = measured(picture)
    assert values["contrast"] == pytest.approx(1.0)
    assert values["brightness"] == pytest.approx(0.5)
    # The Laplacian is +-255 on the two columns at the step, 0 elsewhere: variance 255^2 * 2 / 100.
    assert values["sharpness"] == pytest.approx(255**2 * 2 / 100)


def test_colourfulness_of_pure_red_and_cyan_is_as_the_formula_says():
    picture = np.zeros((10, 10, 3), np.uint8)
    picture[:5, :, 0] = 255
    picture[5:, :, 1:] = 255
    # red-green is +-255; yellow-blue is +-127.5: means 0, deviations 255 and 127.5.
    assert measured(picture)["colourfulness"] == pytest.approx(np.hypot(255, 127.5), abs=1e-3)


def test_blurring_a_photo_lowers_sharpness_and_nothing_else_much():
    sharp = measured(photo("chelsea.png"))
    blurred = measured(cv2.GaussianBlur(photo("chelsea.png"), (0, 0), 3))
    assert blurred["sharpness"] < sharp["sharpness"] / 10
    assert blurred["brightness"] == pytest.approx(sharp["brightness"], abs=0.01)


def test_sharpness_does_not_grow_with_the_number_of_pixels():
    large = cv2.resize(photo("astronaut.png"), (2048, 2048), interpolation=cv2.INTER_CUBIC)
    original = measured(photo("astronaut.png"))["sharpness"]
    assert (
        original / 2 < measured(large)["sharpness"] < original * 2
    )  # area averaging loses some, not orders of magnitude
    assert measured(large, side=2048)["sharpness"] < original / 8


def test_grey_photos_have_no_colour_and_orange_ones_much():
    values = [answer.values for answer in Scores().annotate([item("grass.png"), item("coffee.png")])]
    assert values[0]["colourfulness"] == 0
    assert values[1]["colourfulness"] > 59  # "quite colourful" on the authors' scale


def test_a_useless_side_is_refused():
    with pytest.raises(ConfigError, match="side of scores must be at least 32, got 1"):
        Scores(side=1)
