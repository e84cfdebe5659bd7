"""What changed since the last report. PYTHONPATH=. python -m pytest tests/audit/test_changes.py"""

import json
from pathlib import Path

import pytest

from onegen.audit.changes import changes, read_report
from onegen.audit.report import audit
from onegen.audit.statistics import statistics
from onegen.audit.tables import open_tables
from onegen.executor.contract import Retry
from tests.cli.test_app import invoke
from tests.tiny import dataset, make_recipe, run, write_photos


def test_a_second_report_names_what_is_other_and_a_third_nothing(tmp_path: Path) -> None:
    paths = write_photos(tmp_path / "photos", 12)
    moved = paths[3].read_bytes()
    paths[3].write_bytes(b"torn")
    stage = {"name": "look", "annotators": {"scores": {}}}
    recipe = make_recipe(tmp_path / "photos", [stage], limits={"failure_rate": 1})
    run(recipe, tmp_path / "out", workers=0)
    assert "There was no report before" in report(tmp_path / "out")
    first = json.loads((tmp_path / "out/report/statistics.json").read_text())
    paths[3].write_bytes(moved)
    run(recipe, tmp_path / "out", workers=0, retry=Retry())
    text = report(tmp_path / "out")
    second = json.loads((tmp_path / "out/report/statistics.json").read_text())
    found = {what: (old, new) for what, old, new in changes(first, second)}
    assert found["image: ok"] == (11, 12)
    assert found["image: failed"] == (1, 0)
    assert found["scores.sharpness: count"] == (11, 12)
    assert found["version"] == (first["digest"], second["digest"])
    assert "image: filtered" not in found
    assert all(f"<td>{what}</td>" in text for what in found)
    assert "Nothing changed since the last report" in report(tmp_path / "out")


def report(out: Path) -> str:
    invoke("audit", out)
    return (out / "report/index.html").read_text()


@pytest.mark.parametrize("data", [None, b"", b"{", b"[]", b"null", b'{"schema_version": 99}'])
def test_what_is_no_report_is_none(data: bytes | None) -> None:
    assert read_report(data, "tiny") is None


@pytest.mark.parametrize("odd", [{"columns": {"x": 3}}, {"rights": {"licence": 3}}, {"rights": {"licence": [[1]]}}])
def test_a_report_of_other_things_is_none(odd: dict) -> None:
    sound = {"schema_version": 1, "name": "tiny"}
    assert read_report(json.dumps(sound).encode(), "tiny") == sound
    assert read_report(json.dumps({**sound, **odd}).encode(), "tiny") is None


def test_a_report_of_another_dataset_is_none_to_compare_with(audited: Path, tmp_path: Path) -> None:
    invoke("audit", audited, "--out", tmp_path / "report")
    path = tmp_path / "report/statistics.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "name": "another"}))
    invoke("audit", audited, "--out", tmp_path / "report")
    assert "There was no report before" in (tmp_path / "report/index.html").read_text()
    invoke("audit", audited, "--out", tmp_path / "report")
    assert "Nothing changed since the last report" in (tmp_path / "report/index.html").read_text()


def test_a_report_that_says_odd_things_breaks_nothing(audited: Path) -> None:
    odd = json.dumps(
        {
            "schema_version": 1,
            "name": dataset(audited).require_card().name,
            "columns": {"<b>": {"counts": 3}},
            "distributions": [],
        }
    ).encode()
    _, _, written = audit(dataset(audited), before=odd)
    assert b"<b>:" not in written["index.html"]


def test_the_numbers_of_one_dataset_are_the_same_however_threads_share_it(audited: Path) -> None:
    with open_tables(dataset(audited)) as tables:
        told = [json.dumps(statistics(dataset(audited), tables).to_json(), sort_keys=True) for _ in range(8)]
    assert len(set(told)) == 1
