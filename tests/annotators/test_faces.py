import numpy as np
import pytest

from onegen.annotators.faces.embedded import Faces
from onegen.errors import ConfigError
from onegen.pixels.boxes import box_of, iou
from onegen.sample import Item
from tests.packaged import bring_models, item


def faces(given: Item, **options: str | float) -> list[dict]:
    bring_models()
    answer = Faces(**options).annotate([given])[0]
    assert answer.values["num_faces"] == len(answer.values["faces"])
    return answer.values["faces"]


def box(face: dict) -> np.ndarray:
    return np.array([box_of(face)])


@pytest.fixture(scope="module")
def men() -> dict[str, dict]:
    """The one large face of each portrait."""
    names = ("obama.jpg", "obama2.jpg", "obama3.jpg", "32bit.png", "biden.jpg", "astronaut.png")
    return {name: max(faces(item(name)), key=lambda one: one["x1"] - one["x0"]) for name in names}


def distance(one: dict, other: dict) -> float:
    return float(np.linalg.norm(np.subtract(one["identity"], other["identity"])))


def test_faces_are_where_they_are(men):
    # drawn by hand: brows to chin, ear to ear
    assert iou(box(men["astronaut.png"]), np.array([[176, 75, 266, 168]], float)) > 0.6
    assert iou(box(men["obama.jpg"]), np.array([[365, 135, 620, 400]], float)) > 0.5


def test_landmarks_are_eyes_and_nose(men):
    points = np.reshape(men["astronaut.png"]["landmarks"], (5, 2))
    # Pupils and the base of the nose, read off the enlarged photo.
    np.testing.assert_allclose(points[:2].mean(axis=0), (246.5, 103), atol=4)  # her left eye
    np.testing.assert_allclose(points[2:4].mean(axis=0), (203, 101), atol=4)
    np.testing.assert_allclose(points[4], (224, 132), atol=4)


def test_one_man_is_one_man_and_others_are_others(men):
    same = [distance(men["obama.jpg"], men[name]) for name in ("obama2.jpg", "obama3.jpg", "32bit.png")]
    assert max(same) < 0.5
    assert distance(men["obama2.jpg"], men["32bit.png"]) < 0.1  # the same picture, stored another way
    others = [distance(men["obama.jpg"], men[name]) for name in ("biden.jpg", "astronaut.png")]
    assert min(others) > 0.6


def test_the_badge_of_the_astronaut_is_no_face():
    assert len(faces(item("astronaut.png"))) == 1


def test_animals_and_things_have_no_faces():
    for name in ("chelsea.png", "lion.jpg", "coffee.png", "coins.png", "grass.png"):
        assert faces(item(name)) == [], name


def test_boxes_are_of_the_image_not_of_its_reduction():
    small, large = (max(faces(item("obama.jpg"), max_side=side), key=lambda one: one["score"]) for side in (400, 1137))
    assert iou(box(small), box(large)) > 0.7


@pytest.mark.slow
def test_the_network_sees_profiles_too():
    found = faces(item("zidane.jpg"), detector="cnn")
    assert len(found) == 2
    assert len(Faces(detector="cnn").weights()) == 3


def test_a_useless_size_is_refused():
    bring_models()
    with pytest.raises(ConfigError, match="max_side of faces must be at least 64, got 10"):
        Faces(max_side=10)
