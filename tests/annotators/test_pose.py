import numpy as np
import pytest

import onegen.annotators.pose.embedded as pose
from onegen.annotators.detection.embedded import Detection
from onegen.annotators.pose.embedded import Pose, coco_keypoints
from onegen.annotators.shared.blazepose import Body, refine, share_inside
from onegen.errors import ConfigError
from onegen.sample import Annotation, Item
from tests.packaged import bring_models, item

LEFT_WRIST, RIGHT_WRIST, LEFT_ANKLE, RIGHT_ANKLE = 9, 10, 15, 16
# Read off the enlarged photo by hand. The first walker's wrists are hidden in his sleeves.
WALKERS = {
    "left walker": (100, {LEFT_ANKLE: (188, 855), RIGHT_ANKLE: (70, 855)}),
    "right walker": (
        280,
        {LEFT_WRIST: (284, 526), RIGHT_WRIST: (270, 642), LEFT_ANKLE: (286, 781), RIGHT_ANKLE: (269, 820)},
    ),
}


def people(given: Item, **options: float) -> list[dict]:
    bring_models()
    detected = Detection().annotate([given])[0]
    with_boxes = Item(given.key, given.pixels, annotations={"detection": detected})
    return Pose(**options).annotate([with_boxes])[0].values["people"]


@pytest.fixture(scope="module")
def walkers() -> list[dict]:
    return people(item("bus.jpg"))


@pytest.mark.parametrize("who", WALKERS)
def test_wrists_and_ankles_of_the_walkers_are_where_they_are(walkers, who):
    column, truth = WALKERS[who]
    (walker,) = [one for one in walkers if one["x0"] < column < one["x1"]]
    points = np.reshape(walker["keypoints"], (17, 3))
    height = walker["y1"] - walker["y0"]
    for index, place in truth.items():
        assert np.hypot(*(points[index, :2] - place)) < 0.05 * height, (index, points[index], place)
    assert walker["score"] > 0.9
    assert not walker["half_body"]
    assert not walker["low_confidence"]


def test_left_and_right_are_the_persons_own(walkers):
    for walker in walkers[:2]:  # both face the camera
        points = np.reshape(walker["keypoints"], (17, 3))
        assert points[5, 0] > points[6, 0]  # left shoulder on the right of the picture
        assert points[1, 0] > points[2, 0]  # so with the eyes


def test_half_bodies_are_marked():
    for name in ("zidane.jpg", "obama.jpg", "astronaut.png"):
        found = people(item(name))
        assert found
        assert all(one["half_body"] and one["low_confidence"] for one in found), name


def whole_body(score: float) -> Body:
    """A body whose points all lie at (50, 50), certain to be seen."""
    return Body(np.full((33, 2), 50.0), np.ones(33), np.ones(33), score, np.zeros((256, 256), np.float32), np.eye(2, 3))


def posed_as(monkeypatch, body: Body) -> dict:
    """Return what is stored of a person in an image of 100 x 100, if the network says `body`."""
    bring_models()
    monkeypatch.setattr(pose, "see_body", lambda pixels, box: body)
    detected = Annotation(
        {"objects": [{"label": "person", "score": 0.9, "x0": 0.0, "y0": 0.0, "x1": 90.0, "y1": 90.0}]}
    )
    given = Item("k", np.zeros((100, 100, 3), np.uint8), annotations={"detection": detected})
    (found,) = Pose().annotate([given])[0].values["people"]
    return found


@pytest.mark.parametrize(("score", "is_doubted"), [(0.49, True), (0.5, False)])
def test_a_whole_body_that_may_be_none_is_marked(monkeypatch, score, is_doubted):
    found = posed_as(monkeypatch, whole_body(score))
    assert (found["half_body"], found["low_confidence"]) == (False, is_doubted)


def test_points_that_are_supposed_outside_of_the_image_are_not_seen(monkeypatch):
    body = whole_body(0.9)
    body.points[27:29] = [[50.0, 104.0], [-2.0, 90.0]]  # the ankles, one below and one left of it
    found = posed_as(monkeypatch, body)
    points = np.reshape(found["keypoints"], (17, 3))
    assert points[[LEFT_ANKLE, RIGHT_ANKLE]].tolist() == [[50.0, 104.0, 0.0], [-2.0, 90.0, 0.0]]
    assert (points[:LEFT_ANKLE, 2] == 1).all()
    assert found["half_body"]


def test_who_stands_behind_a_man_does_not_get_his_body():
    man, *others = people(item("obama2.jpg"))
    assert man["score"] > 0.9
    assert others
    assert all(one["score"] < 0.3 and one["low_confidence"] for one in others)


def test_what_lies_out_of_the_box_counts_against_a_body():
    points = np.array([[5.0, 5.0], [12.0, 5.0], [13.0, 5.0], [-9.0, 5.0]])
    weights = np.array([1.0, 0.5, 0.25, 0.25])
    assert share_inside(points, weights, (0, 0, 10, 10)) == pytest.approx(0.75)  # a quarter of a side is close enough
    assert share_inside(points, np.zeros(4), (0, 0, 10, 10)) == 0


def test_a_photo_without_people_has_none():
    assert people(item("rocket.jpg")) == []
    assert people(item("chelsea.png")) == []


def test_a_crowd_is_cut_at_the_limit():
    assert len(people(item("bus.jpg"), max_people=1)) == 1


def test_unlikely_people_are_not_looked_at():
    scores = sorted(one["score"] for one in people(item("bus.jpg"), min_score=0.3))
    assert len(scores) == 3
    detected = Detection().annotate([item("bus.jpg")])[0].values["objects"]
    certain = [one for one in detected if one["label"] == "person" and one["score"] >= 0.6]
    assert len(people(item("bus.jpg"), min_score=0.6)) == len(certain) == 2


def test_no_detection_is_no_people():
    bring_models()
    given = Item("k", np.zeros((20, 20, 3), np.uint8), annotations={"detection": Annotation({"objects": None})})
    assert Pose().annotate([given])[0].values == {"people": [], "num_people": 0}


def test_keypoints_return_through_the_turned_region():
    """A region turned by 90 degrees, twice enlarged and moved: hand-made points come back where they belong."""
    points = np.zeros((33, 2))
    points[27] = (10, 20)  # left ankle
    visibility, presence = np.full(33, 0.5), np.full(33, 0.8)
    body = Body(points, visibility, presence, 1.0, np.zeros((256, 256), np.float32), np.eye(2, 3))
    np.testing.assert_allclose(coco_keypoints(body)[LEFT_ANKLE], (10, 20, 0.4))
    quarter = np.array([[0.0, -2.0, 600.0], [2.0, 0.0, 100.0]])
    mask = np.full((256, 256), -9.0, np.float32)
    mask[100:140, 50:60] = 9.0  # rows 100-139, columns 50-59 of the region
    turned = Body(points, visibility, presence, 1.0, mask, quarter).mask_in(800, 400)
    rows, columns = np.nonzero(turned > 0.5)
    # x = 600 - 2 row, y = 100 + 2 column
    assert abs(columns.min() - (600 - 2 * 139)) <= 2
    assert abs(columns.max() - (600 - 2 * 100)) <= 2
    assert abs(rows.min() - (100 + 2 * 50)) <= 2
    assert abs(rows.max() - (100 + 2 * 59)) <= 2


def test_heat_pulls_a_point_to_its_centre_and_only_when_sure():
    heat = np.full((64, 64, 2), -20.0)
    heat[30, 22, 0] = 5.0  # row 30, column 22: 88, 120 in the region
    heat[30, 22, 1] = -1.0
    points = np.array([[80.0, 124.0], [80.0, 124.0]])
    np.testing.assert_allclose(refine(points, heat), [[88, 120], [80, 124]], atol=0.01)


def test_a_point_outside_of_the_region_stays():
    points = np.array([[-40.0, 300.0]])
    np.testing.assert_array_equal(refine(points, np.full((64, 64, 1), 9.0)), points)


@pytest.mark.parametrize("options", [{"min_score": 1.5}, {"max_people": 0}])
def test_useless_options_are_refused(options):
    bring_models()
    with pytest.raises(ConfigError, match="of pose must be"):
        Pose(**options)
