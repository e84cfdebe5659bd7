import pytest

from onegen.annotators.entities import Entities
from onegen.errors import ConfigError
from onegen.sample import Annotation, Item
from onegen.shards.key import seed_of
from onegen.tasks.colours import COLOURS, assign_colours

BOX = {"x0": 1.0, "y0": 2.0, "x1": 3.0, "y1": 4.0}


def entities(labels: list[tuple[str, float]], key: str = "3f9a", **options: float) -> list[dict]:
    objects = [{"label": label, "score": score, **BOX} for label, score in labels]
    given = Item(key, None, annotations={"detection": Annotation({"objects": objects})})
    answer = Entities(**options).annotate([given])[0]
    assert answer.values["num_entities"] == len(answer.values["entities"])
    return answer.values["entities"]


def test_entities_are_the_detections_with_a_colour_per_class():
    found = entities([("person", 0.9), ("bus", 0.8), ("person", 0.7), ("dog", 0.3)])
    assert [(one["label"], one["score"]) for one in found] == [("person", 0.9), ("bus", 0.8), ("person", 0.7)]
    assert found[0]["colour"] == found[2]["colour"] != found[1]["colour"]
    assert {one["colour"] for one in found} <= set(COLOURS)
    assert all(one[corner] == BOX[corner] for one in found for corner in BOX)


def test_colours_come_from_the_key_alone():
    assert entities([("cat", 0.9)], key="a") == entities([("cat", 0.9)], key="a")
    drawn = {entities([("cat", 0.9)], key=f"{number:020x}")[0]["colour"] for number in range(200)}
    assert drawn == set(COLOURS)  # all twenty, in 200 draws
    seeded = assign_colours(["cat"], seed_of("a", "entities", Entities.version))
    assert [one["colour"] for one in entities([("cat", 0.9)], key="a")] == [entity.colour for entity in seeded]


def test_a_crowd_of_two_hundred_does_not_hide_its_dog():
    crowd = [("person", 0.9 - number / 1000) for number in range(200)] + [("dog", 0.4)]
    found = entities(crowd)
    assert len(found) == 10
    assert [one["label"] for one in found] == ["person"] * 9 + ["dog"]
    assert [one["score"] for one in found[:9]] == [0.9 - number / 1000 for number in range(9)]


def test_ten_classes_have_ten_colours():
    found = entities([(f"class {number}", 0.9) for number in range(15)], max_entities=20)
    assert len({one["colour"] for one in found}) == 15


def test_nothing_detected_is_no_entity():
    assert entities([]) == []
    answer = Entities().annotate([Item("k", None, annotations={"detection": Annotation({"objects": None})})])
    assert answer[0].values == {"entities": [], "num_entities": 0}


@pytest.mark.parametrize("options", [{"min_score": -1}, {"max_entities": 0}, {"max_entities": 21}])
def test_useless_options_are_refused(options):
    with pytest.raises(ConfigError, match="of entities must be"):
        Entities(**options)
