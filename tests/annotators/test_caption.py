import numpy as np
import pytest

from onegen.annotators.caption import clean
from onegen.annotators.caption.embedded import Caption, article, colour_name, describe, enumerate_, plural, reconcile
from onegen.annotators.classes import Classes
from onegen.annotators.detection.embedded import Detection
from onegen.errors import ConfigError
from onegen.sample import Annotation, Item
from tests.packaged import bring_models, item

GREY = np.full((100, 100, 3), 128, np.uint8)
BLUE = np.full((100, 100, 3), (30, 60, 200), np.uint8)


def thing(label: str, x0: float, y0: float, x1: float, y1: float, score: float = 0.9) -> dict:
    return {"label": label, "score": score, "x0": x0, "y0": y0, "x1": x1, "y1": y1}


def captioned(given: Item, objects: list[dict], classes: list[dict], **options: float) -> dict:
    said = {"detection": Annotation({"objects": objects}), "classes": Annotation({"classes": classes})}
    return dict(Caption(**options).annotate([Item(given.key, given.pixels, given.caption, said)])[0].values)


def test_the_bus_photo_reads_well():
    bring_models()
    given = item("bus.jpg", "People walk past a blue bus")
    values = captioned(
        given,
        Detection().annotate([given])[0].values["objects"],
        Classes().annotate([given])[0].values["classes"],
    )
    assert values["caption"] == (
        "People walk past a blue bus. The picture shows two people and a bus. "
        "The bus is mostly blue and large, in the middle. The people are on the left."
    )
    assert values["captioner"] == "composed"
    assert values["num_words"] == 30
    assert values["original"] == "People walk past a blue bus"


def test_without_anything_known_little_is_said():
    values = captioned(Item("k", GREY), [], [])
    assert values == {"caption": "A black-and-white photo.", "captioner": "composed", "num_words": 3, "original": None}
    assert captioned(Item("k", BLUE), [], [])["caption"] == "A photo. Most of the picture is blue."


def test_unlikely_things_are_not_mentioned():
    unlikely = [thing("dog", 0, 0, 50, 50, score=0.49)], [{"index": 1, "label": "goldfish", "score": 0.5}]
    assert captioned(Item("k", GREY), *unlikely)["caption"] == "A black-and-white photo."
    likely = captioned(Item("k", GREY), *unlikely, min_score=0.4, min_class_score=0.4)["caption"]
    assert likely.startswith("A black-and-white photo of a goldfish.")  # an animal, named by who knows more animals


@pytest.mark.parametrize(("level", "said"), [(55, "It is dark."), (70, ""), (185, ""), (195, "It is bright.")], ids=str)
def test_very_dark_and_very_bright_pictures_are_called_so(level, said):
    expected = f"A black-and-white photo. {said}".strip()
    assert captioned(Item("k", np.full((9, 9, 3), level, np.uint8)), [], [])["caption"] == expected


def test_where_and_what_colour():
    picture = np.zeros((100, 200, 3), np.uint8)
    picture[:, 100:] = (200, 30, 30)
    said = describe([thing("car", 120, 10, 190, 90), thing("cat", 5, 5, 20, 15)], None, picture, original="")
    assert said[:3] == [
        "A photo of a car and a cat.",
        "The car is mostly red and large, on the right.",
        "The cat is mostly black and small, on the left.",
    ]


def test_several_of_a_kind_are_one_sentence():
    left, right = thing("dog", 0, 0, 30, 40), thing("dog", 70, 60, 100, 99)
    assert "One dog is on the left; another is on the right." in describe([left, right], None, GREY, "")
    assert "The dogs are on the left." in describe([left, left], None, GREY, "")


def test_two_hundred_people_are_many():
    assert enumerate_(["person"] * 200) == "many people"
    assert enumerate_(["person"] * 12 + ["dog"]) == "twelve people and a dog"
    assert enumerate_(["cat", "apple", "knife", "knife"]) == "a cat, an apple and two knives"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("bus", "buses"),
        ("bench", "benches"),
        ("person", "people"),
        ("sheep", "sheep"),
        ("toy", "toys"),
        ("cherry", "cherries"),
    ],
)
def test_plurals(name, expected):
    assert plural(name) == expected


def test_articles():
    assert [article(name) for name in ("apple", "bus", "Egyptian cat", "scissors", "sheep")] == [
        "an apple",
        "a bus",
        "an Egyptian cat",
        "scissors",
        "a sheep",
    ]


def test_a_class_names_the_animal_and_repeats_nothing():
    cheetah, minibus, tripod = (
        {"index": index, "label": label, "score": 0.9}
        for index, label in ((293, "cheetah"), (654, "minibus"), (872, "tripod"))
    )
    bird, bus, person = thing("bird", 0, 0, 30, 30), thing("bus", 0, 0, 90, 90), thing("person", 0, 0, 90, 90)
    shape = (100, 100, 3)
    assert reconcile([person, bird], cheetah, shape) == (["person", "cheetah"], "")
    assert reconcile([bus], minibus, shape) == (["bus"], "")
    assert reconcile([person], tripod, shape) == (["person"], "tripod")
    assert reconcile([bus], None, shape) == (["bus"], "")


def test_what_the_original_says_is_not_said_again():
    tripod = {"index": 872, "label": "tripod", "score": 0.9}
    assert describe([], tripod, BLUE, "A man.") == [
        "There seems to be a tripod.",
        "Most of the picture is blue.",
    ]
    assert describe([], tripod, BLUE, "A film camera on a Tripod.") == ["Most of the picture is blue."]
    assert describe([], tripod, BLUE, "Tripods.")[0] == "There seems to be a tripod."
    assert describe([], None, GREY, "A camera.") == ["The picture is black and white."]
    assert describe([], None, GREY, "A camera in black and white.") == []


def test_a_hostile_caption_becomes_plain_text():
    assert clean("[[canny2image]] a\x00 cat\x1b\n\ton <#FF0000 red mask: cat> mat,", 50) == (
        "canny2image a cat on FF0000 red mask: cat> mat."
    )
    assert clean("  \u202e \n ", 50) == ""
    assert clean("a lone \ud800 half", 50) == "a lone half."
    assert len(clean("word " * 20_000, 120).split()) == 120


def test_a_long_original_is_cut_in_the_caption_and_kept_beside_it():
    long = "word " * 20_000
    values = captioned(Item("k", GREY, long), [], [])
    assert values["original"] == long
    assert values["num_words"] == 126  # and "The picture is black and white."
    assert "\ud800" not in captioned(Item("k", GREY, "\ud800"), [], [])["original"]


@pytest.mark.parametrize(
    ("rgb", "name"),
    [
        ((0, 0, 0), "black"),
        ((255, 255, 255), "white"),
        ((128, 128, 128), "grey"),
        ((220, 20, 20), "red"),
        ((240, 150, 20), "orange"),
        ((120, 75, 20), "brown"),
        ((240, 230, 30), "yellow"),
        ((30, 160, 40), "green"),
        ((30, 60, 200), "blue"),
        ((150, 30, 200), "purple"),
    ],
)
def test_colours_have_their_names(rgb, name):
    assert colour_name(np.full((4, 4, 3), rgb, np.uint8)) == name


def test_a_mixture_has_no_colour():
    stripes = np.zeros((3, 9, 3), np.uint8)
    stripes[0], stripes[1], stripes[2] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    assert colour_name(stripes) == ""
    assert colour_name(np.zeros((0, 4, 3), np.uint8)) == ""


@pytest.mark.parametrize("options", [{"min_score": 2}, {"min_class_score": -1}, {"max_original_words": -1}])
def test_useless_options_are_refused(options):
    with pytest.raises(ConfigError, match="of caption must"):
        Caption(**options)
