"""Whole builds of identities: sets of images that lose one and go on.

PYTHONPATH=. python -m pytest tests/end_to_end/test_identities.py
"""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onegen.audit.failures import find_failures
from onegen.audit.rules import rule_counts
from onegen.audit.show import show, tiles_of
from onegen.audit.verify import verify
from onegen.config.recipe import Recipe
from onegen.errors import ConfigError
from onegen.executor.contract import Retry
from onegen.shards.key import sample_key
from onegen.shards.views import DROPPED
from tests.calls import count_calls
from tests.exports import table_bytes
from tests.pictures import decode
from tests.tiny import (
    Ears,
    committed,
    dataset,
    encoded,
    make_recipe,
    packed,
    picture,
    rows,
    run,
    statuses,
    strays,
)

TONE: dict[str, Any] = {"name": "look", "annotators": {"tests.plugins.tone": {}}}
PEOPLE = {"ada": 5, "bob": 4, "cyd": 4}


def photo(subject: str, number: int) -> np.ndarray:
    return picture(100 * sorted([*PEOPLE, "dee", "eve"]).index(subject) + number)


def write(root: Path, people: dict[str, int] = PEOPLE) -> Path:
    """Write folders of photos, each with a caption."""
    for subject, count in people.items():
        (root / subject).mkdir(parents=True)
        for number in range(count):
            (root / subject / f"{number}.png").write_bytes(encoded(photo(subject, number)))
            (root / subject / f"{number}.txt").write_text(f"{subject} in photo {number}")
    return root


def recipe(people: Path, *stages: dict[str, Any], **changes: Any) -> Recipe:
    base = {
        "kind": "identity",
        "source": {"identities": str(people)},
        "image": {"licence": "CC0-1.0"},
        "collected": "Drawn by this test.",
        "limits": {"failure_rate": 1},
    }
    return make_recipe(people, [*stages], **{**base, **changes})


def lost(out: Path, column: str) -> list[list[tuple[int, str, str]]]:
    """Return the images each row of a column goes on without."""
    return [[tuple(e.values()) for e in row.values.get(DROPPED) or ()] for row in rows(out, column)]


def samples(out: Path) -> dict[str, dict[str, Any]]:
    """Return what a stock reader finds in the packed view, by subject."""
    import webdataset

    tars = sorted(str(path) for path in (out / "shards").glob("*.tar"))
    read = list(webdataset.WebDataset(tars, shardshuffle=False, empty_check=False))
    return {json.loads(sample["json"])["subject"]: sample for sample in read}


def sound(out: Path) -> None:
    assert list(verify(dataset(out), full=True)) == []
    assert strays(out) == []


def test_a_subject_is_one_sample_of_all_its_photos_in_order(tmp_path):
    people, out = write(tmp_path / "people"), tmp_path / "out"
    run(recipe(people, TONE), out)
    assert [row.values["subject"] for row in rows(out, "image")] == [*PEOPLE]
    found = samples(out)
    for row, (subject, count) in zip(rows(out, "image"), PEOPLE.items(), strict=True):
        files = [(people / subject / f"{number}.png").read_bytes() for number in range(count)]
        assert row.values["members"] == [hashlib.sha256(data).hexdigest() for data in files]
        assert row.key == sample_key("identity", row.values["members"], None, subject)
        sample = found[subject]
        names = ["png", *(f"img{number}.png" for number in range(1, count))]
        assert [sample[name] for name in names] == files
        for number, name in enumerate(names):
            grey = photo(subject, number).mean(axis=2).astype(np.uint8)
            np.testing.assert_array_equal(decode(sample[name.replace("png", "tone.png")])[:, :, 0], grey)
        about = json.loads(sample["json"])
        assert [about["caption"], *(other["caption"] for other in about["others"])] == [
            f"{subject} in photo {number}" for number in range(count)
        ]
        assert [about["uri"], *(other["uri"] for other in about["others"])] == [
            f"{subject}/{number}.png" for number in range(count)
        ]
        assert about["licence"] == "CC0-1.0"
    sound(out)
    assert dataset(out).require_card().collected == "Drawn by this test."
    assert "How it was collected: Drawn by this test." in (out / "README.md").read_text()
    assert show(dataset(out)).width > 500


def test_photos_that_cannot_be_used_are_left_out_and_named(tmp_path):
    people, out = write(tmp_path / "people"), tmp_path / "out"
    (people / "ada/1.png").write_bytes(b"no picture")
    (people / "ada/0.txt").write_text("rejected")
    (people / "bob/2.txt").write_text("unknown field")
    stage = {"name": "look", "annotators": {"tests.plugins.odd": {}, "tests.plugins.tone": {}}}
    run(recipe(people, stage, select={"min_images": 3}), out)
    assert statuses(out, "image") == statuses(out, "odd") == ["ok"] * 3
    assert lost(out, "image") == [[(1, "failed", "not_an_image")], [], []]
    assert lost(out, "odd") == [[(0, "filtered", "not_wanted")], [(2, "failed", "bad_annotation")], []]
    told = [(f.item, f.column, f.reason) for f in find_failures(dataset(out))]
    assert told == [("ada", "image", "not_an_image"), ("bob", "odd", "bad_annotation")]
    # The view asks for images alone: what odd says nothing of is there, and its neighbours keep what is said of them.
    ada = samples(out)["ada"]
    assert [name for name in ada if name.endswith("png") and "tone" not in name] == [
        "png",
        "img1.png",
        "img2.png",
        "img3.png",
    ]
    about = json.loads(ada["json"])
    assert about[DROPPED] == [{"image": 1, "status": "failed", "reason": "not_an_image"}]
    assert about["others"][0]["uri"] == "ada/2.png"
    sound(out)


def test_a_required_column_takes_its_images_out_of_the_view(tmp_path):
    people, out = write(tmp_path / "people"), tmp_path / "out"
    (people / "ada/1.txt").write_text("rejected")
    (people / "bob/2.txt").write_text("rejected")
    stage = {"name": "look", "annotators": {"tests.plugins.odd": {}, "tests.plugins.tone": {}}}
    run(recipe(people, stage, pack={"require": ["odd"]}), out)
    assert statuses(out, "shards") == ["ok", "filtered few_images", "ok"]
    ada = samples(out)["ada"]
    kept = [0, 2, 3, 4]
    for place, number in enumerate(kept):
        name = f"img{place}.tone.png" if place else "tone.png"
        grey = photo("ada", number).mean(axis=2).astype(np.uint8)
        np.testing.assert_array_equal(decode(ada[name])[:, :, 0], grey)
    about = json.loads(ada["json"])
    tone = about["annotations"]["tone"]
    assert [tone["text"], *(other["text"] for other in tone["others"])] == [f"ada in photo {n}" for n in kept]
    assert len(about["members"]) == len(kept)
    assert "img4.png" not in ada
    sound(out)


def test_rules_judge_single_images_and_few_left_take_the_subject(tmp_path):
    people, out = write(tmp_path / "people", {**PEOPLE, "dee": 1}), tmp_path / "out"
    means = {s: [float(photo(s, n).mean(axis=2).astype(np.uint8).mean()) for n in range(c)] for s, c in PEOPLE.items()}
    limit = sorted(means["ada"])[0] + 0.001
    dark = {s: [n for n, mean in enumerate(values) if mean <= limit] for s, values in means.items()}
    assert len(dark["ada"]) == 1
    select = {"keep": {"light": f"tone.mean > {limit}", "all": "image.width > 0"}, "min_images": 4}
    then = {"name": "then", "annotators": {"tests.plugins.shade": {}}}
    run(recipe(people, TONE, then, select=select), out)
    left = {s: c - len(dark.get(s, ())) for s, c in PEOPLE.items()}
    assert statuses(out, "select") == [
        "ok" if left.get(s, 0) >= 4 else "filtered few_images" for s in ("ada", "bob", "cyd", "dee")
    ]
    assert lost(out, "select")[0] == [(dark["ada"][0], "filtered", "rule:light")]
    assert lost(out, "shade")[0] == [(dark["ada"][0], "skipped", "select:filtered")]
    assert json.loads(samples(out)["ada"]["json"])["members"] == [
        digest for n, digest in enumerate(rows(out, "image")[0].values["members"]) if n not in dark["ada"]
    ]
    places = {
        row.values["subject"]: (manifest.shard, row.position)
        for manifest in dataset(out).manifests("image")
        for row in dataset(out).rows(manifest)
    }
    assert "left out: few_images" in tiles_of(dataset(out), ["tone"], *places["dee"])[0][0].lines
    told = {one.rule: (one.images_before, one.images_after, one.sets_after) for one in rule_counts(dataset(out))}
    ok = sum(row.status == "ok" for row in rows(out, "select"))
    assert [*told] == ["rule:light", "rule:all", "few_images"]
    assert told["rule:all"][0] == told["rule:all"][1]  # it took nothing, and is told
    assert told["few_images"][2] == ok
    assert told["rule:light"][0] == 14
    sound(out)


def test_what_repeats_within_a_subject_is_dropped_and_what_two_share_is_nobodys(tmp_path):
    people, out = write(tmp_path / "people", {"ada": 6, "bob": 5, "cyd": 4}), tmp_path / "out"
    shutil.copy(people / "ada/0.png", people / "ada/9.png")
    near = photo("ada", 1)
    near[0, 0] ^= 1
    (people / "ada/8.png").write_bytes(encoded(near))
    shutil.copy(people / "bob/0.png", people / "ada/7.png")
    shutil.copytree(people / "cyd", people / "dee")
    run(recipe(people, select={"near_duplicates": {"distance": 3}}), out)
    assert lost(out, "select")[:3] == [
        [(6, "filtered", "shared"), (7, "filtered", "near_duplicate"), (8, "filtered", "duplicate")],
        [(0, "filtered", "shared")],
        [(n, "filtered", "shared") for n in range(4)],
    ]
    assert statuses(out, "select") == ["ok", "ok", "filtered few_images", "filtered few_images"]
    told = [(one.rule, one.images_before, one.images_after, one.sets_after) for one in rule_counts(dataset(out))]
    assert told == [("duplicate", 22, 21, 4), ("near_duplicate", 21, 20, 4), ("shared", 20, 10, 2)]
    sound(out)


def test_the_recipe_may_ask_for_all_or_nothing(tmp_path):
    people, out = write(tmp_path / "people"), tmp_path / "out"
    (people / "ada/1.png").write_bytes(b"no picture")
    shutil.copy(people / "bob/0.png", people / "bob/9.png")
    run(recipe(people, TONE, incomplete="fail"), out)
    assert statuses(out, "image") == ["failed not_an_image", "ok", "ok"]
    assert statuses(out, "select") == ["skipped image:failed", "filtered duplicate", "ok"]
    sound(out)


def test_a_photo_that_came_back_is_retried_to_the_bytes_of_a_sound_build(tmp_path):
    people, later = write(tmp_path / "people"), tmp_path / "later"
    calls = tmp_path / "calls"
    stage = {"name": "look", "annotators": {"tests.plugins.tone": {"calls": str(calls)}}}
    run(recipe(people, stage), tmp_path / "sound")
    planned = recipe(people, stage)
    lost_file = people / "ada/1.png"
    data = lost_file.read_bytes()

    class Steal(Ears):
        def note(self, text: str) -> None:
            super().note(text)
            if text.startswith("planned"):
                lost_file.unlink()

    run(planned, later, Steal())
    assert lost(later, "image")[0] == [(1, "failed", "source_gone")]
    lost_file.write_bytes(data)
    calls.unlink()
    run(planned, later, retry=Retry("source_*"))
    assert lost(later, "image") == [[], [], []]
    assert packed(later) == packed(tmp_path / "sound")
    assert count_calls(calls)["tone"] == 5, "the others are copied"
    sound(later)


def test_a_subject_who_opted_out_is_nowhere(tmp_path):
    people, out, listed = write(tmp_path / "people"), tmp_path / "out", tmp_path / "opt_out.txt"
    listed.write_text("# who asked\nbob  # in March\n")
    source = {"identities": str(people), "opt_out": str(listed)}
    run(recipe(people, TONE, source=source), out)
    assert [row.values["subject"] for row in rows(out, "image")] == ["ada", "cyd"]
    assert nowhere(out, people / "bob")
    assert dataset(out).require_card().plan.passed_over["their subjects opted out"] == 4


def test_who_opts_out_later_stops_the_build_until_the_images_are_thrown_away(tmp_path):
    people, out, listed = write(tmp_path / "people"), tmp_path / "out", tmp_path / "opt_out.txt"
    listed.write_text("")
    made = recipe(people, TONE, source={"identities": str(people), "opt_out": str(listed)})
    run(made, out)
    assert not nowhere(out, people / "bob")
    listed.write_text("bob\n")
    with pytest.raises(ConfigError, match=r"1 planned item.*opted out.*--recompute image"):
        run(made, out)
    run(made, out, recompute=("image",))
    assert statuses(out, "image") == ["ok", "filtered opted_out", "ok"]
    assert nowhere(out, people / "bob")
    assert [*samples(out)] == ["ada", "cyd"]
    sound(out)
    before = committed(out)
    run(made, out)
    assert committed(out) == before


def nowhere(out: Path, subject: Path) -> bool:
    """Say whether no byte of a subject's photos, nor of a caption, lies in a dataset."""
    stored = b"".join(path.read_bytes() for path in out.rglob("*") if path.is_file())
    return not any(path.read_bytes()[-200:] in stored for path in subject.iterdir())


def test_many_photos_are_split_evenly(tmp_path):
    people, out = write(tmp_path / "people", {"ada": 9, "bob": 4}), tmp_path / "out"
    run(recipe(people, source={"identities": str(people), "max_images": 4}, select={"min_images": 2}), out)
    assert [(r.values["item"], r.values["subject"], len(r.values["members"])) for r in rows(out, "image")] == [
        ("ada#0000", "ada", 3),
        ("ada#0001", "ada", 3),
        ("ada#0002", "ada", 3),
        ("bob", "bob", 4),
    ]
    sound(out)


def test_a_table_with_subjects_gives_what_folders_give(tmp_path):
    people = write(tmp_path / "people")
    order = [(s, n) for n in range(5) for s, count in PEOPLE.items() if n < count]
    columns = {
        "who": [s for s, _ in order] + [None],
        "jpg": [(people / s / f"{n}.png").read_bytes() for s, n in order] + [b"x"],
        "said": [f"{s} in photo {n}" for s, n in order] + ["nobody"],
    }
    (tmp_path / "people.parquet").write_bytes(table_bytes(columns))
    source = {"identities": str(tmp_path / "people.parquet"), "subject": "who", "image": "jpg", "caption": "said"}
    run(recipe(people, TONE, source=source), tmp_path / "table")
    run(recipe(people, TONE), tmp_path / "folder")
    assert [row.key for row in rows(tmp_path / "table", "image")] == [
        row.key for row in rows(tmp_path / "folder", "image")
    ]
    assert [r.values for r in rows(tmp_path / "table", "tone")] == [r.values for r in rows(tmp_path / "folder", "tone")]
    passed = dataset(tmp_path / "table").require_card().plan.passed_over
    assert passed == {"their subject is null or blank": 1}
    sound(tmp_path / "table")


def test_the_bytes_do_not_depend_on_the_workers(tmp_path):
    people = write(tmp_path / "people")
    (people / "ada/1.png").write_bytes(b"no picture")
    for workers in (1, 4):
        run(recipe(people, TONE), tmp_path / str(workers), workers=workers)
    assert packed(tmp_path / "1") == packed(tmp_path / "4")
    before = committed(tmp_path / "1")
    run(recipe(people, TONE), tmp_path / "1")
    assert committed(tmp_path / "1") == before, "a second run does nothing"


def test_a_photo_that_kills_costs_its_subject(tmp_path):
    people, out = write(tmp_path / "people"), tmp_path / "out"
    (people / "bob/2.txt").write_text("segfault")
    stage = {"name": "look", "batch_size": 4, "annotators": {"tests.plugins.poison": {"cure": str(tmp_path / "cure")}}}
    run(recipe(people, stage), out, workers=1)
    assert statuses(out, "poison") == ["ok", "failed crash", "ok"]
    sound(out)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"collected": None}, "collected must say how the subjects were collected"),
        ({"image": {}}, "image.licence must name the licence of the source"),
        ({"kind": "image"}, "min_images and incomplete must stand with kind identity or scene"),
    ],
)
def test_what_an_identity_must_declare_is_asked_for(tmp_path, changes, message):
    with pytest.raises((ConfigError, ValueError), match=message):
        run(recipe(write(tmp_path / "people"), **{"select": {"min_images": 3}, **changes}), tmp_path / "out")
