import numpy as np
import pytest

from onegen.annotators.detection.embedded import Detection, anchors, decode
from onegen.errors import ConfigError
from onegen.pixels.boxes import box_of, iou
from onegen.sample import Item
from onegen.weights.sessions import LiteModel
from tests.packaged import bring_models, item

# Boxes drawn by hand on the photos, in pixels.
TRUTH = {
    "bus.jpg": [
        ("bus", (15, 228, 806, 752)),
        ("person", (48, 400, 243, 905)),
        ("person", (221, 405, 346, 862)),
        ("person", (670, 392, 810, 880)),
    ],
    "zidane.jpg": [("person", (742, 42, 1145, 720)), ("person", (122, 195, 1060, 720))],
    "coffee.png": [("cup", (168, 15, 415, 280))],
    "chelsea.png": [("cat", (0, 0, 405, 300))],
    "motorcycle_left.png": [("motorcycle", (95, 68, 690, 445))],
    "obama.jpg": [("person", (75, 35, 845, 1137)), ("tie", (385, 460, 495, 890))],
}


@pytest.fixture(scope="module")
def detection():
    bring_models()
    return Detection()


def objects(annotator: Detection, given: Item) -> list[dict]:
    return annotator.annotate([given])[0].values["objects"]


def box(found: dict) -> list[float]:
    return list(box_of(found))


@pytest.mark.parametrize("name", TRUTH)
def test_what_is_there_is_found_where_it_is(detection, name):
    found = objects(detection, item(name))
    for label, truth in TRUTH[name]:
        same = [one for one in found if one["label"] == label]
        overlaps = iou(np.array([box(one) for one in same]).reshape(-1, 4), np.array([truth], float))
        assert overlaps.max(initial=0) > 0.5, f"{label} at {truth} in {found}"


def test_every_person_is_found_once(detection):
    values = detection.annotate([item("zidane.jpg"), item("bus.jpg"), item("rocket.jpg")])
    assert [answer.values["num_people"] for answer in values] == [2, 3, 0]


def test_objects_come_best_first_inside_the_image(detection):
    for name, (height, width) in (("bus.jpg", (1080, 810)), ("coffee.png", (400, 600))):
        found = objects(detection, item(name))
        scores = [one["score"] for one in found]
        assert scores == sorted(scores, reverse=True)
        assert min(scores) >= 0.3
        for one in found:
            x0, y0, x1, y1 = box(one)
            assert 0 <= x0 < x1 <= width
            assert 0 <= y0 < y1 <= height


def test_nothing_is_found_in_nothing(detection):
    answer = detection.annotate([Item("k", np.full((200, 300, 3), 90, np.uint8))])[0]
    assert answer.values == {"objects": [], "num_objects": 0, "num_people": 0}


def test_a_crowd_is_cut_at_the_limit():
    bring_models()
    crowd = np.tile(item("obama.jpg").pixels[::4, ::4], (3, 4, 1))  # twelve times the same man
    many = objects(Detection(), Item("k", crowd))
    assert sum(one["label"] == "person" for one in many) >= 10
    assert objects(Detection(max_objects=3), Item("k", crowd)) == many[:3]


class Tensors:
    """A detector that says what it is told: scores by (anchor, class); every box is its anchor, stretched."""

    def __init__(self, said: dict[tuple[int, int], float], stretch: dict[int, float]) -> None:
        self.offsets = np.zeros((1, 19206, 4), np.float32)
        self.scores = np.zeros((1, 19206, 90), np.float32)
        for place, score in said.items():
            self.scores[0][place] = score
        for index, factor in stretch.items():
            self.offsets[0, index, 2:] = np.log(factor)

    def run(self, square: np.ndarray) -> dict[str, np.ndarray]:
        return {"StatefulPartitionedCall:0": self.offsets, "StatefulPartitionedCall:1": self.scores}

    def labels(self, name: str) -> list[str]:
        return ["person", "bicycle", "car", *["other"] * 87]


def said_by(
    monkeypatch, said: dict[tuple[int, int], float], stretch: dict[int, float] | None = None, **options: float
) -> list[dict]:
    bring_models()
    monkeypatch.setattr(LiteModel, "session", lambda model: Tensors(said, stretch or {}))
    return objects(Detection(**options), Item("k", np.zeros((320, 320, 3), np.uint8)))


def test_two_hundred_people_are_found_and_the_best_hundred_kept(monkeypatch):
    """In every third cell of level 3, 6 pixels wide, and in lanes of level 4, 12 pixels wide."""
    cells = [row * 40 + column for row in range(1, 39, 3) for column in range(1, 39, 3)]
    cells += [1600 + row * 20 + column for row in range(20) for column in range(0, 20, 9)]
    people = {(cell * 9, 0): 0.9 - rank / 1000 for rank, cell in enumerate(cells[:200])}
    found = said_by(monkeypatch, people, {cell * 9: 0.25 for cell in cells}, max_objects=200)
    assert len(people) == len(found) == 200
    assert [one["score"] for one in found] == pytest.approx(list(people.values()), abs=1e-4)
    assert said_by(monkeypatch, people, {cell * 9: 0.25 for cell in cells}) == found[:100]


def test_one_thing_taken_for_two_is_one_and_less_than_a_pixel_is_none(monkeypatch):
    twice = {(9 * 820, 1): 0.9, (9 * 820, 2): 0.5, (9 * 821, 2): 0.6}  # 821 stands 8 pixels beside 820: IoU 0.5
    assert [one["label"] for one in said_by(monkeypatch, twice)] == ["bicycle", "car"]
    near = {(9 * 820, 1): 0.9, (9 * 820 + 3, 2): 0.6}  # the next size in the same cell: IoU 0.63
    assert [one["label"] for one in said_by(monkeypatch, near)] == ["bicycle", "car"]
    assert [one["label"] for one in said_by(monkeypatch, near, cross_overlap=0.6)] == ["bicycle"]
    assert said_by(monkeypatch, {(9 * 820, 0): 0.9}, {9 * 820: 0.03}) == []


def test_a_box_in_a_letterboxed_image_returns_to_its_pixels():
    """An anchor whose offsets are zero is the anchor itself, seen through the letterbox's scale."""
    index = 1600 * 9 + 5 * 20 * 9 + 7 * 9  # level 4 (20 x 20 cells of 16 px), row 5, column 7, first shape: 48 x 48
    np.testing.assert_allclose(anchors()[index], [5.5 * 16, 7.5 * 16, 48, 48])
    offsets = np.zeros((19206, 4), np.float32)
    probabilities = np.zeros((19206, 90), np.float32)
    probabilities[index, 17] = 0.75
    boxes, scores, labels = decode(offsets, probabilities, scale=320 / 1280, size=(1280, 400))
    np.testing.assert_allclose(boxes[index], [(120 - 24) * 4, (88 - 24) * 4, (120 + 24) * 4, 400])  # clipped below
    assert scores[index] == 0.75
    assert labels[index] == 17


def test_offsets_move_and_stretch_an_anchor():
    offsets = np.zeros((19206, 4), np.float32)
    offsets[0] = [1.0, 2.0, np.log(2), np.log(3)]
    boxes, _, _ = decode(offsets, np.zeros((19206, 90), np.float32), scale=1.0, size=(320, 320))
    # The first anchor is 24 x 24 around (4, 4); moved by (48, 24), 72 wide and 48 high.
    np.testing.assert_allclose(boxes[0], [52 - 36, 28 - 24, 52 + 36, 28 + 24], atol=1e-4)


def test_there_is_one_anchor_for_each_output():
    assert anchors().shape == (19206, 4)


@pytest.mark.parametrize("options", [{"min_score": 0}, {"overlap": 1.5}, {"max_objects": 0}])
def test_useless_options_are_refused(options):
    bring_models()
    with pytest.raises(ConfigError, match="of detection must be"):
        Detection(**options)
