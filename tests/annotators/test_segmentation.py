import numpy as np
import pytest

import onegen.annotators.segmentation.embedded as module
from onegen.annotators.detection.embedded import MODEL, Detection
from onegen.annotators.entities import Entities
from onegen.annotators.segmentation import resolve
from onegen.annotators.segmentation.embedded import DEEPLAB, VOC_OF_COCO, Segmentation
from onegen.sample import Annotation, Item
from tests.packaged import bring_models, item


def segmented(given: Item) -> tuple[list[dict], np.ndarray, dict]:
    """Return entities, index map and values of a photo, through detection and entities as a build would."""
    bring_models()
    detected = Detection().annotate([given])[0]
    named = Entities().annotate([Item(given.key, None, annotations={"detection": detected})])[0]
    answer = Segmentation().annotate([Item(given.key, given.pixels, annotations={"entities": named})])[0]
    return named.values["entities"], answer.parts["masks.png"], dict(answer.values)


def at(masks: np.ndarray, *points: tuple[int, int]) -> list[int]:
    return [int(masks[y, x]) for x, y in points]


def test_two_men_are_two_masks():
    entities, masks, _ = segmented(item("zidane.jpg"))
    assert [one["label"] for one in entities[:2]] == ["person", "person"]
    right, left = (1, 2) if entities[0]["x0"] > entities[1]["x0"] else (2, 1)
    # face, chest and pointing shoulder of the right man; head, back and far shoulder of the left one
    assert at(masks, (960, 160), (930, 560), (870, 400)) == [right] * 3
    assert at(masks, (560, 320), (390, 620), (280, 400)) == [left] * 3
    assert at(masks, (640, 60), (60, 60), (1240, 600)) == [0] * 3  # the blurred crowd
    assert abs(np.mean(masks == left) - 0.25) < 0.08
    assert abs(np.mean(masks == right) - 0.19) < 0.05


def test_someone_behind_a_man_has_a_mask_of_her_own():
    """BlazePose finds the man in her box too, and his mask cut to her box is a slab of his temple and shoulder."""
    entities, masks, _ = segmented(item("obama2.jpg"))
    (woman,) = [index for index, one in enumerate(entities, 1) if one["label"] == "person" and one["x0"] > 400]
    man = max(range(1, len(entities) + 1), key=lambda index: np.count_nonzero(masks == index))
    assert entities[man - 1]["label"] == "person"
    assert at(masks, (560, 540)) == [woman]
    assert at(masks, (500, 330), (610, 645), (320, 400)) == [man] * 3


def test_the_walkers_stand_before_the_bus():
    entities, masks, values = segmented(item("bus.jpg"))
    labels = {index + 1: one["label"] for index, one in enumerate(entities)}
    of = [labels.get(index, "none") for index in at(masks, (140, 500), (285, 560), (560, 560), (400, 300), (400, 80))]
    assert of == ["person", "person", "bus", "bus", "none"]
    assert of.count("bus") == 2
    assert values["coverage"] == pytest.approx(np.mean(masks > 0), abs=1e-4)
    np.testing.assert_allclose(
        values["areas"], [np.mean(masks == index + 1) for index in range(len(entities))], atol=1e-4
    )


def test_cat_cup_and_motorcycle_are_cut_out():
    for name, label, inside, outside in (
        ("chelsea.png", "cat", [(200, 150), (100, 100), (60, 60)], [(440, 150), (430, 250)]),
        ("coffee.png", "cup", [(290, 60), (290, 120), (200, 90)], [(500, 60), (60, 60), (120, 350)]),
        (
            "motorcycle_left.png",
            "motorcycle",
            [(330, 290), (470, 240), (600, 390)],
            [(100, 460), (600, 100), (80, 120)],
        ),
    ):
        entities, masks, _ = segmented(item(name))
        index = [one["label"] for one in entities].index(label) + 1
        assert at(masks, *inside) == [index] * len(inside), name
        assert index not in at(masks, *outside), name


def test_a_class_deeplab_knows_needs_no_saliency_and_the_others_do(monkeypatch):
    """The cat and the motorcycle are DeepLab's; the cup is no class of its, and saliency alone finds it."""
    monkeypatch.setattr(module, "saliency", lambda crop: np.zeros((224, 224), np.float32))
    for name, label, at_least in (("chelsea.png", "cat", 0.5), ("motorcycle_left.png", "motorcycle", 0.15)):
        entities, _, values = segmented(item(name))
        assert values["areas"][[one["label"] for one in entities].index(label)] > at_least
    entities, _, values = segmented(item("coffee.png"))
    assert values["areas"][[one["label"] for one in entities].index("cup")] == 0


def test_a_class_deeplab_does_not_see_falls_back_on_saliency(monkeypatch):
    monkeypatch.setattr(module, "_deeplab", lambda crop: np.zeros((257, 257, 21), np.float32))
    entities, masks, _ = segmented(item("motorcycle_left.png"))
    index = [one["label"] for one in entities].index("motorcycle") + 1
    assert at(masks, (330, 290), (470, 240)) == [index] * 2


def test_masks_stay_in_their_boxes():
    for name in ("bus.jpg", "coffee.png"):
        entities, masks, _ = segmented(item(name))
        for index, entity in enumerate(entities, start=1):
            rows, columns = np.nonzero(masks == index)
            across, down = 0.05 * (entity["x1"] - entity["x0"]) + 1, 0.05 * (entity["y1"] - entity["y0"]) + 1
            assert columns.min() >= entity["x0"] - across
            assert columns.max() <= entity["x1"] + across
            assert rows.min() >= entity["y0"] - down
            assert rows.max() <= entity["y1"] + down


def test_a_tie_is_on_top_of_its_wearer():
    entities, masks, _ = segmented(item("obama.jpg"))
    tie = [one["label"] for one in entities].index("tie") + 1
    assert at(masks, (435, 600)) == [tie]
    assert at(masks, (250, 800)) == [[one["label"] for one in entities].index("person") + 1]


def rectangle(x0: int, y0: int, x1: int, y1: int) -> np.ndarray:
    mask = np.zeros((20, 20), bool)
    mask[y0:y1, x0:x1] = True
    return mask


def test_overlaps_go_to_the_better_score_then_to_the_smaller_area():
    left, right = rectangle(0, 0, 12, 10), rectangle(8, 0, 20, 10)
    assert at(resolve([left, right], [0.9, 0.8], (20, 20)), (2, 5), (10, 5), (18, 5), (5, 15)) == [1, 1, 2, 0]
    assert at(resolve([left, right], [0.8, 0.9], (20, 20)), (10, 5)) == [2]
    wide = rectangle(6, 0, 20, 10)
    assert at(resolve([wide, left], [0.9, 0.9], (20, 20)), (10, 5)) == [2]
    assert at(resolve([left, left], [0.9, 0.9], (20, 20)), (5, 5)) == [1]  # a tie in all goes to the first


def test_what_lies_in_a_larger_mask_is_on_top_whatever_its_score():
    body, tie, pin = rectangle(0, 0, 20, 20), rectangle(5, 5, 10, 15), rectangle(6, 6, 8, 8)
    for scores in ([0.9, 0.4, 0.3], [0.4, 0.9, 0.3], [0.3, 0.4, 0.9], [0.5, 0.5, 0.5]):
        for order in ([0, 1, 2], [2, 1, 0], [1, 2, 0]):
            masks = [[body, tie, pin][index] for index in order]
            painted = resolve(masks, [scores[index] for index in order], (20, 20))
            names = {order.index(index) + 1: name for index, name in enumerate(("body", "tie", "pin"))}
            assert [names[index] for index in at(painted, (1, 1), (9, 13), (7, 7))] == ["body", "tie", "pin"]


def test_empty_masks_and_no_masks_give_zeros():
    assert not resolve([], [], (4, 6)).any()
    assert resolve([], [], (4, 6)).shape == (4, 6)
    assert not resolve([np.zeros((4, 6), bool)] * 2, [0.5, 0.5], (4, 6)).any()


def test_no_entities_is_an_empty_map():
    bring_models()
    given = Item("k", np.zeros((30, 20, 3), np.uint8), annotations={"entities": Annotation({"entities": []})})
    answer = Segmentation().annotate([given])[0]
    assert answer.values == {"areas": [], "coverage": 0.0}
    assert not answer.parts["masks.png"].any()


def test_the_class_table_agrees_with_the_models():
    bring_models()
    coco = MODEL.session().labels("labels.txt")
    voc = DEEPLAB.session().labels("labelmap.txt")
    other_names = {"airplane": "aeroplane", "motorcycle": "motorbike", "couch": "sofa"}
    for name, index in VOC_OF_COCO.items():
        assert name in coco
        assert voc[index] == other_names.get(name, name)
