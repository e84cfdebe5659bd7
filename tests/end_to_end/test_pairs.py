"""Whole builds of pairs from tables, as hubs leave them.

PYTHONPATH=. python -m pytest tests/end_to_end/test_pairs.py
"""

import hashlib
import json
import tarfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onegen.audit.verify import verify
from onegen.config.recipe import Recipe
from onegen.errors import ConfigError
from onegen.executor.contract import Retry
from onegen.sample import IMAGE
from tests.exports import (
    INSTRUCT_PIX2PIX,
    OMNIEDIT,
    SUBJECTS200K,
    instruct_pix2pix_rows,
    omniedit_rows,
    subjects200k_rows,
    table_bytes,
    write_rows,
)
from tests.pictures import decode, encode, jpeg, png, smooth
from tests.tiny import (
    column_files,
    dataset,
    failures,
    make_recipe,
    manifest_json,
    packed,
    rows,
    run,
    statuses,
    strays,
)

COUNT = 10
STAGES = [
    {"name": "look", "annotators": {"tests.plugins.tone": {}}},
    {"name": "again", "annotators": {"tests.plugins.echo": {}}, "where": "tone.mean > 0"},
]


def recipe(source: dict[str, Any], **changes: Any) -> Recipe:
    return make_recipe(Path(), STAGES, source=source, **{"kind": "pair", **changes})


def from_omniedit(folder: Path, **changes: Any) -> Recipe:
    """Write edits in two files and return their recipe."""
    made = omniedit_rows(COUNT)
    write_rows(folder / "train-0.parquet", made[:6])
    write_rows(folder / "train-1.parquet", made[6:])
    return recipe({"pairs": f"{folder}/*.parquet", **OMNIEDIT}, **changes)


def from_instruct_pix2pix(folder: Path) -> Recipe:
    write_rows(folder / "train.parquet", instruct_pix2pix_rows(COUNT))
    return recipe({"pairs": f"{folder}/*.parquet", **INSTRUCT_PIX2PIX})


def from_subjects200k(folder: Path) -> Recipe:
    write_rows(folder / "train.parquet", subjects200k_rows(COUNT))
    return recipe({"pairs": f"{folder}/*.parquet", **SUBJECTS200K})


def from_paths(folder: Path, **changes: Any) -> Recipe:
    """Write pictures, a table of their paths, and return the recipe."""
    (folder / "pictures").mkdir(parents=True)
    for n in range(4):
        (folder / f"pictures/{n}-after.png").write_bytes(png(1000 + n))
        (folder / f"pictures/{n}-before.png").write_bytes(png(n))
    columns = {
        "t": [f"pictures/{n}-after.png" for n in range(4)],
        "s": [f"pictures/{n}-before.png" for n in range(4)],
        "say": [f"make it number {n}" for n in range(4)],
    }
    (folder / "train.parquet").write_bytes(table_bytes(columns))
    mapped = {"target": "t", "source": "s", "instruction": "say"}
    return recipe({"pairs": f"{folder}/train.parquet", **mapped}, **changes)


def members(out: Path) -> dict[str, dict[str, bytes]]:
    """Return the parts of every packed sample by key and name."""
    found: dict[str, dict[str, bytes]] = {}
    for path in sorted((out / "shards").glob("*.tar")):
        with tarfile.open(path) as tar:
            for info in tar:
                key, _, part = info.name.partition(".")
                opened = tar.extractfile(info)
                assert opened is not None
                found.setdefault(key, {})[part] = opened.read()
    return found


def check_sound(out: Path) -> None:
    assert list(verify(dataset(out), full=True)) == []
    assert strays(out) == []


def test_edits_are_stored_target_first_with_their_words(tmp_path):
    out = tmp_path / "out"
    summary = run(from_omniedit(tmp_path / "in"), out)
    assert [summary.counts[column].ok for column in (IMAGE, "metadata", "tone", "echo")] == [COUNT] * 4
    found = rows(out, IMAGE)
    for n, row in enumerate(found):
        digests = [hashlib.sha256(data).hexdigest() for data in (jpeg(1000 + n), jpeg(n))]
        assert row.values["members"] == digests
        assert (row.values["instruction"], row.values["subject"]) == (f"Remove thing {n}.", None)
    made = members(out)
    assert [made[row.key]["jpg"] for row in found] == [jpeg(1000 + n) for n in range(COUNT)]
    assert [made[row.key]["img1.jpg"] for row in found] == [jpeg(n) for n in range(COUNT)]
    for n, (row, tone) in enumerate(zip(found, rows(out, "tone"), strict=True)):
        grey = [decode(jpeg(seed)).mean(axis=2).astype(np.uint8) for seed in (1000 + n, n)]
        means = [tone.values["mean"], tone.values["others"][0]["mean"]]
        assert means == [float(one.mean()) for one in grey]
        maps = [decode(made[row.key][part])[:, :, 0] for part in ("tone.png", "img1.tone.png")]
        np.testing.assert_array_equal(maps, grey)
        said = json.loads(made[row.key]["json"])
        assert said["instruction"] == f"Remove thing {n}."
        assert said["annotations"]["metadata"] == {"task": omniedit_rows(COUNT)[n]["task"], "o_score": (n % 11) * 0.9}
    check_sound(out)


def test_a_shard_counts_both_images_of_a_pair(tmp_path):
    out = tmp_path / "out"
    run(from_omniedit(tmp_path / "in", samples_per_shard=6), out)
    assert [len(dataset(out).rows(manifest)) for manifest in dataset(out).manifests(IMAGE)] == [3, 3, 3, 1]


def test_a_composite_is_cut_at_the_right_pixels(tmp_path):
    out = tmp_path / "out"
    run(from_subjects200k(tmp_path / "in"), out)
    made = members(out)
    for n, row in enumerate(rows(out, IMAGE)):
        np.testing.assert_array_equal(decode(made[row.key]["png"]), smooth(1000 + n, 32, 32))
        np.testing.assert_array_equal(decode(made[row.key]["img1.png"]), smooth(n, 32, 32))
        (other,) = row.values["others"]
        assert (row.values["width"], row.values["height"], other["width"], other["height"]) == (32, 32, 32, 32)
        assert (row.values["caption"], other["caption"]) == (f"right {n}", f"left {n}")
        assert (row.values["subject"], row.values["instruction"]) == (f"Thing {n}", None)
    kept = [row.values["quality_assessment"] for row in rows(out, "metadata")]
    assert [one["quality_assessment"] for one in subjects200k_rows(COUNT)] == kept
    check_sound(out)


def test_the_other_side_as_the_target_is_another_sample(tmp_path):
    there = from_subjects200k(tmp_path / "in")
    run(there, tmp_path / "there")
    run(there.model_copy(update={"source": {**there.source, "target_side": "left"}}), tmp_path / "back")
    keys = [{row.key for row in rows(tmp_path / name, IMAGE)} for name in ("there", "back")]
    assert len(keys[0] | keys[1]) == 2 * COUNT


def test_a_composite_too_small_for_its_margin_fails_alone(tmp_path):
    made = subjects200k_rows(3)
    made[1]["image"] = {"bytes": encode(smooth(1, 32, 16), "PNG")}
    write_rows(tmp_path / "in/train.parquet", made)
    out = tmp_path / "out"
    run(recipe({"pairs": f"{tmp_path}/in", **SUBJECTS200K}, limits={"failure_rate": 1.0}), out)
    assert statuses(out, IMAGE) == ["ok", "failed no_panel", "ok"]
    check_sound(out)


def test_a_rule_may_name_what_the_table_says(tmp_path):
    out = tmp_path / "out"
    made = from_omniedit(tmp_path / "in", select={"keep": {"good": "metadata.o_score >= 2.5"}})
    run(made, out)
    assert statuses(out, "select") == ["filtered rule:good"] * 3 + ["ok"] * 7
    other = from_subjects200k(tmp_path / "other")
    rule = {"keep": {"good": "metadata.quality_assessment.objectConsistency >= 2"}}
    run(other.model_copy(update={"select": other.select.model_copy(update=rule)}), tmp_path / "subjects")
    kept = [n for n, said in enumerate(statuses(tmp_path / "subjects", "select")) if said == "ok"]
    assert kept == [n for n in range(COUNT) if n % 4 != 3 and n % 6 >= 2]


def test_a_field_of_a_struct_may_be_kept_and_named_in_quotes(tmp_path):
    made = from_subjects200k(tmp_path / "in")
    source = {**made.source, "keep": ["quality_assessment.objectConsistency"]}
    rule = made.select.model_copy(update={"keep": {"good": 'metadata."quality_assessment.objectConsistency" >= 2'}})
    run(made.model_copy(update={"source": source, "select": rule}), tmp_path / "out")
    kept = [n for n, said in enumerate(statuses(tmp_path / "out", "select")) if said == "ok"]
    assert kept == [n for n in range(COUNT) if n % 4 != 3 and n % 6 >= 2]
    check_sound(tmp_path / "out")


def test_pairs_that_are_not_whole_fail_alone_and_say_so(tmp_path):
    made = omniedit_rows(6)
    made[0]["edited_img"] = None
    made[1]["src_img"] = {"bytes": None, "path": None}
    made[2]["edited_prompt_list"] = []
    made[3]["src_img"] = {"bytes": b"not an image", "path": None}
    made[4]["edited_img"] = {"bytes": jpeg(4)[:200], "path": None}
    write_rows(tmp_path / "in/train.parquet", made)
    out = tmp_path / "out"
    source = {"pairs": f"{tmp_path}/in", **OMNIEDIT}
    run(recipe(source, samples_per_shard=12, limits={"failure_rate": 1.0}), out)
    reasons = ["no_target", "no_source", "no_instruction", "not_an_image", "undecodable"]
    assert statuses(out, IMAGE) == [*(f"failed {reason}" for reason in reasons), "ok"]
    assert [reason for _, reason in failures(out, IMAGE)] == reasons
    messages = [failure["message"] for failure in manifest_json(out, IMAGE, 0)["run"]["failures"]]
    assert messages[0] == "edited_img must hold an image, got null in train.parquet#0000000000."
    assert messages[3].startswith("image 2 of 2: ")
    assert messages[4].startswith("image 1 of 2: ")
    assert statuses(out, "tone") == ["skipped image:failed"] * 5 + ["ok"]
    assert len(members(out)) == 1
    check_sound(out)


def test_the_words_make_another_sample_and_the_same_row_twice_does_not(tmp_path):
    made = omniedit_rows(3)
    made[1] = {**made[0], "omni_edit_id": "other words", "edited_prompt_list": ["Paint it."]}
    made[2] = {**made[0], "omni_edit_id": "other paraphrases", "edited_prompt_list": ["Remove thing 0.", "Drop it."]}
    made.append({**made[0], "src_img": made[0]["edited_img"], "edited_img": made[0]["src_img"]})
    made.append(made[1])
    write_rows(tmp_path / "in/train.parquet", made)
    out = tmp_path / "out"
    run(recipe({"pairs": f"{tmp_path}/in", **OMNIEDIT}), out)
    assert statuses(out, "select") == ["ok", "ok", "filtered duplicate", "ok", "filtered duplicate"]
    keys = [row.key for row in rows(out, IMAGE)]
    assert (keys[2], keys[4]) == (keys[0], keys[1])
    kept = [row.values.get("duplicate_of") for row in rows(out, "select")]
    assert kept == [None, None, keys[0], None, keys[1]]
    check_sound(out)


NASTY = [
    "bell \x07 and \x00",
    "\x1b[31mred\r\n\t",
    '"quotes" \\ {braces}',
    "\u2028\u2029\ufeff",
    "日本 😀 \u202e",
    "é" * 100_000,
]


def test_any_words_are_stored_as_they_are(tmp_path):
    made = omniedit_rows(len(NASTY))
    for row, words in zip(made, NASTY, strict=True):
        row["edited_prompt_list"] = [words]
    write_rows(tmp_path / "in/train.parquet", made)
    out = tmp_path / "out"
    run(recipe({"pairs": f"{tmp_path}/in", **OMNIEDIT}), out)
    assert [row.values["instruction"] for row in rows(out, IMAGE)] == NASTY
    made_of = members(out)
    assert [json.loads(made_of[row.key]["json"])["instruction"] for row in rows(out, IMAGE)] == NASTY
    assert len(made_of) == len(NASTY)
    check_sound(out)


def test_a_picture_that_came_back_is_retried_to_the_bytes_of_a_sound_build(tmp_path):
    made = from_paths(tmp_path / "in", limits={"failure_rate": 1.0})
    run(made, tmp_path / "sound")
    lost, out = tmp_path / "in/pictures/2-before.png", tmp_path / "out"
    lost.rename(tmp_path / "away")
    run(made, out)
    assert statuses(out, IMAGE) == ["ok", "ok", "failed source_gone", "ok"]
    (message,) = (failure["message"] for failure in manifest_json(out, IMAGE, 0)["run"]["failures"])
    assert f"{lost} must be there, it is the source of train.parquet#0000000002." in message
    (tmp_path / "away").rename(lost)
    run(made, out, retry=Retry("source_gone"))
    assert statuses(out, IMAGE) == ["ok"] * 4
    for column in (IMAGE, "select", "tone", "echo"):
        assert column_files(out, column) == column_files(tmp_path / "sound", column)
    assert packed(out) == packed(tmp_path / "sound")
    check_sound(out)


@pytest.mark.parametrize("write", [from_omniedit, from_instruct_pix2pix, from_subjects200k])
def test_the_bytes_do_not_depend_on_the_number_of_workers(tmp_path, write):
    made = write(tmp_path / "in")
    digests = [run(made, tmp_path / f"{workers}", workers=workers).digest for workers in (1, 3)]
    assert digests[0] == digests[1]
    for column in (IMAGE, "select", "tone", "echo"):
        assert column_files(tmp_path / "1", column) == column_files(tmp_path / "3", column)
    assert packed(tmp_path / "1") == packed(tmp_path / "3")
    assert Counter(statuses(tmp_path / "3", "echo")) == {"ok": COUNT}


@pytest.mark.parametrize(("kind", "source"), [("image", "pairs"), ("pair", "parquet")])
def test_source_and_recipe_must_mean_the_same_kind(tmp_path, kind, source):
    made = from_omniedit(tmp_path / "in")
    chosen = made.source if source == "pairs" else {"parquet": f"{tmp_path}/in", "image": "src_img"}
    with pytest.raises(ConfigError, match="kind"):
        run(make_recipe(Path(), [], source=chosen, kind=kind), tmp_path / "out")
