import pytest

from onegen.annotators.classes import Classes
from onegen.errors import ConfigError
from tests.packaged import bring_models, item


@pytest.fixture(scope="module")
def classes():
    bring_models()
    return Classes()


def test_what_fills_a_photo_is_named(classes):
    truth = {"coffee.png": "espresso", "lion.jpg": "lion", "cheetah.jpg": "cheetah", "camera.png": "tripod"}
    for answer, name in zip(classes.annotate([item(photo) for photo in truth]), truth.values(), strict=True):
        assert answer.values["top_class"] == name
        assert answer.values["top_score"] > 0.8


def test_portraits_have_no_class_to_believe(classes):
    for answer in classes.annotate([item("zidane.jpg"), item("astronaut.png"), item("obama.jpg")]):
        assert answer.values["top_score"] < 0.5


def test_classes_come_best_first_with_their_places_in_the_list(classes):
    values = classes.annotate([item("chelsea.png")])[0].values
    scores = [one["score"] for one in values["classes"]]
    assert scores == sorted(scores, reverse=True)
    assert len(scores) == 5
    assert values["classes"][0] == {"index": 285, "label": "Egyptian cat", "score": values["top_score"]}
    assert {one["label"] for one in values["classes"][:3]} == {"Egyptian cat", "tabby", "tiger cat"}


def test_the_number_of_classes_is_an_option():
    bring_models()
    assert len(Classes(num_classes=1).annotate([item("lion.jpg")])[0].values["classes"]) == 1
    with pytest.raises(ConfigError, match="num_classes of classes must be 1 to 1000, got 0"):
        Classes(num_classes=0)
