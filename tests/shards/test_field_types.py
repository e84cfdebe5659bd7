"""PYTHONPATH=. python -m pytest tests/shards/test_field_types.py"""

import json

import pyarrow as pa
import pytest

from onegen.shards.field_types import type_from_json, type_to_json

TYPES = [
    *(pa.type_for_alias(name) for name in ("bool", "int8", "int64", "uint64", "float", "double", "string")),
    pa.list_(pa.list_(pa.int32())),
    pa.struct([("box", pa.list_(pa.float32())), ("list", pa.struct([("a", pa.bool_())]))]),
    pa.struct([]),
]


@pytest.mark.parametrize("kind", TYPES, ids=str)
def test_a_type_comes_back_from_json(kind):
    assert type_from_json(json.loads(json.dumps(type_to_json(kind)))).equals(kind)


@pytest.mark.parametrize(
    "value", ["map", "", None, 5, [], {}, {"list": "int64", "more": 1}, {"list": None}, {"struct": "a"}]
)
def test_json_that_is_no_type_is_refused(value):
    with pytest.raises(ValueError, match="type must be one of bool, "):
        type_from_json(value)


@pytest.mark.parametrize("kind", [pa.binary(), pa.list_(pa.date32()), pa.map_(pa.string(), pa.string())], ids=str)
def test_a_type_no_field_has_is_refused(kind):
    with pytest.raises(ValueError, match="field must be of one of bool, "):
        type_to_json(kind)
