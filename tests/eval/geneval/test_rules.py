import numpy as np
import pytest

from onegen.eval.geneval.rules import Thing, direction, judge, kept, relations

A = (0, 0, 10, 10)


@pytest.mark.parametrize(
    ("box", "other", "expected"),
    [
        (A, (20, 0, 30, 10), {"left of"}),
        (A, (12, 12, 22, 22), {"left of", "above"}),
        (A, (5, 0, 15, 10), {"left of"}),
        (A, (4, 0, 14, 10), set()),  # exactly half of the offset is left, and that is not more than half
        (A, (1, 1, 11, 11), set()),
        ((0, 20, 10, 30), A, {"below"}),
        (A, A, set()),
    ],
)
def test_known_relations(box, other, expected):
    assert relations(box, other) == expected


@pytest.mark.parametrize(
    ("offset", "expected"),
    [((-20, 0), (-0.9, 0)), ((-12, -12), (-0.5893, -0.5893)), ((-5, 0), (-0.6, 0)), ((0, 20), (0, 0.9))],
)
def test_known_directions(offset, expected):
    got = direction(np.array(offset, float), np.array([20.0, 20.0]))
    assert got == pytest.approx(expected, abs=5e-5)
    assert direction(np.array([-4.0, 0.0]), np.array([20.0, 20.0]))[0] == -0.5


def thing(label, score=0.9, box=A):
    return Thing(label, box, score)


def verdict(record, things, colours=lambda things: ["red"] * len(things), threshold=0.3):
    return judge(record, kept(things, threshold), colours)


def test_a_score_must_be_above_the_threshold():
    record = {"include": [{"class": "cat", "count": 1}]}
    assert not verdict(record, [thing("cat", 0.3)]).is_correct
    assert verdict(record, [thing("cat", 0.31)]).is_correct


def test_counting_is_exact():
    record = {"include": [{"class": "cat", "count": 2}], "exclude": [{"class": "cat", "count": 3}]}
    assert [verdict(record, [thing("cat")] * count).is_correct for count in (1, 2, 3)] == [False, True, False]
    assert verdict(record, [thing("cat")] * 3).reason == "expected cat<3, found 3"


def test_at_most_sixteen_of_a_class_are_kept_best_first():
    things = [thing("cat", 0.31 + index / 100) for index in range(20)]
    assert [round(t.score, 2) for t in kept(things, 0.3)["cat"]][:2] == [0.5, 0.49]
    assert len(kept(things, 0.3)["cat"]) == 16


def test_only_the_best_objects_have_their_colour_asked():
    asked = []

    def colours(things):
        asked.append([t.score for t in things])
        return ["red"] * len(things)

    record = {"include": [{"class": "cat", "count": 1, "color": "red"}]}
    assert verdict(record, [thing("cat", 0.5), thing("cat", 0.9)], colours).is_correct
    assert asked == [[0.9]]
    blue = {"include": [{"class": "cat", "count": 1, "color": "blue"}]}
    assert verdict(blue, [thing("cat")]).reason == "expected blue cat>=1, found red"


def test_a_position_without_its_target_fails():
    record = {"include": [{"class": "dog", "count": 1}, {"class": "cat", "count": 1, "position": ["left of", 0]}]}
    things = [thing("cat"), thing("dog", box=(20, 0, 30, 10))]
    assert verdict(record, things).is_correct
    assert "no target" in verdict(record, [thing("cat")]).reason
    swapped = [thing("dog"), thing("cat", box=(20, 0, 30, 10))]
    assert "found it right of" in verdict(record, swapped).reason
