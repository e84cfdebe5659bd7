"""Bad data and bad places: each ends with a sentence that names the thing, the rule and the way out."""

import errno
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from onegen.build.assemble import make_steps
from onegen.config.recipe import Recipe, make_source
from onegen.errors import ConfigError, Stopped
from onegen.storage.local import LocalStore
from tests.broken_stores import FullStore
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
    strays,
    write_photos,
)

STAGES: list[dict[str, Any]] = [{"name": "look", "annotators": {"tests.plugins.tone": {}}}]


def huge_png(side: int) -> bytes:
    """Return a PNG whose header promises a square image that is not there."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")


def test_bad_files_fail_by_name_and_the_rest_is_built(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    good = encoded(picture(1), ".jpg")
    files = {
        "a truncated.jpg": good[: len(good) * 2 // 3],
        "b text.jpg": b"this is not a picture, whatever it is called\n",
        "c empty.png": b"",
        "d huge.png": huge_png(50_000),
        "e fine.jpg": good,
        "f the.same.bytes.jpg": good,
        "sub folder/g.dots. and spaces .png": encoded(picture(2)),
        "unter/h größe 写真 📷.png": encoded(picture(3)),
        "unter/i'quote\"s;--.png": encoded(picture(4)),
    }
    for name, data in files.items():
        (photos / name).parent.mkdir(exist_ok=True)
        (photos / name).write_bytes(data)
    summary = run(make_recipe(photos, STAGES), tmp_path / "out")
    assert {row.values["uri"]: f"{row.status} {row.reason}" for row in rows(tmp_path / "out", "image")} == {
        "a truncated.jpg": "failed undecodable",
        "b text.jpg": "failed not_an_image",
        "c empty.png": "failed empty_file",
        "d huge.png": "failed too_many_pixels",
        "e fine.jpg": "ok None",
        "f the.same.bytes.jpg": "ok None",
        "sub folder/g.dots. and spaces .png": "ok None",
        "unter/h größe 写真 📷.png": "ok None",
        "unter/i'quote\"s;--.png": "ok None",
    }
    assert statuses(tmp_path / "out", "select")[5] == "filtered duplicate"
    messages = {f.item: f.message for m in dataset(tmp_path / "out").manifests("image") for f in m.run.failures}
    assert "at most 100,000,000 pixels, got 50000x50000. Raise image.max_pixels" in messages["d huge.png"]
    assert "b'this is not " in messages["b text.jpg"]
    assert summary.counts["tone"].ok == 4
    assert summary.packed is not None
    assert summary.packed.ok == 4
    assert strays(tmp_path / "out") == []


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "notes.txt").write_text("nothing here")
    with pytest.raises(ConfigError, match=r"at least one image, got none in .*photos\. Check the path"):
        run(make_recipe(tmp_path / "photos", STAGES), tmp_path / "out")
    write_photos(tmp_path / "photos", 1)
    assert run(make_recipe(tmp_path / "photos", STAGES), tmp_path / "out").counts["tone"].ok == 1


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="source folder must exist, got .*nowhere"):
        run(make_recipe(tmp_path / "nowhere", STAGES), tmp_path / "out")


@pytest.mark.parametrize(
    ("annotators", "message"),
    [
        ({"hedd": {}}, r"annotators 'hedd' is unknown; did you mean 'hed'\?"),
        ({"tests.plugins.tonne": {}}, r"annotators 'tests.plugins.tonne' is unknown"),
        ({"tests.plugins.tone": {"gian": 2}}, r"'tests.plugins.tone' has no option 'gian'; did you mean 'gain'\?"),
        ({"tests.plugins.echo": {}}, r"annotator 'echo' needs the column 'tone' from an earlier stage"),
    ],
)
def test_annotators_that_cannot_be_made_are_refused(tmp_path: Path, annotators: dict, message: str) -> None:
    recipe = make_recipe(tmp_path, [{"name": "look", "annotators": annotators}])
    with pytest.raises(ConfigError, match=message):
        make_steps(recipe, make_source(recipe.source), LocalStore(str(tmp_path / "out")))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("places")
    write_photos(root / "photos", 16)
    run(make_recipe(root / "photos", STAGES), root / "out")
    return root


@pytest.fixture
def out(built: Path, tmp_path: Path) -> Path:
    shutil.copytree(built / "out", tmp_path / "out")
    return tmp_path / "out"


@pytest.fixture
def recipe(built: Path) -> Recipe:
    return make_recipe(built / "photos", STAGES)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "other"}, "holds 'tiny', whose plan is pinned: name: 'tiny' -> 'other'"),
        ({"samples_per_shard": 4}, "samples_per_shard: 8 -> 4"),
        ({"source": {"folder": "/"}}, "source root: .* -> '/?'"),
    ],
)
def test_an_output_that_holds_another_dataset_is_refused(
    recipe: Recipe, out: Path, changes: dict, message: str
) -> None:
    before = snapshot(out)
    with pytest.raises(ConfigError, match=message) as refused:
        run(recipe.model_copy(update=changes), out)
    assert "Choose another OUT, or put the recipe back." in str(refused.value)
    assert snapshot(out) == before


def test_another_limit_is_refused_and_none_keeps_the_pinned_one(recipe: Recipe, tmp_path: Path) -> None:
    assert run(recipe, tmp_path / "out", limit=3).counts["image"].rows == 3
    with pytest.raises(ConfigError, match="--limit: 3 -> 5"):
        run(recipe, tmp_path / "out", limit=5)
    assert run(recipe, tmp_path / "out").counts["image"].rows == 3


@pytest.mark.parametrize(
    ("card", "message"),
    [
        ({"schema_version": 2}, "must have schema version 1, got 2 in .*Use the onegen that made it, or another OUT"),
        ({"kind": "film"}, "dataset.json must be the card of a dataset, and does not read as one"),
    ],
)
def test_an_output_of_another_schema_is_refused(recipe: Recipe, out: Path, card: dict, message: str) -> None:
    found = json.loads((out / "dataset.json").read_text())
    (out / "dataset.json").write_text(json.dumps({**found, **card}))
    before = snapshot(out)
    with pytest.raises(ConfigError, match=message):
        run(recipe, out)
    assert snapshot(out) == before


def test_an_output_with_foreign_files_is_refused(recipe: Recipe, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("years of work")
    with pytest.raises(ConfigError, match=r"empty or an onegen dataset, got .* with 'thesis.tex'. Choose another OUT"):
        run(recipe, tmp_path / "out")
    assert snapshot(tmp_path / "out") == {"thesis.tex": b"years of work"}


def test_an_output_that_is_a_file_is_refused(recipe: Recipe, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises((ConfigError, Stopped), match=r"output .*out"):
        run(recipe, tmp_path / "out")
    assert (tmp_path / "out").read_text() == "a file"


FULL = [("spool", "tone/000001", 1), ("publish", "tone/000001", 0), ("write", "tone/000001", 0), ("write", "plan", 0)]


@pytest.mark.parametrize(("kind", "part", "workers"), FULL)
def test_a_full_disk_stops_the_build_and_loses_nothing(
    recipe: Recipe, built: Path, tmp_path: Path, kind: str, part: str, workers: int
) -> None:
    store = FullStore(str(tmp_path / "out"), kind, part)
    if workers:
        run(recipe, tmp_path / "out", only=("image", "select"))
    with pytest.raises(Stopped) as stopped:
        run(recipe, store, workers=workers)
    assert "disk must have room for the shard being written" in str(stopped.value)
    assert "Free space, then run the same command again: nothing committed is lost." in str(stopped.value)
    before = committed(tmp_path / "out")
    assert (part == "plan") == (before == {})
    run(recipe, tmp_path / "out")
    assert {name: committed(tmp_path / "out")[name] for name in before} == before
    assert packed(tmp_path / "out") == packed(built / "out")
    assert strays(tmp_path / "out") == []


def test_a_file_system_that_turns_read_only_stops_the_build(recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(Stopped, match="output must be writable, got .*Read-only file system. Choose another OUT"):
        run(recipe, FullStore(str(tmp_path / "out"), "publish", "columns/tone", errno.EROFS))


def test_a_stored_file_cut_short_is_named(recipe: Recipe, out: Path, built: Path) -> None:
    (tar,) = (out / "columns" / "image").glob("000001-*.tar")
    tar.write_bytes(tar.read_bytes()[:700])
    shutil.rmtree(out / "columns" / "tone")
    with pytest.raises(Stopped, match=rf"columns/image/{tar.name} must hold \d+ bytes at \d+, got .*onegen verify"):
        run(recipe, out)
    # A tar that is gone is made again; one that lies about its bytes is for the user to judge.
    tar.unlink()
    run(recipe, out)
    assert tar.is_file()


@pytest.fixture
def public(built: Path) -> Iterator[Path]:
    """A folder that another user can reach, with the photos in it."""
    root = Path(tempfile.mkdtemp(dir="/tmp"))
    root.chmod(0o755)
    shutil.copytree(built / "photos", root / "photos")
    yield root
    for folder, _, _ in os.walk(root):
        os.chmod(folder, 0o755)
    shutil.rmtree(root)


def drive_as_nobody(recipe: Recipe, out: Path) -> subprocess.CompletedProcess[str]:
    """Build as a user whom permissions bind."""
    orders = json.dumps({"recipe": recipe.model_dump(mode="json"), "store": str(out), "as_nobody": True})
    command = [sys.executable, "-m", "tests.driver"]
    environment = {**os.environ, "TMPDIR": "/tmp"}
    return subprocess.run(command, input=orders, text=True, capture_output=True, env=environment)


def test_an_unreadable_folder_is_refused(public: Path) -> None:
    (public / "photos" / "private").mkdir(mode=0o700)
    (public / "photos" / "private").chmod(0)
    (public / "out").mkdir()
    (public / "out").chmod(0o777)
    ended = drive_as_nobody(make_recipe(public / "photos", STAGES), public / "out")
    assert f"ConfigError: source folder must be readable, got {public}/photos/private: Permission" in ended.stderr


def test_an_unreadable_photo_fails_by_name(public: Path) -> None:
    (public / "photos" / "00003.jpg").chmod(0)
    (public / "out").mkdir()
    (public / "out").chmod(0o777)
    ended = drive_as_nobody(make_recipe(public / "photos", STAGES), public / "out")
    assert ended.returncode == 0, ended.stderr
    assert failures(public / "out", "image") == [("00003.jpg", "source_unreadable")]


def test_an_output_one_may_not_write_to_is_refused(public: Path) -> None:
    ended = drive_as_nobody(make_recipe(public / "photos", STAGES), public / "out")
    assert f"Stopped: output must be writable, got {public}/out: Permission denied. Choose another" in ended.stderr


def snapshot(root: Path) -> dict[str, bytes]:
    """Return every file's bytes, but for the lease's."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and path.name != ".lease"
    }
