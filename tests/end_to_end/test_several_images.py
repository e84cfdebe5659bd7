"""Samples of several images: every image is annotated, one row holds it all, and one image that fails takes the sample.

PYTHONPATH=. python -m pytest tests/end_to_end/test_several_images.py
"""

import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from onegen.audit.sheet import TILE_HEIGHTS, TILE_WIDTH
from onegen.audit.show import show
from onegen.audit.verify import verify
from onegen.config.recipe import Recipe
from onegen.errors import ConfigError
from onegen.executor.contract import Retry
from onegen.shards.column import ColumnReader
from onegen.shards.key import sample_key
from tests.calls import count_calls
from tests.tiny import (
    committed,
    dataset,
    encoded,
    failures,
    make_recipe,
    packed,
    picture,
    rows,
    run,
    statuses,
    write_photos,
)

COUNT = 5
SIZES = ((40, 48), (32, 30))
"""Height and width of targets and of sources."""
TONE: dict[str, Any] = {"name": "look", "annotators": {"tests.plugins.tone": {}}}


def pixels(number: int, index: int) -> np.ndarray:
    return picture(2 * number + index, SIZES[index])


def write(root: Path, **odd: dict[str, Any]) -> Path:
    """Write pairs; `odd` says more of some, by number (`n3`)."""
    root.mkdir()
    for number in range(COUNT):
        for index, role in enumerate(("target", "source")):
            (root / f"{number}.{role}.png").write_bytes(encoded(pixels(number, index)))
        said = {"instruction": f"do {number}", "score": number / 4, **odd.get(f"n{number}", {})}
        (root / f"{number}.json").write_text(json.dumps(said), encoding="utf-8")
    return root


def recipe(pairs: Path, *stages: dict[str, Any], **changes: Any) -> Recipe:
    return make_recipe(pairs, [*stages], **{"kind": "pair", "source": {"tests.plugins.couple": str(pairs)}, **changes})


def parts(out: Path, column: str) -> list[dict[str, bytes]]:
    found = dataset(out)
    held = []
    for manifest in found.manifests(column):
        reader = ColumnReader(found, manifest)
        held += [reader.parts(row) for row in reader.rows]
        reader.close()
    return held


def shown(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image)


def test_one_row_holds_both_images_and_what_is_said_of_each(tmp_path):
    pairs, out = write(tmp_path / "pairs"), tmp_path / "out"
    summary = run(recipe(pairs, TONE), out)
    assert {column: counts.ok for column, counts in summary.counts.items()} == dict.fromkeys(
        ["image", "about", "select", "tone"], COUNT
    )
    for number, (row, stored) in enumerate(zip(rows(out, "image"), parts(out, "image"), strict=True)):
        files = [(pairs / f"{number}.{role}.png").read_bytes() for role in ("target", "source")]
        assert stored == {"png": files[0], "img1.png": files[1]}
        assert row.values["members"] == [hashlib.sha256(data).hexdigest() for data in files]
        assert row.key == sample_key("pair", row.values["members"], f"do {number}")
        assert (row.values["height"], row.values["width"], row.values["caption"]) == (*SIZES[0], "after")
        (other,) = row.values["others"]
        assert (other["height"], other["width"], other["caption"], other["licence"]) == (*SIZES[1], "before", None)
        assert row.values["licence"] == "CC0-1.0"
        assert row.values["instruction"] == f"do {number}"
        assert row.values["sha256"] is row.values["subject"] is None
    assert [row.values["score"] for row in rows(out, "about")] == [number / 4 for number in range(COUNT)]
    # Two images a sample, eight a shard, and no sample in two.
    assert [len(dataset(out).rows(manifest)) for manifest in dataset(out).manifests("image")] == [4, 1]
    assert not list(verify(dataset(out), full=True))


def test_an_image_of_a_pair_is_annotated_as_if_it_were_alone(tmp_path):
    pairs, out, alone = write(tmp_path / "pairs"), tmp_path / "out", tmp_path / "alone"
    stages = TONE, {"name": "then", "annotators": {"tests.plugins.shade": {}}}
    run(recipe(pairs, *stages, limits={"failure_rate": 0}), out)
    single = make_recipe(pairs, [*stages], source={"folder": str(pairs), "sidecars": False}, samples_per_shard=100)
    run(single, alone)
    names = [f"{number}.{role}.png" for number in range(COUNT) for role in ("source", "target")]
    assert [row.values["item"] for row in rows(alone, "image")] == names
    expected = dict(
        zip(names, zip(rows(alone, "tone"), parts(alone, "tone"), rows(alone, "shade"), strict=True), strict=True)
    )
    for number, row in enumerate(rows(out, "tone")):
        target, source = (expected[f"{number}.{role}.png"] for role in ("target", "source"))
        (other,) = row.values["others"]
        assert (row.values["mean"], other["mean"]) == (target[0].values["mean"], source[0].values["mean"])
        assert (row.values["text"], other["text"]) == ("after", "before")
        assert parts(out, "tone")[number] == {"tone.png": target[1]["tone.png"], "img1.tone.png": source[1]["tone.png"]}
        shade = rows(out, "shade")[number].values
        assert [shade["width"], shade["others"][0]["width"]] == [SIZES[0][1], SIZES[1][1]]
        assert [shade["text"], shade["others"][0]["text"]] == ["after", "before"]
        assert max(shade["gap"], shade["others"][0]["gap"]) < 1


def test_a_batch_counts_images(tmp_path):
    pairs, out = write(tmp_path / "pairs"), tmp_path / "out"
    sizes: list[int] = []
    for batch_size, batches in ((1, [2] * 5), (3, [2] * 5), (4, [4, 4, 2]), (100, [10])):
        calls = tmp_path / f"calls{batch_size}"
        stage = {
            "name": "look",
            "batch_size": batch_size,
            "annotators": {"tests.plugins.batches": {"calls": str(calls)}},
        }
        run(recipe(pairs, stage, samples_per_shard=100), out.with_name(f"out{batch_size}"))
        sizes = [int(line) for line in calls.read_text().split()]
        assert sizes == batches


@pytest.mark.parametrize("index", [0, 1])
def test_one_image_takes_the_whole_pair(tmp_path, index):
    captions = ["after", "before"]
    captions[index] = "rejected"
    bad = ["after", "before"]
    bad[index] = "unknown field"
    pairs = write(tmp_path / "pairs", n1={"captions": captions}, n3={"captions": bad})
    (pairs / f"2.{('target', 'source')[index]}.png").write_bytes(b"no picture")
    out = tmp_path / "out"
    stage = {"name": "look", "annotators": {"tests.plugins.odd": {}}}
    run(recipe(pairs, stage, limits={"failure_rate": 1}), out)
    assert statuses(out, "image") == ["ok", "ok", "failed not_an_image", "ok", "ok"]
    assert statuses(out, "odd") == ["ok", "filtered not_wanted", "skipped image:failed", "failed bad_annotation", "ok"]
    assert statuses(out, "shards").count("ok") == COUNT - 1, "the view asks for the images alone"
    messages = [
        f.message for column in ("image", "odd") for m in dataset(out).manifests(column) for f in m.run.failures
    ]
    assert [message.partition(":")[0] for message in messages] == [f"image {index + 1} of 2"] * 2
    failed = rows(out, "image")[2]
    assert failed.key
    assert len(failed.values["members"]) == 2, "what was read is known, whatever became of it"
    assert not list(verify(dataset(out), full=True))


def test_a_pair_whose_file_is_gone_fails_alone_and_is_retried_alone(tmp_path):
    pairs, out, calls = write(tmp_path / "pairs"), tmp_path / "out", tmp_path / "calls"
    stage = {"name": "look", "annotators": {"tests.plugins.tone": {"calls": str(calls)}}}
    whole = recipe(pairs, stage, limits={"failure_rate": 1})
    run(whole, tmp_path / "never failed")
    calls.unlink()
    source = (pairs / "2.source.png").read_bytes()
    (pairs / "2.source.png").unlink()
    run(whole, out)
    assert failures(out, "image") == [("2", "source_gone")]
    assert rows(out, "image")[2].key is None
    assert count_calls(calls)["tone"] == 2 * (COUNT - 1)
    calls.unlink()
    (pairs / "2.source.png").write_bytes(source)
    run(whole, out, retry=Retry("source_*"))
    assert count_calls(calls)["tone"] == 2
    assert packed(out) == packed(tmp_path / "never failed")


def test_rules_hold_for_both_images(tmp_path):
    pairs, out = write(tmp_path / "pairs"), tmp_path / "out"
    means = [
        [float(pixels(number, index).mean(axis=2).astype(np.uint8).mean()) for index in (0, 1)]
        for number in range(COUNT)
    ]
    limit = min(pair[0] for pair in means) - 0.01
    wanted = [number for number, pair in enumerate(means) if pair[1] > limit]
    assert 0 < len(wanted) < COUNT, "a rule on the target alone would let all pass"
    rule = f"tone.mean > {limit}"
    then = {"name": "then", "annotators": {"tests.plugins.shade": {}}, "where": rule}
    run(recipe(pairs, TONE, then), out)
    assert [n for n, row in enumerate(rows(out, "shade")) if row.status == "ok"] == wanted
    assert {row.reason for row in rows(out, "shade") if row.status == "skipped"} == {"where"}
    filtered = tmp_path / "filtered"
    run(recipe(pairs, TONE, where=rule), filtered)
    assert [n for n, row in enumerate(rows(filtered, "shards")) if row.status == "ok"] == wanted
    chosen = tmp_path / "chosen"
    run(
        recipe(
            pairs,
            TONE,
            select={"keep": {"light": rule, "good": "about.score > 0", "said": "image.instruction <> 'do 3'"}},
        ),
        chosen,
    )
    assert [n for n, row in enumerate(rows(chosen, "select")) if row.status == "ok"] == [
        n for n in wanted if n not in (0, 3)
    ]


def test_two_instructions_are_two_samples_and_the_same_twice_is_one(tmp_path):
    pairs, out = write(tmp_path / "pairs"), tmp_path / "out"
    for name, instruction in (("8", "something else"), ("9", "do 0")):
        for role in ("target", "source"):
            (pairs / f"{name}.{role}.png").write_bytes((pairs / f"0.{role}.png").read_bytes())
        (pairs / f"{name}.json").write_text(json.dumps({"instruction": instruction}))
    run(recipe(pairs), out)
    assert statuses(out, "select") == ["ok"] * (COUNT + 1) + ["filtered duplicate"]
    assert statuses(out, "about")[-1] == "filtered absent"


def test_words_that_no_file_can_hold_are_mended_before_they_name_a_sample(tmp_path):
    pairs, out = write(tmp_path / "pairs", n1={"instruction": "half \ud83d a smile"}), tmp_path / "out"
    run(recipe(pairs), out)
    row = rows(out, "image")[1]
    assert row.values["instruction"] == "half \ufffd a smile"
    assert row.key == sample_key("pair", row.values["members"], "half \ufffd a smile")


def test_a_stock_reader_finds_both_images(tmp_path):
    import webdataset

    pairs, out = write(tmp_path / "pairs"), tmp_path / "out"
    run(recipe(pairs, TONE), out)
    tars = sorted(str(path) for path in (out / "shards").glob("*.tar"))
    samples = list(webdataset.WebDataset(tars, shardshuffle=False, empty_check=False))
    assert [sample["__key__"] for sample in samples] == [row.key for row in rows(out, "image")]
    for number, sample in enumerate(samples):
        assert np.array_equal(shown(sample["png"]), pixels(number, 0))
        assert np.array_equal(shown(sample["img1.png"]), pixels(number, 1))
        assert shown(sample["img1.tone.png"]).shape == SIZES[1]
        about = json.loads(sample["json"])
        assert about["kind"] == "pair"
        assert about["instruction"] == f"do {number}"
        assert about["others"][0]["caption"] == "before"
        assert "licence" not in about["others"][0], "what is not known is left out"
        assert len(about["others"][0]["phash"]) == 16
        assert about["annotations"]["tone"]["others"][0]["text"] == "before"
    with tarfile.open(tars[0]) as tar:
        first = [name.partition(".")[2] for name in tar.getnames()[:5]]
    assert first == ["png", "img1.png", "tone.png", "img1.tone.png", "json"]


def test_the_bytes_do_not_depend_on_the_workers(tmp_path):
    pairs = write(tmp_path / "pairs")
    for workers in (0, 2):
        run(recipe(pairs, TONE), tmp_path / str(workers), workers=workers)
    assert packed(tmp_path / "0") == packed(tmp_path / "2")
    before = committed(tmp_path / "0")
    run(recipe(pairs, TONE), tmp_path / "0")
    assert committed(tmp_path / "0") == before, "a second run does nothing"


@pytest.mark.parametrize("index", [0, 1])
def test_an_image_that_kills_costs_its_pair(tmp_path, index):
    captions = ["after", "before"]
    captions[index] = "segfault"
    pairs, out = write(tmp_path / "pairs", n2={"captions": captions}), tmp_path / "out"
    stage = {"name": "look", "batch_size": 4, "annotators": {"tests.plugins.poison": {"cure": str(tmp_path / "cure")}}}
    run(recipe(pairs, stage, limits={"failure_rate": 1}), out, workers=1)
    assert statuses(out, "poison") == ["ok", "ok", "failed crash", "ok", "ok"]


def test_the_sheet_has_a_row_for_each_image(tmp_path):
    pairs, out = write(tmp_path / "pairs"), tmp_path / "out"
    run(recipe(pairs, TONE), out)
    key = rows(out, "image")[3].key
    sheet = show(dataset(out), [str(key)])
    assert sheet.height > show_single(tmp_path).height
    # The target is the whole of its tile, the source, of another shape, stands below it.
    assert near(sheet, pixels(3, 0)) < 3
    assert near(sheet, pixels(3, 1)) < 3
    assert near(sheet, pixels(2, 1)) > 30


def near(sheet: Image.Image, picture: np.ndarray) -> float:
    """Return how far the most alike place of a sheet is from a picture, as a mean of grey levels."""
    height, width = picture.shape[:2]
    scale = min(TILE_WIDTH / width, TILE_HEIGHTS[1] / height)
    size = (round(width * scale), round(height * scale))
    shown = np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.NEAREST), np.float32)
    found = cv2.matchTemplate(np.asarray(sheet, np.float32), shown, cv2.TM_SQDIFF)
    return float(np.sqrt(found.min() / shown.size))


def show_single(tmp_path: Path) -> Image.Image:
    photos = tmp_path / "photos"
    write_photos(photos, 1)
    run(make_recipe(photos, [TONE]), tmp_path / "single")
    return show(dataset(tmp_path / "single"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "image"}, r"kind must be that of the source, got 'image' with source 'couple'.*Write `kind: pair`"),
        ({"source": {"folder": "x"}}, r"kind must be that of the source, got 'pair' with source 'folder'"),
        ({"kind": "scene"}, r"kind must be that of the source, got 'scene' with source 'couple'"),
        ({"select": {"near_duplicates": {"distance": 3}}}, "near_duplicates must be null for kind 'pair'"),
    ],
)
def test_what_a_pair_cannot_be_is_refused(tmp_path, changes, message):
    with pytest.raises((ConfigError, ValueError), match=message):
        run(recipe(write(tmp_path / "pairs"), **changes), tmp_path / "out")
