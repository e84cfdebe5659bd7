"""Pairs are handed on with both their images, in every format and as a subset.

PYTHONPATH=. python -m pytest tests/audit/export/test_pairs.py
"""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from onegen.audit.export import FORMATS, Wishes, export
from onegen.audit.subset import subset
from onegen.audit.verify import verify
from onegen.sample import IMAGE
from tests.exports import OMNIEDIT, omniedit_rows, write_rows
from tests.handed import samples
from tests.pictures import decode
from tests.tiny import dataset, make_recipe, rows, run

COUNT = 5


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """A dataset of edits with a map and values of each image."""
    root = tmp_path_factory.mktemp("pairs")
    write_rows(root / "rows.parquet", omniedit_rows(COUNT))
    stages = [{"name": "look", "annotators": {"tests.plugins.tone": {}, "scores": {}}}]
    source = {"pairs": str(root / "rows.parquet"), **OMNIEDIT}
    run(make_recipe(root, stages, source=source, kind="pair", samples_per_shard=4), root / "out")
    return root / "out"


@pytest.mark.parametrize("name", sorted(set(FORMATS) - {"coco", "nerfstudio"}))
def test_both_images_are_handed_on(pairs, tmp_path, name):
    kept = sum(row.status == "ok" for row in rows(pairs, "select"))
    told = export(samples(pairs), tmp_path / "made", FORMATS[name], Wishes())
    assert (told.samples, told.images) == (kept, 2 * kept)


def test_rows_of_parquet_hold_target_and_source(pairs, tmp_path):
    export(samples(pairs), tmp_path / "made", FORMATS["huggingface"], Wishes())
    table = pq.read_table(tmp_path / "made" / "data").to_pylist()
    found = {sample.key: sample for sample in samples(pairs)}
    assert len(table) == len(found)
    for row in table:
        target, source = found[row["key"]].pictures
        assert row["image"] == {"bytes": target.image(), "path": target.name}
        assert row["img1_image"] == {"bytes": source.image(), "path": source.name}
        assert not np.array_equal(decode(row["image"]["bytes"]), decode(row["img1_image"]["bytes"]))
        assert row["img1_scores_sharpness"] == source.values("scores")["sharpness"]
        assert row["instruction"] == target.facts["instruction"]


def test_fiftyone_has_a_sample_an_image(pairs, tmp_path):
    export(samples(pairs), tmp_path / "made", FORMATS["fiftyone"], Wishes())
    told = json.loads((tmp_path / "made" / "samples.json").read_text())["samples"]
    names = [sample["filepath"] for sample in told]
    assert len(set(names)) == len(names)
    assert sum(".img1." in name for name in names) == len(names) // 2


def test_a_subset_of_pairs_is_sound(pairs, tmp_path):
    key = next(row.key for row in rows(pairs, IMAGE) if row.status == "ok")
    made = subset(dataset(pairs), tmp_path / "made", "scores.sharpness > 0", {key})
    assert made.kept == sum(row.status == "ok" for row in rows(pairs, "select")) - 1
    assert list(verify(dataset(tmp_path / "made"), full=True)) == []
