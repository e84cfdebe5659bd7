"""What becomes of a row that raised. PYTHONPATH=. python -m pytest tests/build/test_outcome.py"""

import pytest

from onegen.build.outcome import MESSAGE_LIMIT, failed
from onegen.errors import SampleError


class HTTPRangeError(Exception):
    pass


@pytest.mark.parametrize(
    ("error", "reason", "is_expected"),
    [
        (SampleError("too_dark", "it is dark."), "too_dark", True),
        (ValueError("no"), "value_error", False),
        (ZeroDivisionError(), "zero_division_error", False),
        (HTTPRangeError(), "httprange_error", False),
    ],
)
def test_the_reason_is_the_samples_own_or_the_exception_in_snake_case(error, reason, is_expected):
    outcome = failed("k", error)
    assert (outcome.status, outcome.reason, outcome.is_expected) == ("failed", reason, is_expected)
    assert outcome.key == "k"


def test_an_unexpected_exception_is_named_in_the_message_and_cut():
    assert failed(None, ValueError("no")).message == "ValueError: no"
    assert len(failed(None, ValueError("x" * 9000)).message) == MESSAGE_LIMIT
    assert len(failed(None, SampleError("long", "x" * 9000)).message) == MESSAGE_LIMIT


def test_what_is_known_of_the_row_stays_with_it():
    assert failed(None, SampleError("gone", "it is gone."), {"item": "a.jpg"}).values == {"item": "a.jpg"}
    assert failed(None, ValueError()).values == {}
