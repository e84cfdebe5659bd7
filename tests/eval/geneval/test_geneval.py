"""The whole benchmark with a table for a detector: pictures of flat rectangles that show what their prompts ask for."""

import json

import numpy as np
import pytest

from onegen.errors import ConfigError
from onegen.eval.geneval import GenEval
from onegen.eval.geneval.colours import colour_rule
from onegen.eval.geneval.detectors import colours_by_clip, crop, detect
from onegen.eval.geneval.prompts import CLASSES, COLOURS, TASKS, prompts
from onegen.eval.geneval.rules import Thing
from onegen.eval.table import make_protocol
from tests.eval.geneval.test_colours import SAMPLES
from tests.packaged import bring_models, photo

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


@pytest.mark.parametrize(
    ("overall", "tasks"),
    [
        (0.43, (0.97, 0.38, 0.35, 0.76, 0.04, 0.06)),
        (0.55, (0.98, 0.74, 0.39, 0.85, 0.15, 0.23)),
        (0.61, (0.97, 0.74, 0.66, 0.81, 0.13, 0.35)),
    ],
)
def test_published_rows_are_means_of_their_tasks(overall, tasks):
    """SD 1.5, SDXL and IF-XL as the benchmark's own table has them, to its rounding."""
    rows = [
        {"unit": f"{tag}/{index}", "tag": tag, "correct": index < round(100 * share)}
        for tag, share in zip(TASKS, tasks, strict=True)
        for index in range(100)
    ]
    got = {metric.name: metric.value for metric in GenEval().summarise(rows)}
    assert got["geneval_lite.overall"] == pytest.approx(overall, abs=0.0075)
    assert [got[f"geneval_lite.{task}"] for task in TASKS] == pytest.approx(tasks)


def test_a_row_says_all_that_the_benchmark_reports_of_a_picture():
    protocol = GenEval(images=1)
    unit = protocol.units()[0]
    _, things = drawn(prompts()[0])
    row = protocol.row(unit, unit.outputs[0], things, lambda found: ["green"] * len(found))
    assert set(row) == {"item", *GenEval.fields}
    assert json.loads(row["metadata"]) == prompts()[0]
    assert json.loads(row["details"]) == {"bench": [[8.0, 8.0, 32.0, 32.0, 0.95]]}


def test_counting_asks_for_surer_things():
    protocol = GenEval(images=1, detector="mask2former")
    unit = next(unit for unit in protocol.units() if prompts()[int(unit.name)]["tag"] == "counting")
    record = prompts()[int(unit.name)]
    name, count = record["include"][0]["class"], record["include"][0]["count"]

    def is_correct(scores):
        things = [Thing(name, (0, 0, 9, 9), score) for score in scores]
        return protocol.row(unit, unit.outputs[0], things, lambda found: [])["correct"]

    assert is_correct([0.91] * count)
    assert not is_correct([0.9] * count)
    assert is_correct([0.91] * count + [0.9])
    assert not is_correct([0.91] * (count + 1))


def test_the_embedded_detector_sees_under_the_benchmarks_names():
    bring_models()
    things = detect("embedded", "", photo("chelsea.png"))
    assert max(things, key=lambda thing: thing.score).label == "cat"
    assert {thing.label for thing in things} <= set(CLASSES)
