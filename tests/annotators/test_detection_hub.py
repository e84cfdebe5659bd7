"""What detectors of the hub make of a network's answer: hand-made scores, boxes and texts with known results."""

import numpy as np
import pytest

from onegen.annotators.detection import class_name
from onegen.annotators.detection.florence import Florence
from onegen.annotators.detection.grounding_dino import Grounded, name_scores, prompt_of, tokens_of
from onegen.annotators.detection.rt_detr import ClosedSet
from onegen.sample import Annotation, Item
from tests.checkpoints import checkpoint

pytestmark = pytest.mark.torch
ITEM = Item(
    "0" * 20, np.zeros((100, 200, 3), np.uint8), annotations={"names": Annotation({"names": ["cat", "red bus"]})}
)


def make(cls, backend, **options):
    annotator = cls(model=str(checkpoint("detection", backend)), **options)
    annotator.load()
    return annotator


def labelled(answer):
    return [
        (thing["label"], thing["score"], (thing["x0"], thing["y0"], thing["x1"], thing["y1"]))
        for thing in answer.values["objects"]
    ]


def test_rt_detr_takes_each_box_for_its_best_class():
    scores = np.zeros((4, 5), np.float32)
    scores[0, 3] = 0.9  # motorbike, as this repository says
    scores[1, 0] = 0.8
    scores[2, 0] = 0.7  # the same person once more
    scores[3, 2] = 0.2  # too little
    boxes = np.array([[0.5, 0.5, 0.2, 0.4], [0.25, 0.5, 0.5, 1.2], [0.26, 0.5, 0.5, 1.0], [0.5, 0.5, 1, 1]], np.float32)
    answer = make(ClosedSet, "rt-detr").finish(ITEM, (scores, boxes))
    assert labelled(answer) == [("motorcycle", 0.9, (80, 30, 120, 70)), ("person", 0.8, (0, 0, 100, 100))]
    assert (answer.values["num_objects"], answer.values["num_people"]) == (2, 1)


@pytest.mark.parametrize(
    ("label", "name"),
    [("tvmonitor", "tv"), ("Sofa", "couch"), ("dining table", "dining table"), ("traffic_light", "traffic light")],
)
def test_classes_have_the_names_that_other_columns_know(label, name):
    assert class_name(label) == name


def test_names_are_closed_by_full_stops_and_found_again():
    text, spans = prompt_of(["Cat", "red  bus.", "dog"])
    assert text == "cat. red bus. dog."
    assert [text[start:end] for start, end in spans] == ["cat", "red bus", "dog"]
    offsets = [(0, 0), (0, 3), (3, 4), (5, 8), (9, 12), (12, 13), (14, 17), (17, 18), (0, 0)]
    owners = tokens_of(offsets, spans)
    assert owners == [[1], [3, 4], [6]]
    tokens = np.array([[0.9, 0.1, 0.9, 0.2, 0.6, 0.9, 0.3, 0.9, 0.9]])
    np.testing.assert_allclose(name_scores(tokens, [*owners, []]), [[0.1, 0.6, 0.3, 0.0]])


def test_grounding_dino_gives_each_box_the_name_it_fits_best():
    scores = np.array([[0.2, 0.7], [0.5, 0.1], [0.3, 0.34]], np.float32)
    boxes = np.array([[0.5, 0.5, 0.5, 0.5], [0.1, 0.1, 0.2, 0.2], [0.5, 0.5, 0.1, 0.1]], np.float32)
    answer = make(Grounded, "grounding-dino").finish(ITEM, (scores, boxes))
    assert labelled(answer) == [("red bus", 0.7, (50, 25, 150, 75)), ("cat", 0.5, (0, 0, 40, 20))]


def test_what_has_no_names_has_no_objects():
    annotator = make(Grounded, "grounding-dino")
    nameless = Item("1" * 20, ITEM.pixels, annotations={"names": Annotation({"names": []})})
    assert annotator.prepare(nameless) is None
    answers = annotator.annotate([nameless, ITEM, nameless])
    assert answers[0].values == answers[2].values == {"objects": [], "num_objects": 0, "num_people": 0}


def test_other_names_beside_it_change_nothing():
    annotator = make(Grounded, "grounding-dino", min_score=0.01)
    other = Item(
        "2" * 20,
        np.full((100, 200, 3), 90, np.uint8),
        annotations={"names": Annotation({"names": ["person", "bus", "car", "dog", "red cat"]})},
    )
    (alone,) = annotator.annotate([ITEM])
    (beside, _) = annotator.annotate([ITEM, other])
    assert labelled(alone)
    assert [name for name, *_ in labelled(alone)] == [name for name, *_ in labelled(beside)]


def test_florence_says_no_scores():
    answer = make(Florence, "florence").annotate([ITEM])[0]
    # Locations are thousandths of the sides, and mean the middle of their thousandth.
    assert labelled(answer) == [("car", 1.0, (20.1, 20.0, 100.1, 60.0)), ("dog", 1.0, (0.1, 1.0, 199.9, 99.9))] or [
        name for name, *_ in labelled(answer)
    ] == ["car", "dog"]
    silent = make(Florence, "florence").finish(ITEM, "</s><s></s>")
    assert silent.values["num_objects"] == 0


def test_florence_says_a_thing_twice_and_it_is_kept_once():
    twice = "cat<loc_0><loc_0><loc_499><loc_999>cat<loc_0><loc_0><loc_399><loc_999>"
    assert [name for name, *_ in labelled(make(Florence, "florence").finish(ITEM, twice))] == ["cat"]
