"""PYTHONPATH=. python -m pytest tests/sources/test_metadata.py"""

import math

import pyarrow as pa
import pytest

from onegen.errors import ConfigError, SampleError
from onegen.sources.reading.metadata import JsonTypes, KeptTypes, check_kept

NUMBERS = pa.struct([("n", pa.int64())])
RATIOS = pa.struct([("n", pa.float64()), ("m", pa.string())])


@pytest.mark.parametrize(
    ("one", "other", "joined"),
    [
        (pa.null(), pa.int32(), pa.int32()),
        (pa.null(), pa.null(), pa.string()),
        (pa.int64(), pa.float64(), pa.float64()),
        (pa.int32(), pa.float32(), pa.float64()),
        (pa.float32(), pa.float64(), pa.float64()),
        (pa.int32(), pa.int64(), pa.int64()),
        (pa.uint64(), pa.int8(), pa.int64()),
        (pa.list_(pa.null()), pa.list_(pa.string()), pa.list_(pa.string())),
        (pa.list_(pa.int64()), pa.list_(pa.float32()), pa.list_(pa.float64())),
        (NUMBERS, RATIOS, RATIOS),
        (pa.struct([("n", pa.null())]), NUMBERS, NUMBERS),
    ],
)
def test_a_field_has_the_type_that_holds_what_all_files_say(one, other, joined):
    for pair in ((one, other), (other, one)):
        types = KeptTypes()
        for kind in pair:
            types.add("s", kind, "a file")
        (settled,) = types.settled().values()
        assert settled.equals(joined) or {f.name: f.type for f in settled} == {f.name: f.type for f in joined}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (pa.string(), pa.int64()),
        (pa.bool_(), pa.int64()),
        (pa.list_(pa.string()), pa.string()),
        (pa.list_(pa.string()), pa.list_(pa.int64())),
        (NUMBERS, pa.struct([("n", pa.string())])),
    ],
)
def test_what_does_not_go_together_is_refused_with_field_and_places(one, other):
    types = KeptTypes()
    types.add("s", pa.null(), "first")
    types.add("s", one, "second")
    with pytest.raises(ConfigError, match=r"got .* of 's' in second and .* in third\. Make the files agree"):
        types.add("s", other, "third")


GOOD = [
    (None, pa.int64()), (5, pa.float64()), (5, pa.int64()), (2**63 - 1, pa.int64()), (2**63, pa.uint64()),
    (0.1, pa.float64()), (0.5, pa.float32()), (math.nan, pa.float32()), (-math.inf, pa.float64()), (True, pa.bool_()),
    ("\ud800", pa.string()), ([1, None], pa.list_(pa.int64())), ({"n": 1}, RATIOS), (2**60, pa.float64()),
]  # fmt: skip
BAD = [
    (5.9, pa.int64()), (5.0, pa.int64()), (2**63, pa.int64()), (-1, pa.uint64()), (300, pa.int8()), (True, pa.int64()),
    (2**53 + 1, pa.float64()), (10**400, pa.float64()), (0.1, pa.float32()), (1, pa.string()), ("1", pa.int64()),
    ([1.5], pa.list_(pa.int64())), ({"n": 1, "k": 2}, RATIOS), ({"n": 0.5}, NUMBERS), (1, pa.bool_()),
    (1e300, pa.float32()), (10**300, pa.float32()), (2**24 + 1, pa.float32()),
]  # fmt: skip


@pytest.mark.parametrize(("value", "kind"), GOOD)
def test_a_value_that_comes_back_as_it_is_is_kept(value, kind):
    check_kept("n", value, kind, "a row")


@pytest.mark.parametrize(("value", "kind"), BAD)
def test_a_value_that_would_be_cut_fails_its_row(value, kind):
    with pytest.raises(SampleError, match="^n must fit its type .* in a row") as caught:
        check_kept("n", value, kind, "a row")
    assert caught.value.reason == "bad_metadata"


def test_json_of_too_many_names_asks_for_a_choice():
    types = JsonTypes()
    types.add({str(number): None for number in range(1000)}, "one.tar")
    with pytest.raises(ConfigError, match=r"at most 1,000 names to keep them all, got more by other\.tar. Choose"):
        types.add({"one more": 1}, "other.tar")
