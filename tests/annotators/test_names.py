"""Names in a model's answer: lists of every kind are read, sentences are refused."""

import pytest

from onegen.annotators.names import annotation_of, parse_names
from onegen.annotators.names.embedded import DetectedNames
from onegen.errors import ConfigError, SampleError
from onegen.sample import Annotation, Item


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("woman, red car, dog", ["woman", "red car", "dog"]),
        ("A woman, the Red Car, and a dog.", ["woman", "red car", "dog"]),
        ("1. Woman\n2) car\n- dog\n* bench", ["woman", "car", "dog", "bench"]),
        ('["woman", "car"]', ["woman", "car"]),
        ("Here you are: [\"tree\", 'x']", SampleError),
        ("two dogs, dogs, three dogs", ["dogs"]),
        ("T-shirt, children's book", ["t-shirt", "children's book"]),
        ("dog", ["dog"]),
        ("The image shows a woman who walks past a bus in the rain", SampleError),
        (
            "In this picture we can see a woman, a dog that runs over the street to her, and so on and so forth",
            SampleError,
        ),
        ("", SampleError),
        (", , .", SampleError),
        ("猫, 犬", SampleError),
    ],
)
def test_names_are_parsed_strictly(text, names):
    if names is SampleError:
        with pytest.raises(SampleError) as caught:
            parse_names(text)
        assert caught.value.reason == "bad_names"
    else:
        assert parse_names(text) == names


def test_no_more_than_ten():
    assert len(parse_names(", ".join(f"thing{chr(97 + n)}" for n in range(20)))) == 10
    assert parse_names("cat, dog, bus", most=2) == ["cat", "dog"]


def test_each_name_is_kept_once():
    assert annotation_of(["dog", "cat", "dog"]).values == {"names": ["dog", "cat"], "num_names": 2}


def test_embedded_names_are_those_of_the_detector():
    objects = [
        {"label": label, "score": score} for label, score in (("dog", 0.9), ("dog", 0.8), ("cat", 0.4), ("bus", 0.3))
    ]
    item = Item("0", None, annotations={"detection": Annotation({"objects": objects})})
    assert DetectedNames().annotate([item])[0].values == {"names": ["dog", "cat"], "num_names": 2}
    assert DetectedNames(max_names=1).annotate([item])[0].values["names"] == ["dog"]
    with pytest.raises(ConfigError, match="max_names of names must be at least 1"):
        DetectedNames(max_names=0)
