"""Names of what a picture has: out of answers, out of detections, and asked of a small server of this process.

PYTHONPATH=. python -m pytest tests/annotators/test_names.py
"""

import pytest

from onegen.annotators.names import PROMPT, parse_names
from onegen.annotators.names.embedded import DetectedNames
from onegen.annotators.names.server import KEY, ServedNames
from onegen.errors import ConfigError, SampleError
from onegen.pixels.boxes import box_fields
from onegen.sample import Annotation, Item
from tests.annotators.test_caption_server import Endpoint, endpoint, item, says

__all__ = ["endpoint"]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("cat, dog", ["cat", "dog"]),
        ("A cat, the dog, and a Traffic Light.", ["cat", "dog", "traffic light"]),
        ("a cat and a dog", ["cat", "dog"]),
        ("a cat. a dog.", ["cat", "dog"]),
        ("cat\ndog\n", ["cat", "dog"]),
        ("1. Cat\n2. Dog\n3. cat", ["cat", "dog"]),
        ("1. cat 2. dog 3. bird", ["cat", "dog", "bird"]),
        ("(1) cat\n(2) dog", ["cat", "dog"]),
        ("- **Cat**\n- a \"dog\"\n", ["cat", "dog"]),
        ("* cat: it sleeps on a sofa, next to the window\n* dog (brown, very old)", ["cat", "dog"]),
        ("Here are the things that can be seen:\n\n- cat\n- dog", ["cat", "dog"]),
        ("Objects: cat, dog", ["cat", "dog"]),
        ('["cat", "a dog", 3]', ["cat", "dog"]),
        ("['cat', 'dog']", ["cat", "dog"]),
        ('```json\n["cat", "dog"]\n```', ["cat", "dog"]),
        ("cat; dog; 7; <loc_3>; [[", ["cat", "dog"]),
        ("teddy bear, men's shoes, t-shirt, café", ["teddy bear", "men's shoes", "t-shirt", "café"]),
        ("cat, a dog that sits on a chair, sofa", ["cat", "sofa"]),
        ("cat, in the background, 猫, etc", ["cat"]),
        ("cat", ["cat"]),
    ],
)  # fmt: skip
def test_lists_of_every_form_are_names(text, names):
    assert parse_names(text, 10) == names


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n",
        "[]",
        "{}",
        "1, 2, 3",
        "none",
        "A cat sleeps on a red sofa.",
        "A cat sleeps on a red sofa, with a window behind it.",
        "The picture shows a cat. It is asleep. There is a sofa.",
        "I'm sorry, but I can't help with that.",
        "A man, a woman, a child, and a dog walk along a beach near the sea at dusk.",
        "一只猫, 一条狗",
        '{"names": 3}',
    ],
)
def test_prose_and_nothing_are_no_names(text):
    with pytest.raises(SampleError) as caught:
        parse_names(text, 10)
    assert caught.value.reason == "bad_names"


def test_the_first_names_are_kept():
    assert parse_names("a, cat, dog, cat, bird", 2) == ["cat", "dog"]


def detected(*things: tuple[str, float]) -> Item:
    objects = [{"label": label, "score": score, **box_fields((0.0, 0.0, 4.0, 4.0))} for label, score in things]
    return Item("k", None, annotations={"detection": Annotation({"objects": objects})})


def test_what_was_detected_is_named_once_and_best_first():
    given = detected(("dog", 0.9), ("traffic light", 0.8), ("dog", 0.7), ("Cat.", 0.35), ("cup", 0.34))
    assert DetectedNames().annotate([given, detected()]) == [
        Annotation({"names": ["dog", "traffic light", "cat"], "num_names": 3}),
        Annotation({"names": [], "num_names": 0}),
    ]
    assert DetectedNames(max_names=1, min_score=0.0).annotate([given])[0].values["names"] == ["dog"]


def served(endpoint: Endpoint, **options: object) -> ServedNames:
    return ServedNames(model="see", url=endpoint.url, pause_seconds=0.0, **options)


def test_a_server_is_asked_for_names(endpoint, monkeypatch):
    monkeypatch.setenv(KEY, "s3cret")
    endpoint.reply = lambda question, number: says("A cat, a sofa, a window.")
    assert served(endpoint, max_names=2).annotate([item()]) == [Annotation({"names": ["cat", "sofa"], "num_names": 2})]
    (question,) = endpoint.asked
    assert question["messages"][0]["content"][0]["text"] == PROMPT
    assert endpoint.headers[0]["Authorization"] == "Bearer s3cret"


@pytest.mark.parametrize("bad", [says("A cat sleeps on a red sofa."), says(""), says("cat, sofa, wind", "length")])
def test_what_is_no_list_is_asked_for_once_more_and_then_fails(endpoint, bad):
    endpoint.reply = lambda question, number: bad if number == 0 else says("cat, sofa")
    assert served(endpoint).annotate([item()])[0].values["names"] == ["cat", "sofa"]
    endpoint.reply = lambda question, number: bad
    with pytest.raises(SampleError, match="see said twice") as caught:
        served(endpoint).annotate([item(1)])
    assert caught.value.reason == "bad_names"


def test_useless_options_are_refused(endpoint):
    for make in (lambda: DetectedNames(min_score=2), lambda: DetectedNames(max_names=0)):
        with pytest.raises(ConfigError, match="of names must be"):
            make()
    with pytest.raises(ConfigError, match="max_names of names"):
        served(endpoint, max_names=0)
    with pytest.raises(ConfigError, match="max_side of names"):
        served(endpoint, max_side=3)
