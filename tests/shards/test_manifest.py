"""PYTHONPATH=. python -m pytest tests/shards/test_manifest.py"""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from onegen.shards.manifest import (
    Counts,
    FailureRecord,
    FileRecord,
    Manifest,
    Producer,
    fingerprint,
    inputs_digest,
    settings_difference,
)
from tests.fabricated import RUN
from tests.properties import PROPERTY

SETTINGS = {"name": "hed", "version": 1, "options": {"size": 512, "blur": None}, "weights": []}
MANIFEST = Manifest(
    column="hed",
    shard=3,
    kind="image",
    counts=Counts(rows=3, ok=2, failed=1),
    files={"000003-abcdef01.tar": FileRecord(size=10, sha256="a" * 64)},
    digest="d" * 64,
    inputs={"image": "e" * 64},
    input_digest=inputs_digest({"image": "e" * 64}, None),
    fingerprint=fingerprint(SETTINGS),
    settings=SETTINGS,
    producer=Producer(name="hed", version=1),
    run=RUN.model_copy(
        update={"failures": [FailureRecord(position=2, item="a/é.jpg", reason="crash", message="boom", attempts=3)]}
    ),
)


def test_a_manifest_is_read_as_it_was_written():
    data = MANIFEST.to_json()
    assert Manifest.model_validate_json(data) == MANIFEST
    assert Manifest.model_validate_json(data).to_json() == data


@PROPERTY
@given(*[st.integers(0, 50)] * 4, st.integers(-3, 3))
def test_rows_that_do_not_balance_make_no_manifest(ok, skipped, filtered, failed, excess):
    rows = ok + skipped + filtered + failed + excess
    counts = {"ok": ok, "skipped": skipped, "filtered": filtered, "failed": failed}
    if excess == 0:
        assert Counts(rows=rows, **counts).rows == rows
    else:
        with pytest.raises(ValidationError, match=f"got {rows} in and {rows - excess} out"):
            Counts(rows=rows, **counts)


def test_a_written_manifest_that_does_not_balance_is_refused():
    data = MANIFEST.to_json().replace(b'"ok": 2', b'"ok": 1')
    with pytest.raises(ValidationError, match="rows in must equal"):
        Manifest.model_validate_json(data)


@pytest.mark.parametrize(
    ("old", "new"), [(b'"schema_version": 1', b'"schema_version": 2'), (b'"shard"', b'"shrad"'), (b'"digest"', b'"x"')]
)
def test_another_schema_is_refused(old, new):
    assert old in MANIFEST.to_json()
    with pytest.raises(ValidationError):
        Manifest.model_validate_json(MANIFEST.to_json().replace(old, new))


def test_the_fingerprint_does_not_depend_on_the_order_of_options():
    assert fingerprint(dict(reversed(SETTINGS.items()))) == fingerprint(SETTINGS)
    assert fingerprint({**SETTINGS, "version": 2}) != fingerprint(SETTINGS)


def test_the_input_digest_covers_inputs_and_where():
    inputs = {"image": "a", "select": "b"}
    assert inputs_digest(dict(reversed(inputs.items())), None) == inputs_digest(inputs, None)
    assert len({inputs_digest(inputs, where) for where in (None, "", "nsfw < 0.5")}) == 3
    assert inputs_digest({"image": "b", "select": "a"}, None) != inputs_digest(inputs, None)


def test_the_label_names_version_and_weights():
    assert Producer(name="scores", version=2).label() == "scores@2"
    weights = [{"name": "w", "sha256": "0123456789abcdef"}, {"name": "v", "sha256": "fedcba9876543210"}]
    assert Producer(name="hed", version=1, weights=weights).label() == "hed@1+01234567+fedcba98"


def test_a_difference_names_the_option_and_both_values():
    new = {"name": "hed", "version": 2, "options": {"size": 256, "steps": 4, "blur": None}, "weights": []}
    assert settings_difference(SETTINGS, new) == [
        "options.size: 512 -> 256",
        "options.steps: None -> 4",
        "version: 1 -> 2",
    ]
    assert settings_difference(SETTINGS, SETTINGS) == []
