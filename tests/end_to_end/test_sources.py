"""Whole builds from tables and tars, as hubs and crawlers leave them.

PYTHONPATH=. python -m pytest tests/end_to_end/test_sources.py
"""

import json
import os
import tarfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from onegen.audit.verify import verify
from onegen.config.recipe import Recipe
from onegen.errors import ConfigError
from onegen.executor.contract import Retry
from onegen.sample import IMAGE
from tests.exports import table_bytes, tar_bytes, write_downloads
from tests.pictures import jpeg
from tests.tiny import Ears, column_files, dataset, failures, make_recipe, rows, run, statuses, strays

COUNT = 20
NASTY = [
    "bell \x07 and \x00",
    "\x1b[31mred\r\n\t",
    '"quotes" \\ {braces}',
    "\u2028\u2029\ufeff",
    "日本 😀 \u202e",
    "é" * 100_000,
]


class Planned(Ears):
    """Does something once the plan is made, before any item is read."""

    def __init__(self, then: Callable[[], object]) -> None:
        super().__init__()
        self._then = then

    def note(self, text: str) -> None:
        if text.startswith("planned"):
            self._then()


def captions() -> list[str]:
    return [*NASTY, *(f"picture {number}" for number in range(len(NASTY), COUNT))]


def write_export(folder: Path) -> Recipe:
    """Write what `datasets` exports, in two files, and return its recipe."""
    datasets = pytest.importorskip("datasets")
    folder.mkdir()
    pictures = [{"bytes": jpeg(number), "path": f"{number}.jpg"} for number in range(COUNT)]
    columns = {"image": pictures, "text": captions(), "score": [n / COUNT for n in range(COUNT)]}
    held = datasets.Dataset.from_dict(columns).cast_column("image", datasets.Image())
    held.select(range(12)).to_parquet(str(folder / "train-0.parquet"), batch_size=5)
    held.select(range(12, COUNT)).to_parquet(str(folder / "train-1.parquet"))
    return recipe({"parquet": str(folder / "train-*.parquet"), "caption": "text", "keep": ["score"]})


def write_paths(folder: Path) -> Recipe:
    """Write pictures, two tables of their paths, and return the recipe."""
    (folder / "pictures").mkdir(parents=True)
    for number in range(COUNT):
        (folder / f"pictures/{number}.jpg").write_bytes(jpeg(number))
    for name, chosen in (("train-0", range(12)), ("train-1", range(12, COUNT))):
        columns = {
            "file": [f"pictures/{n}.jpg" for n in chosen],
            "text": [captions()[n] for n in chosen],
            "score": [n / COUNT for n in chosen],
        }
        (folder / f"{name}.parquet").write_bytes(table_bytes(columns))
    return recipe({"parquet": str(folder), "image": "file", "caption": "text", "keep": ["score"]})


def write_tars(folder: Path) -> Recipe:
    """Write the pictures as two tars and return their recipe."""
    folder.mkdir()
    for name, chosen in (("train-0", range(12)), ("train-1", range(12, COUNT))):
        members: list[tuple[str, bytes]] = []
        for n in chosen:
            about = json.dumps({"score": n / COUNT}).encode()
            members += [(f"{n:03d}.jpg", jpeg(n)), (f"{n:03d}.json", about), (f"{n:03d}.txt", captions()[n].encode())]
        (folder / f"{name}.tar").write_bytes(tar_bytes(members))
    return recipe({"webdataset": str(folder / "train-{0..1}.tar")})


def recipe(source: dict[str, Any], **changes: Any) -> Recipe:
    stages = [{"name": "look", "annotators": {"tests.plugins.tone": {}}, "where": "metadata.score > 0.2"}]
    return make_recipe(
        Path(), stages, source=source, **{"select": {"keep": {"low": "metadata.score < 0.9"}}, **changes}
    )


KINDS = {"export": write_export, "paths": write_paths, "tars": write_tars}


@pytest.fixture(params=KINDS)
def made(request, tmp_path) -> Recipe:
    return KINDS[request.param](tmp_path / "in")


def test_a_build_keeps_pictures_captions_and_metadata(made, tmp_path):
    out = tmp_path / "out"
    summary = run(made, out, workers=2)
    assert summary.digest == run(made, tmp_path / "alone").digest
    images = rows(out, IMAGE)
    assert [row.status for row in images] == ["ok"] * COUNT
    assert [row.values["caption"] for row in images] == captions()
    assert [row.values["score"] for row in rows(out, "metadata")] == [n / COUNT for n in range(COUNT)]
    assert statuses(out, "select") == ["ok"] * 18 + ["filtered rule:low"] * 2
    assert Counter(statuses(out, "tone")) == {"ok": 13, "skipped where": 5, "skipped select:filtered": 2}
    assert summary.packed.ok == 18
    assert list(verify(dataset(out), full=True)) == []
    assert strays(out) == []
    said, pictures = {}, {}
    for tar in sorted((out / "shards").glob("*.tar")):
        with tarfile.open(tar) as opened:
            for info in opened:
                data = opened.extractfile(info).read()
                key, _, part = info.name.partition(".")
                if part == "json":
                    said[key] = json.loads(data.decode("utf-8"))
                elif part == "jpg":
                    pictures[key] = data
    by_caption = {one["caption"]: (pictures[key], one["annotations"]["metadata"]) for key, one in said.items()}
    assert by_caption == {captions()[n]: (jpeg(n), {"score": n / COUNT}) for n in range(18)}


def second(made: Recipe) -> Path:
    """Return the second of the source's files."""
    (pattern,) = (made.source[name] for name in ("parquet", "webdataset") if name in made.source)
    folder = Path(pattern) if Path(pattern).is_dir() else Path(pattern).parent
    return next(iter(folder.glob("train-1.*")))


def test_a_file_that_went_after_the_plan_is_retried_to_the_same_digest(made, tmp_path):
    path = second(made)
    sound = run(made, tmp_path / "sound").digest
    out = tmp_path / "out"
    failed = run(made, out, Planned(lambda: path.rename(tmp_path / "away")))
    assert Counter(statuses(out, IMAGE)) == {"ok": 12, "failed source_gone": 8}
    assert {reason for _, reason in failures(out, IMAGE)} == {"source_gone"}
    assert statuses(out, "metadata")[12:] == ["skipped image:failed"] * 8
    assert failed.over_limit == (IMAGE,)
    (tmp_path / "away").rename(path)
    assert run(made, out, retry=Retry("source_gone")).digest == sound
    assert statuses(out, IMAGE) == ["ok"] * COUNT


def test_a_file_that_changed_after_the_plan_fails_its_rows(made, tmp_path):
    path = second(made)
    moment = os.stat(path).st_mtime_ns

    def touch() -> None:
        os.utime(path, ns=(moment, moment + 1_000_000))

    run(made, tmp_path / "out", Planned(touch))
    assert Counter(statuses(tmp_path / "out", IMAGE)) == {"ok": 12, "failed source_changed": 8}
    os.utime(path, ns=(moment, moment))
    run(made, tmp_path / "out", retry=Retry())
    assert Counter(statuses(tmp_path / "out", IMAGE)) == {"ok": COUNT}


def test_metadata_that_went_between_two_stages_fails_its_column_alone(made, tmp_path):
    path, out = second(made), tmp_path / "out"
    run(made, out, only=("image",))
    path.rename(tmp_path / "away")
    run(made, out)
    assert set(statuses(out, IMAGE)) == {"ok"}
    assert Counter(statuses(out, "metadata")) == {"ok": 12, "failed source_gone": 8}
    (tmp_path / "away").rename(path)
    run(made, out, retry=Retry(), retry_stage="metadata")
    assert set(statuses(out, "metadata")) == {"ok"}


def test_more_may_be_kept_later_without_touching_the_images(tmp_path):
    made = write_paths(tmp_path / "in")
    out = tmp_path / "out"
    run(made, out)
    images = column_files(out, IMAGE)
    more = made.model_copy(update={"source": {**made.source, "keep": ["score", "file"]}})
    with pytest.raises(ConfigError, match=r"metadata: options.fields.file: None -> 'string'"):
        run(more, out)
    run(more, out, recompute=("metadata",))
    assert rows(out, "metadata")[3].values == {"score": 3 / COUNT, "file": "pictures/3.jpg"}
    assert column_files(out, IMAGE) == images


def add_late_shard(folder: Path, kind: str) -> None:
    """Put a file beside those of a source whose score is text."""
    if kind == "tars":
        parts = [("900.jpg", jpeg(900)), ("900.json", json.dumps({"score": "late", "more": 1}).encode())]
        (folder / "train-2.tar").write_bytes(tar_bytes(parts))
    else:
        columns = {"file": ["pictures/1.jpg"], "text": ["late"], "score": ["late"]}
        (folder / "train-2.parquet").write_bytes(table_bytes(columns))


@pytest.mark.parametrize(("kind", "pattern"), [("tars", "train-*.tar"), ("paths", "train-*.parquet")])
def test_a_file_that_comes_later_changes_no_type(tmp_path, kind, pattern):
    made = KINDS[kind](tmp_path / "in")
    name = next(name for name in ("parquet", "webdataset") if name in made.source)
    made = made.model_copy(update={"source": {**made.source, name: str(tmp_path / "in" / pattern)}})
    out = tmp_path / "out"
    digest = run(made, out).digest
    assert dataset(out).require_card().plan.provides == {"metadata": {"score": "double"}}
    add_late_shard(tmp_path / "in", kind)
    assert run(made, out).digest == digest
    assert dataset(out).require_card().plan.provides == {"metadata": {"score": "double"}}
    more = made.model_copy(update={"source": {**made.source, "keep": ["score", "more" if kind == "tars" else "file"]}})
    with pytest.raises(ConfigError, match=r"got double of 'score'|Cannot compare values of type VARCHAR"):
        run(more, out)


def test_tars_are_looked_at_once(tmp_path, monkeypatch):
    made = write_tars(tmp_path / "in")
    run(made, tmp_path / "out", only=("image",))
    monkeypatch.setattr("onegen.sources.reading.tars.Tars.objects", lambda *_: pytest.fail("looked at again"))
    run(made, tmp_path / "out")


def test_recompute_looks_again(tmp_path):
    made, out = write_tars(tmp_path / "in"), tmp_path / "out"
    run(made, out)
    members = [("000.jpg", jpeg(0)), ("000.json", b'{"score": 0, "more": 1}'), ("000.txt", b"a")]
    (tmp_path / "in/train-0.tar").write_bytes(tar_bytes(members))
    run(made, out, recompute=("image",))
    assert dataset(out).require_card().plan.provides == {"metadata": {"score": "double", "more": "int64"}}


def test_a_crawl_is_counted_against_what_was_asked_for(tmp_path):
    asked = write_downloads(tmp_path / "in", tars=4, each=9)
    tar = tmp_path / "in/00003.tar"
    with tarfile.open(tar) as opened:
        second_header = opened.getmembers()[1].offset
    tar.write_bytes(tar.read_bytes()[: second_header + 100])
    made = make_recipe(Path(), [], source={"webdataset": str(tmp_path / "in/*.tar")}, limits={"failure_rate": 1.0})
    out = tmp_path / "out"
    summary = run(made, out)
    said = {row.values["item"]: row.reason for row in rows(out, IMAGE)}
    assert set(said) == {*asked, "00003.tar"}
    assert Counter(said.values()) == {None: 19, "download_failed": 12, "not_in_tar": 5, "damaged_tar": 1}
    assert summary.counts["metadata"].model_dump() == {"rows": 37, "ok": 18, "skipped": 18, "filtered": 1, "failed": 0}
    message = {f.item: f.message for m in dataset(out).manifests(IMAGE) for f in m.run.failures}
    assert "HTTP Error 404: Not Found" in message["00001.tar#000010002"]
    urls = [row.values["url"] for row in rows(out, "metadata") if row.status == "ok"]
    assert urls[0] == "https://pictures.example/000000000.jpg"
    assert list(verify(dataset(out), full=True)) == []


def test_a_table_without_the_mapped_column_changes_nothing(tmp_path):
    made = write_paths(tmp_path / "in")
    wrong = made.model_copy(update={"source": {**made.source, "image": "image"}})
    with pytest.raises(ConfigError, match="got 'image'; it has file, text, score"):
        run(wrong, tmp_path / "out")
    assert not (tmp_path / "out/dataset.json").exists()


def test_what_is_passed_over_is_said_after_planning(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(jpeg(1))
    for name in ("b.heic", "c.heic", "d.mp4"):
        (folder / name).write_bytes(b"1")
    ears = Ears()
    run(make_recipe(folder, []), tmp_path / "out", ears)
    assert {note for note in ears.notes if "passed over" in note} == {
        "2 files passed over, because .heic cannot be opened: convert them to JPEG, PNG or WebP",
        "1 file passed over, because their names do not end like those of images",
    }


@pytest.mark.parametrize("kind", ["paths", "tars"])
def test_an_output_inside_its_source_is_not_read_again(tmp_path, kind):
    made = KINDS[kind](tmp_path / "in")
    (name,) = (name for name in ("parquet", "webdataset") if name in made.source)
    inside = made.model_copy(update={"source": {**made.source, name: str(tmp_path / "in")}})
    out = tmp_path / "in/out"
    digest = run(inside, out).digest
    assert run(inside, out).digest == digest
    assert run(inside, tmp_path / "in/other").digest == digest
    assert len(rows(tmp_path / "in/other", IMAGE)) == COUNT
