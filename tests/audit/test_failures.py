"""Which rows are told as failed, and what is told of them.

PYTHONPATH=. python -m pytest tests/audit/test_failures.py
"""

import json
from pathlib import Path

import pytest

from onegen.audit.failures import Failure, find_failures
from onegen.errors import ConfigError
from onegen.sample import PACKED
from tests.tiny import dataset, make_recipe, manifest_json, run, write_photos


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Five images in two shards: one that cannot be read, and one that its annotator fails on."""
    write_photos(tmp_path / "photos", 5, {3: "sample"})
    (tmp_path / "photos" / "00000.png").write_bytes(b"")
    stages = [{"name": "risk", "annotators": {"tests.plugins.poison": {"cure": str(tmp_path / "cure")}}}]
    view = {"columns": ["image"], "require": ["image", "poison"]}
    run(make_recipe(tmp_path / "photos", stages, samples_per_shard=3, pack=view), tmp_path / "out")
    return tmp_path / "out"


def items(out: Path, stage: str | None = None, reason: str = "*") -> list[tuple[str, str, str]]:
    return [(failure.item, failure.column, failure.reason) for failure in find_failures(dataset(out), stage, reason)]


EMPTY = ("00000.png", "image", "empty_file")
POISON = ("00003.jpg", "poison", "bad_sample")


def test_every_failed_row_of_every_column_is_told_once(out: Path) -> None:
    assert dataset(out).counts(PACKED).failed == 2  # the view fails no row of its own
    first, second = find_failures(dataset(out))
    assert (first.shard, first.position, first.attempts) == (0, 0, 1)
    assert first.message
    assert (second.shard, second.position) == (1, 0)
    assert second.key
    assert items(out) == [EMPTY, POISON]


@pytest.mark.parametrize(
    ("stage", "reason", "expected"),
    [
        ("risk", "*", [POISON]),
        ("poison", "*", [POISON]),
        ("image", "*", [EMPTY]),
        ("source", "*", []),
        (None, "empty_*", [EMPTY]),
        (None, "crash", []),
        ("risk", "empty_file", []),
    ],
)
def test_stage_and_reason_choose(
    out: Path, stage: str | None, reason: str, expected: list[tuple[str, str, str]]
) -> None:
    assert items(out, stage, reason) == expected


def test_an_unknown_stage_is_refused(out: Path) -> None:
    with pytest.raises(ConfigError, match="--stage must be .* got 'riks'; did you mean 'risk'"):
        items(out, "riks")


def test_a_row_without_a_message_is_told_all_the_same(out: Path) -> None:
    path = out / "columns/poison/000001.json"
    manifest = manifest_json(out, "poison", 1)
    manifest["run"]["failures"] = []
    path.write_text(json.dumps(manifest))
    _, failure = find_failures(dataset(out))
    assert failure == Failure("00003.jpg", failure.key, "poison", 1, 0, "bad_sample", "", 1)
