"""Columns a source brings with its images. docs/design.md.

PYTHONPATH=. python -m pytest tests/build/test_source_column.py
"""

import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from onegen.build.assemble import make_steps
from onegen.build.source_column import SourceColumn, source_job
from onegen.build.steps import Step
from onegen.config.recipe import make_source
from onegen.errors import ConfigError
from onegen.executor.contract import Retry
from onegen.sample import IMAGE, Annotation, Annotator, Item, Provides, Rejected
from onegen.storage.local import LocalStore
from tests.tiny import (
    SIZE,
    Ears,
    column_files,
    committed,
    dataset,
    failures,
    make_recipe,
    rows,
    run,
    statuses,
    strays,
    write_photos,
)  # fmt: skip

GOOD: dict[str, Any] = {"size": SIZE, "level": 0.5, "word": "fine"}
COUNT = 12


def write(root: Path, **odd: dict[str, Any]) -> Path:
    """Write photos with what the source says of each; `odd` says otherwise of some, by number (`n3`)."""
    for number, path in enumerate(write_photos(root, COUNT)):
        said = odd.get(f"n{number}", {**GOOD, "level": number / COUNT})
        path.with_suffix(".json").write_text(json.dumps(said), encoding="utf-8")
    return root


def recipe(photos: Path, stages: list[dict[str, Any]] | None = None, **changes: Any) -> Any:
    options = changes.pop("options", {})
    return make_recipe(photos, stages or [], source={"tests.plugins.gauge": str(photos), **options}, **changes)


def assemble(photos: Path, stages: list[dict[str, Any]], **changes: Any) -> list[Step]:
    wanted = recipe(photos, stages, **changes)
    return make_steps(wanted, make_source(wanted.source), LocalStore("nowhere"))


def level_of(row: Any) -> float | None:
    return row.values["level"]


def test_a_source_brings_columns_and_is_their_producer(tmp_path):
    ears = Ears()
    summary = run(recipe(write(tmp_path / "photos")), tmp_path / "out", ears)
    assert list(ears.begun) == ["image", "source", "select", "pack"]
    assert {name: counts.ok for name, counts in summary.counts.items()} == dict.fromkeys(
        ("image", "truth", "label", "select"), COUNT
    )
    manifest = dataset(tmp_path / "out").manifest("truth", 1)
    assert manifest.producer.label() == "gauge@3"
    assert list(manifest.inputs) == [IMAGE]
    assert [level_of(row) for row in rows(tmp_path / "out", "truth")] == [number / COUNT for number in range(COUNT)]
    assert strays(tmp_path / "out") == []


def test_a_bad_annotation_fails_its_own_row_and_never_the_image(tmp_path):
    write(
        tmp_path / "photos",
        n0={**GOOD, "unreadable": True},
        n1={**GOOD, "size": (5, 5)},
        n2={**GOOD, "level": "high"},
        n3={"refused": True},
        n4={"word": "no map"},
        n5={},
        n6={**GOOD, "word": "half \ud83d a pair \ud83d\ude00\x00", "level": float("nan")},
    )
    (tmp_path / "photos/00007.jpg").write_bytes(b"no picture")
    out = tmp_path / "out"
    summary = run(recipe(tmp_path / "photos"), out)
    assert statuses(out, IMAGE) == ["ok"] * 7 + ["failed not_an_image"] + ["ok"] * 4
    bad, refused, absent = "failed bad_annotation", "failed refused", "filtered absent"
    skipped = "skipped image:failed"
    assert statuses(out, "truth") == ["ok", bad, bad, refused, absent, absent, "ok", skipped] + ["ok"] * 4
    assert statuses(out, "label") == [
        "failed unreadable", "ok", "ok", refused, "ok", absent, "ok", skipped, "ok", "ok", "ok", "ok",
    ]  # fmt: skip
    assert level_of(rows(out, "truth")[6]) is None
    assert rows(out, "label")[6].values["word"] == "half \ufffd a pair \U0001f600\x00"
    assert failures(out, "label") == [("00000.png", "unreadable"), ("00003.jpg", "refused")]
    assert summary.packed.ok == 11


def test_images_are_not_read_again_for_what_the_source_says(tmp_path):
    calls = tmp_path / "calls"
    made = recipe(write(tmp_path / "photos", n2={**GOOD, "unreadable": True}), options={"calls": str(calls)})
    run(made, tmp_path / "out")
    noted = calls.read_text(encoding="utf-8").splitlines()
    assert sum(line.startswith("read ") for line in noted) == COUNT
    assert sum(line.startswith("annotations ") for line in noted) == COUNT, "once for both columns"
    calls.unlink()
    write(tmp_path / "photos", n2=GOOD)
    run(made, tmp_path / "out", retry=Retry("unreadable"))
    assert calls.read_text(encoding="utf-8") == "annotations 00002.png\n"


def test_a_retry_after_the_cause_is_gone_gives_the_digest_of_a_build_that_never_failed(tmp_path):
    sound = run(recipe(write(tmp_path / "sound")), tmp_path / "never").digest
    made = recipe(write(tmp_path / "photos", n3={"refused": True}, n9={**GOOD, "unreadable": True, "level": 9 / COUNT}))
    failed = run(made, tmp_path / "out")
    assert failed.digest != sound
    images = column_files(tmp_path / "out", IMAGE)
    write(tmp_path / "photos")
    assert run(made, tmp_path / "out").digest == failed.digest, "a plain build does not try again"
    assert run(made, tmp_path / "out", retry=Retry()).digest == sound
    assert column_files(tmp_path / "out", IMAGE) == images


def test_workers_change_nothing(tmp_path):
    made = recipe(write(tmp_path / "photos", n3={"refused": True}))
    alone = run(made, tmp_path / "alone").digest
    assert run(made, tmp_path / "two", workers=2).digest == alone
    before = committed(tmp_path / "two")
    assert run(made, tmp_path / "two", workers=2).digest == alone
    assert committed(tmp_path / "two") == before


def test_rules_stages_and_the_packed_view_may_name_what_the_source_says(tmp_path):
    write(tmp_path / "photos", n4={"size": SIZE, "level": 0.9})
    stages = [{"name": "look", "annotators": {"tests.plugins.depends": {}}, "where": "label.word = 'fine'"}]
    out = tmp_path / "out"
    run(
        recipe(
            tmp_path / "photos", stages, select={"keep": {"low": "truth.level < 0.75"}}, where="label.word IS NOT NULL"
        ),
        out,
    )
    assert statuses(out, "select") == ["ok"] * 4 + ["filtered rule:low"] + ["ok"] * 4 + ["filtered rule:low"] * 3
    kept = [number for number in range(9) if number != 4]
    found = rows(out, "depends")
    assert [found[number].values for number in kept] == [
        {"sum": 7 * SIZE[0] * SIZE[1], "level": number / COUNT} for number in kept
    ]
    with tarfile.open(out / "shards/000000.tar") as tar:
        names = tar.getnames()
        key = rows(out, IMAGE)[1].key
        assert [name for name in names if name.startswith(key)] == [f"{key}.jpg", f"{key}.truth.png", f"{key}.json"]
        about = json.load(tar.extractfile(f"{key}.json"))
    assert about["annotations"]["truth"] == {"level": 1 / COUNT}
    assert about["annotations"]["label"] == {"word": "fine"}
    assert about["producers"]["label"] == "gauge@3"


def test_a_rule_waits_for_no_stage_that_only_what_the_source_says_needs(tmp_path):
    stages = [{"name": "look", "annotators": {"tests.plugins.tone": {}}}]
    steps = assemble(write(tmp_path / "photos"), stages, select={"keep": {"low": "truth.level < 1"}})
    assert [step.name for step in steps] == ["image", "source", "select", "look", "pack"]


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ([{"name": "truth", "annotators": {"tests.plugins.tone": {}}}], "columns must be unique .* got 'truth'"),
        ([{"name": "source", "annotators": {"tests.plugins.tone": {}}}], "must not be image, source,.* got 'source'"),
        ([{"name": "look", "annotators": {"tests.plugins.twin": {}}}], "columns must be unique .* got 'label'"),
    ],
)
def test_names_that_clash_are_refused(tmp_path, stages, message):
    photos = write(tmp_path / "photos")
    with pytest.raises((ConfigError, ValueError), match=message):
        assemble(photos, stages)


def test_an_option_of_the_source_that_changes_its_columns_alone_may_be_changed(tmp_path):
    photos, out = write(tmp_path / "photos"), tmp_path / "out"
    run(recipe(photos), out)
    images = column_files(out, IMAGE)
    changed = recipe(photos, options={"unit": 2.0})
    with pytest.raises(ConfigError, match=r"truth: options.unit: 1.0 -> 2.0.*--recompute truth"):
        run(changed, out)
    run(changed, out, recompute=("source",))
    assert [level_of(row) for row in rows(out, "truth")] == [number * 2 / COUNT for number in range(COUNT)]
    assert column_files(out, IMAGE) == images
    with pytest.raises(ConfigError, match="whose plan is pinned: source: "):
        run(recipe(photos, options={"unit": 2.0, "calls": "elsewhere"}), out)


def item(said: dict[str, Any]) -> Item:
    return Item("k", None, annotations=said)


def test_is_an_annotator_of_what_the_source_said():
    column = SourceColumn("label", 1, Provides())
    assert isinstance(column, Annotator)
    said = Annotation({"word": "x"})
    assert column.annotate([item({"label": said}), item({"other": said})])[0] == said
    rejected = column.annotate([item({"other": said})])[0]
    assert isinstance(rejected, Rejected)
    assert rejected.reason == "absent"


def test_text_and_numbers_that_cannot_be_stored_become_what_can():
    said = {"a": ["x\udc00", {"b": float("inf"), "\ud800": 1.5}], "n": 3, "none": None, "true": True}
    (stored,) = SourceColumn("label", 1, Provides()).annotate([item({"label": Annotation(said)})])
    assert stored.values == {"a": ["x\ufffd", {"b": None, "\ufffd": 1.5}], "n": 3, "none": None, "true": True}


def test_the_fingerprint_has_the_types_and_the_options_that_matter(tmp_path):
    source = make_source({"tests.plugins.gauge": str(tmp_path), "unit": 2.0})
    job = source_job(source, "truth", source.provides["truth"], "image")
    assert job.provenance.settings == {
        "name": "truth", "version": 3, "options": {"unit": 2.0, "fields": {"level": "double"}}, "weights": [],
    }  # fmt: skip
    assert job.gates == (IMAGE,)
