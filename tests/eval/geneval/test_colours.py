import numpy as np
import pytest

from onegen.eval.geneval.colours import colour_rule
from onegen.eval.geneval.rules import Thing

SAMPLES = {
    "red": (220, 30, 30),
    "orange": (255, 140, 0),
    "yellow": (250, 230, 40),
    "green": (30, 140, 50),
    "blue": (30, 70, 220),
    "purple": (130, 40, 170),
    "pink": (255, 160, 190),
    "brown": (120, 70, 30),
    "black": (15, 15, 18),
    "white": (245, 245, 240),
}


def on_grey(colour, box=(20, 10, 60, 50)):
    pixels = np.full((64, 80, 3), 0x99, np.uint8)
    x0, y0, x1, y1 = box
    pixels[y0:y1, x0:x1] = colour
    return pixels


@pytest.mark.parametrize(("name", "colour"), SAMPLES.items())
def test_flat_colours_are_told(name, colour):
    assert colour_rule(on_grey(colour), Thing("cup", (20, 10, 60, 50), 1.0)) == name


def test_grey_has_no_vote_and_alone_is_grey():
    assert colour_rule(on_grey((0x99,) * 3), Thing("cup", (20, 10, 60, 50), 1.0)) == "grey"


def test_a_mask_goes_before_the_box():
    pixels = on_grey(SAMPLES["red"])
    pixels[10:50, 20:25] = SAMPLES["blue"]
    mask = np.zeros((64, 80), bool)
    mask[10:50, 20:25] = True
    assert colour_rule(pixels, Thing("cup", (20, 10, 60, 50), 1.0, mask)) == "blue"
    assert colour_rule(pixels, Thing("cup", (20, 10, 60, 50), 1.0)) == "red"
