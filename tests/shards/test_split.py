"""PYTHONPATH=. python -m pytest tests/shards/test_split.py"""

import json

import pytest

from onegen.audit.export.formats import split_of
from onegen.loader.batches import Loader
from onegen.shards.split import group_of, held_out_below
from tests.cli.test_app import invoke
from tests.exports import write_rows
from tests.tiny import dataset, encoded, make_recipe, picture, rows, run

SHARE = 0.4


def test_a_share_of_the_keys_is_held_out_whatever_their_number():
    keys = [f"{number:020x}" for number in range(4000)]
    held = [key for key in keys if group_of(key, {}) < held_out_below(SHARE)]
    assert len(held) / len(keys) == pytest.approx(SHARE, abs=0.02)
    assert held_out_below(0.0) == 0
    assert {key for key in keys if group_of(key, {}) < held_out_below(0.1)} <= set(held)


def test_a_subject_goes_one_way():
    assert group_of("0" * 20, {"subject": "a mug"}) == group_of("f" * 20, {"subject": "a mug"})
    assert group_of("0" * 20, {"subject": None}) == group_of("0" * 20, {}) != group_of("f" * 20, {})


def test_loader_and_exports_hold_out_the_same_samples(tmp_path):
    """Pairs of three subjects: split by key, a subject would be seen on both sides."""
    names = ("mug", "cap", "fox")
    table = [
        {"a": encoded(picture(2 * n)), "b": encoded(picture(2 * n + 1)), "who": names[n % 3], "said": "a picture"}
        for n in range(24)
    ]
    write_rows(tmp_path / "pairs.parquet", table)
    source = {"pairs": str(tmp_path / "pairs.parquet"), "target": "a", "source": "b", "subject": "who"}
    source |= {"target_caption": "said", "source_caption": "said"}
    run(make_recipe(tmp_path, [], kind="pair", source=source), tmp_path / "out", workers=0)
    subjects = {str(row.key): row.values["subject"] for row in rows(tmp_path / "out", "image")}
    with Loader([tmp_path / "out"], split="validation", validation=SHARE, tokens=10**6, bins=1) as loader:
        held = {example.key for bins in loader for bin_ in bins for example in bin_}
    assert 0 < len(held) < len(subjects)
    assert not {subjects[key] for key in held} & {subjects[key] for key in subjects.keys() - held}
    facts = {str(row.key): row.values for row in rows(tmp_path / "out", "image")}
    assert held == {key for key in facts if split_of(key, SHARE, facts[key]) == "validation"}
    done = invoke("export", tmp_path / "out", tmp_path / "tars", "--to", "webdataset", "--validation", SHARE)
    assert done.exit_code == 0, done.output
    index = json.loads((tmp_path / "tars/wids-validation.json").read_text())
    assert sum(entry["nsamples"] for entry in index["shardlist"]) == len(held)
    assert dataset(tmp_path / "out").require_card().kind == "pair"
