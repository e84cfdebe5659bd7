"""The whole benchmark with a table for a detector: pictures of flat rectangles that show what their prompts ask for."""

import numpy as np
import pytest

from onegen.errors import ConfigError
from onegen.eval.geneval import GenEval
from onegen.eval.geneval.colours import colour_rule
from onegen.eval.geneval.detectors import colours_by_clip, crop
from onegen.eval.geneval.prompts import COLOURS, TASKS, prompts
from onegen.eval.geneval.rules import Thing
from onegen.eval.table import make_protocol
from tests.eval.geneval.test_colours import SAMPLES

PLACES = [(8, 8), (72, 8), (8, 72), (72, 72)]
OFFSETS = {"left of": (-40, 0), "right of": (40, 0), "above": (0, -40), "below": (0, 40)}
SIDE = 24


def drawn(record, paint=lambda colour: colour):
    """Return the picture that a prompt asks for, and what a perfect detector says of it."""
    pixels = np.full((128, 128, 3), 0x99, np.uint8)
    things = []
    for entry in record["include"]:
        for _ in range(entry["count"]):
            x, y = PLACES[len(things)]
            if record["tag"] == "position":
                x, y = 52, 52
                if "position" in entry:
                    dx, dy = OFFSETS[entry["position"][0]]
                    x, y = x + dx, y + dy
            pixels[y : y + SIDE, x : x + SIDE] = SAMPLES[paint(entry.get("color", "green"))]
            things.append(Thing(entry["class"], (x, y, x + SIDE, y + SIDE), 0.95))
    return pixels, things


def scores(protocol, paint=lambda colour: colour):
    rows = []
    for unit in protocol.units():
        pixels, things = drawn(prompts()[int(unit.name)], paint)
        row = protocol.row(unit, unit.outputs[0], things, lambda found, p=pixels: [colour_rule(p, t) for t in found])
        rows.append({"unit": unit.name, **row})
    return {metric.name: metric.value for metric in protocol.summarise(rows)}, rows


def test_pictures_as_asked_score_one_in_every_task():
    got, _ = scores(GenEval(images=1))
    assert got == {f"geneval_lite.{name}": 1.0 for name in ("overall", *TASKS, "pictures", "prompts")}


def test_other_colours_are_wrong_in_colour_tasks_alone():
    got, rows = scores(GenEval(images=1), lambda colour: COLOURS[(COLOURS.index(colour) + 1) % 10])
    by_task = {task: got[f"geneval_lite.{task}"] for task in TASKS}
    assert by_task == {**dict.fromkeys(TASKS, 1.0), "colors": 0.0, "color_attr": 0.0}
    assert got["geneval_lite.overall"] == pytest.approx(4 / 6)
    assert "expected" in next(row["why"] for row in rows if row["tag"] == "colors")


def test_only_the_papers_detector_and_colours_carry_the_name():
    assert GenEval(detector="mask2former", colours="clip").is_exact
    for options in ({"detector": "embedded"}, {"colours": "rule"}, {"threshold": 0.5}, {"prompts": 3}):
        assert not GenEval(**{"detector": "mask2former", "colours": "clip", **options}).is_exact


def test_the_overall_score_weighs_tasks_and_not_pictures():
    protocol = GenEval(images=1)
    rows = [
        {"unit": str(index), "tag": tag, "correct": tag == "counting"}
        for index, tag in enumerate([*TASKS, *["counting"] * 10])
    ]
    got = {metric.name: metric.value for metric in protocol.summarise(rows)}
    assert got["geneval_lite.overall"] == pytest.approx(1 / 6)
    assert got["geneval_lite.pictures"] == pytest.approx(11 / 16)


def test_a_crop_hides_what_is_outside_of_the_mask():
    pixels = np.zeros((20, 20, 3), np.uint8)
    mask = np.zeros((20, 20), bool)
    mask[5:10, 5:10] = True
    shown = np.asarray(crop(pixels, Thing("cat", (4, 4, 12, 12), 1.0, mask)))
    assert shown.shape == (8, 8, 3)
    assert (shown[0, 0] == 0x99).all()
    assert (shown[1:6, 1:6] == 0).all()


def test_clip_tells_the_colour_whose_text_is_nearest():
    thing = Thing("cat", (0, 0, 4, 4), 1.0)
    pixels = np.zeros((4, 4, 3), np.uint8)
    asked = []

    def texts(name):
        asked.append(name)
        return np.eye(10)

    said = colours_by_clip([thing, thing], pixels, lambda crops: np.eye(10)[[3, 9]], texts)
    assert said == ["green", "white"]
    assert asked == ["cat"]


def test_an_option_that_is_none_is_named():
    with pytest.raises(ConfigError, match="did you mean 'detector'"):
        make_protocol("geneval", {"detctor": "yolo"})
    with pytest.raises(ConfigError, match="did you mean 'geneval'"):
        make_protocol("genevl", {})
