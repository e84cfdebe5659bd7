"""PYTHONPATH=. python -m pytest tests/shards/test_index.py"""

import json
import math
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onegen.sample import STATUSES
from onegen.shards.canonical import canonical
from onegen.shards.index import (
    BASE,
    IMAGE_FIELDS,
    Row,
    bare_table,
    digest,
    from_table,
    table_digest,
    to_parquet,
    to_table,
)
from onegen.shards.tar import Member
from tests.properties import FEW, PROPERTY

FIELDS = {
    "text": pa.string(),
    "count": pa.int32(),
    "hash": pa.uint64(),
    "score": pa.float32(),
    "boxes": pa.list_(pa.list_(pa.float32())),
}
HEX = st.text("0123456789abcdef", min_size=64, max_size=64)
MEMBERS = st.builds(Member, st.sampled_from(["jpg", "hed.png"]), st.integers(0, 2**40), st.integers(0, 2**33), HEX)
FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)
VALUES = st.fixed_dictionaries(
    {},
    optional={
        "text": st.none() | st.text(st.characters(codec="utf-8"), max_size=8),
        "count": st.none() | st.integers(-(2**31), 2**31 - 1),
        "hash": st.none() | st.integers(0, 2**64 - 1),
        "score": st.none() | FLOATS,
        "boxes": st.none() | st.lists(st.lists(FLOATS, max_size=4), max_size=3),
    },
)
ROWS = st.lists(
    st.builds(
        Row,
        position=st.just(0),
        key=st.none() | st.text("0123456789abcdef", min_size=20, max_size=20),
        status=st.sampled_from(STATUSES),
        reason=st.none() | st.sampled_from(["crash", "image:failed"]),
        parts=st.lists(MEMBERS, max_size=3).map(tuple),
        input_digest=HEX,
        values=VALUES,
    ),
    max_size=6,
).map(lambda rows: [replace(row, position=position) for position, row in enumerate(rows)])


@PROPERTY
@given(ROWS)
def test_rows_survive_arrow_and_parquet(rows):
    table = to_table(rows, FIELDS, "image", "test@1")
    restored = from_table(pq.read_table(pa.BufferReader(to_parquet(table))))
    assert [replace(row, values={}) for row in restored] == [replace(row, values={}) for row in rows]
    for row, was in zip(restored, rows, strict=True):
        assert {name: value for name, value in row.values.items() if value is not None} == {
            name: value for name, value in was.values.items() if value is not None
        }
    assert digest(restored) == digest(rows)


@FEW
@given(ROWS)
def test_equal_rows_give_equal_bytes(rows):
    first, second = (to_parquet(to_table(rows, FIELDS, "image", "test@1")) for _ in range(2))
    assert first == second


def test_every_field_is_there_also_without_rows():
    table = to_table([], IMAGE_FIELDS, "image", "image@1")
    assert table.schema == pa.schema(list(BASE.items()) + list(IMAGE_FIELDS.items()))
    assert from_table(pq.read_table(pa.BufferReader(to_parquet(table)))) == []


@pytest.mark.parametrize("values", [{"count": 2**31}, {"hash": -1}, {"count": "three"}, {"text": 5}, {"boxes": [1.0]}])
def test_a_value_that_is_not_of_its_fields_type_is_refused(values):
    with pytest.raises((pa.ArrowInvalid, pa.ArrowTypeError, OverflowError)):
        to_table([Row(0, None, "ok", values=values)], FIELDS, "image", "test@1")


ROW = Row(0, "k" * 20, "ok", None, (Member("jpg", 512, 3, "a" * 64),), "b" * 64, {"score": 0.5, "text": None})


@pytest.mark.parametrize(
    "other",
    [
        replace(ROW, key="j" * 20),
        replace(ROW, status="failed"),
        replace(ROW, reason="crash"),
        replace(ROW, values={"score": 0.25}),
        replace(ROW, values={"score": 0.5, "text": ""}),
        replace(ROW, parts=(Member("png", 512, 3, "a" * 64),)),
        replace(ROW, parts=(Member("jpg", 512, 3, "c" * 64),)),
        replace(ROW, parts=()),
    ],
)
def test_the_digest_covers_what_a_row_says(other):
    assert digest([ROW]) != digest([other])


@pytest.mark.parametrize(
    "other",
    [
        replace(ROW, parts=(Member("jpg", 9999, 3, "a" * 64),)),
        replace(ROW, input_digest="c" * 64),
        replace(ROW, values={"score": 0.5}),
    ],
)
def test_the_digest_does_not_cover_where_things_lie_or_came_from(other):
    assert digest([ROW]) == digest([other])


def test_the_digest_depends_on_the_order_of_rows():
    other = replace(ROW, key="j" * 20)
    assert digest([ROW, other]) != digest([other, ROW])
    assert digest([]) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_nan_and_infinity_are_refused(value):
    with pytest.raises(ValueError, match="not JSON compliant"):
        digest([replace(ROW, values={"score": value})])


def test_canonical_json_is_sorted_compact_utf8():
    text = canonical({"b": [1, 2.5, None, True], "a": "é"})
    assert text == '{"a":"é","b":[1,2.5,null,true]}'.encode()
    assert canonical(json.loads(text)) == text


@PROPERTY
@given(ROWS)
def test_the_digest_of_a_table_is_that_of_its_rows(rows):
    table = to_table(rows, FIELDS, "image", "test@1")
    assert table_digest(table) == digest(from_table(table))
    bare = [Row(row.position, row.key, row.status, row.reason) for row in rows]
    for fields in ({}, FIELDS):
        table = to_table(bare, fields, "image", "test@1")
        assert table_digest(table) == digest(from_table(table))


@pytest.mark.parametrize("key", [None, "", '"', "\\", "\u2028é\n", "0a-_"])
def test_it_writes_keys_as_canonical_json_does(key):
    table = to_table([Row(0, key, "ok"), Row(1, key, "failed", 'a "b"')], FIELDS, "image", "test@1")
    assert table_digest(table) == digest(from_table(table))


def test_a_table_of_bare_rows_has_the_bytes_of_one_made_row_by_row():
    rows = [
        Row(0, "a" * 20, "ok"),
        Row(1, None, "skipped", "image:failed"),
        Row(2, "b" * 20, "filtered", "rule:sharp"),
        Row(3, "a" * 20, "filtered", "duplicate", values={"text": "a" * 20}),
    ]
    expected = to_table(rows, FIELDS, "pair", "select@2", 7)
    keys = expected.column("key")
    values = {name: expected.column(name).to_pylist() for name in ("status", "reason", "text")}
    made = bare_table(keys, FIELDS, "pair", "select@2", 7, values)
    assert made.equals(expected)
    assert to_parquet(made) == to_parquet(expected)
