"""How one row speaks of several images.

PYTHONPATH=. python -m pytest tests/shards/test_views.py
"""

import pyarrow as pa
import pytest

from onegen.errors import ConfigError
from onegen.sample import Part, Provides
from onegen.shards.index import IMAGE_FIELDS, Row, from_table, to_table
from onegen.shards.views import OTHERS, check_names, joined_parts, joined_values, split_name, stored_fields, values_of
from onegen.shards.where import evaluate_rows

FIELDS = {"level": pa.float64(), "word": pa.string()}
SCOPE = {"tone": FIELDS, "image": {"width": pa.int32()}}


def row(position: int, *images: dict[str, object], status: str = "ok") -> Row:
    return Row(position, f"k{position}", status, values=joined_values(images) if images else {})


def test_one_image_is_stored_as_it_is():
    assert stored_fields("tone", FIELDS, "image") == FIELDS
    assert joined_values([{"level": 1.0}]) == {"level": 1.0}
    assert joined_parts([{"jpg": b"1"}]) == {"jpg": b"1"}


def test_each_further_image_has_its_own_values_and_parts():
    images = [{"level": 1.0, "word": "a"}, {"level": 2.0}, {"word": "c"}]
    joined = joined_values(images)
    assert joined["level"] == 1.0
    joined_row = Row(0, "k", "ok", values=joined)
    fields = stored_fields("tone", FIELDS, "scene")
    (back,) = from_table(to_table([joined_row], fields, "scene", "tone@1"))
    whole = [{"level": 1.0, "word": "a"}, {"level": 2.0, "word": None}, {"level": None, "word": "c"}]
    assert [values_of(back, index) for index in range(3)] == whole
    parts = joined_parts([{"jpg": b"1"}, {"png": b"2", "depth.png": b"3"}])
    assert parts == {"jpg": b"1", "img1.png": b"2", "img1.depth.png": b"3"}
    assert [split_name(name) for name in parts] == [(0, "jpg"), (1, "png"), (1, "depth.png")]
    assert split_name("img12.hed.png") == (12, "hed.png")
    assert split_name("imgx.png") == (0, "imgx.png")


def test_values_are_kept_where_the_first_image_has_none():
    assert joined_values([{}, {"level": 2.0}]) == {OTHERS: [{"level": 2.0}]}
    assert joined_values([{}, {}]) == {}, "a column of parts alone has nothing to say of any"


def test_what_is_said_of_the_whole_sample_holds_for_each_image():
    assert values_of(Row(0, "k", "ok", values={"word": "both", OTHERS: None}), 1) == {"word": "both"}


def test_the_image_column_repeats_what_is_an_images_own():
    fields = stored_fields("image", IMAGE_FIELDS, "pair")
    assert [*fields][: len(IMAGE_FIELDS)] == [*IMAGE_FIELDS]
    own = [field.name for field in fields[OTHERS].value_type]
    assert own == ["width", "height", "phash", "caption", "licence", "attribution"]
    assert {"instruction", "subject"} <= set(fields)


def test_a_rule_must_hold_for_every_image():
    rows = {
        "tone": [
            row(0, {"level": 0.1}, {"level": 0.2}),
            row(1, {"level": 0.1}, {"level": 0.9}),
            row(2, {"level": 0.9}, {"level": 0.1}),
            row(3, {"level": 0.1}, {"level": None}),
            row(4, status="failed"),
        ],
        "image": [row(n, {"width": 1}, {"width": 2}) for n in range(5)],
    }
    assert evaluate_rows("tone.level < 0.5", rows, {"tone": FIELDS}).holds == [True, False, False, False, False]
    assert evaluate_rows("tone.level < 0.5 AND width < 3", rows, SCOPE).holds == [True, False, False, False, False]
    assert evaluate_rows("width < 2", rows, {"image": SCOPE["image"]}).holds == [False] * 5
    assert evaluate_rows("tone.level IS NULL", rows, {"tone": FIELDS}).holds == [False, False, False, False, True]


def test_a_rule_may_name_a_column_of_the_whole_sample_beside_one_of_each_image():
    rows = {
        "said": [Row(0, "k", "ok", values={"score": 3, OTHERS: None})],
        "tone": [row(0, {"level": 1.0}, {"level": 2.0})],
    }
    scope = {"said": {"score": pa.int64()}, "tone": FIELDS}
    assert evaluate_rows("score = 3 AND level >= 1", rows, scope).holds == [True]
    assert evaluate_rows("score = 3 AND level = 1", rows, scope).holds == [False]


@pytest.mark.parametrize(
    "provides", [Provides(fields={OTHERS: pa.string()}), Provides((Part("img1.depth.png", "gray16"),))]
)
def test_names_that_several_images_need_are_refused(provides):
    with pytest.raises(
        ConfigError, match=r"must not call a field 'others' or 'dropped_images' nor a part 'img1.x', got"
    ):
        check_names("mine", provides)
    check_names("mine", Provides((Part("imgs.png", "gray8"),), {"other": pa.string()}))
