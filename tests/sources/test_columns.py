"""Names of columns. PYTHONPATH=. python -m pytest tests/sources/test_columns.py"""

import pyarrow as pa
import pytest

from onegen.sources.reading.columns import column_type, column_value, stored_columns

ROW = {
    "images": ["a", "b", None],
    "none": None,
    "sample": {"images": ["c", "d"], "deep": [[1], [2, 3]], "lost": None},
    "turns": [{"say": "one"}, {"say": "two"}, None],
    "own[0]": "of its own",
    "own": ["of the list"],
    "about.texts": ["dotted"],
}
SCHEMA = pa.RecordBatch.from_pylist([ROW]).schema


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("images[0]", "a"),
        ("images[1]", "b"),
        ("images[2]", None),
        ("images[-1]", None),
        ("images[-3]", "a"),
        ("images[3]", None),
        ("images[-4]", None),
        ("sample.images[0]", "c"),
        ("sample.images[-1]", "d"),
        ("sample.deep[1][0]", 2),
        ("sample.deep[5][0]", None),
        ("turns[1].say", "two"),
        ("turns[2].say", None),
        ("own[0]", "of its own"),
        ("own[-1]", "of the list"),
        ("about.texts[0]", "dotted"),
        ("images", ["a", "b", None]),
    ],
)
def test_a_name_with_brackets_means_an_entry_of_a_list(name, value):
    assert column_value(ROW, name) == value
    kind = column_type(SCHEMA, name)
    assert kind is not None
    assert pa.array([value], kind)[0].as_py() == value


def test_an_entry_of_what_is_null_is_null():
    row = {"images": None, "sample": None}
    assert [column_value(row, name) for name in ("images[0]", "sample.images[0]")] == [None, None]


@pytest.mark.parametrize(
    "name", ["images[a]", "images[]", "images[0", "picture[0]", "sample[0]", "images[0][0]", "[0]"]
)
def test_other_names_with_brackets_mean_no_column(name):
    assert column_type(SCHEMA, name) is None


def test_text_has_no_elements():
    assert column_value({"word": "abc"}, "word[0]") is None


def test_a_list_is_read_whole():
    assert stored_columns("about.images[0][-1].say") == ["about.images[0][-1].say", "about.images"]
    assert stored_columns("about.images") == ["about.images"]
