"""What a source holds by now, for rows with nothing to protect: retry after mending, and --recompute image.

PYTHONPATH=. python -m pytest tests/end_to_end/test_mended.py
"""

import os
from pathlib import Path

import pytest

from onegen.audit.verify import verify
from onegen.config.recipe import Recipe
from onegen.executor.contract import Retry
from onegen.sample import IMAGE
from tests.end_to_end.test_sources import KINDS, Planned, second
from tests.exports import tar_bytes
from tests.pictures import jpeg
from tests.tiny import (
    Ears,
    committed,
    dataset,
    encoded,
    failures,
    make_recipe,
    picture,
    rows,
    run,
    statuses,
    write_photos,
)


def folder_recipe(photos: Path) -> Recipe:
    stages = [{"name": "look", "annotators": {"tests.plugins.tone": {}}}]
    return make_recipe(photos, stages, samples_per_shard=3, limits={"failure_rate": 1.0})


def assert_nothing_left(recipe: Recipe, out: Path) -> None:
    """A build that runs again has nothing to do, and what is there is sound."""
    before = committed(out)
    run(recipe, out)
    assert committed(out) == before
    assert list(verify(dataset(out), full=True)) == []


def break_folder(photos: Path) -> None:
    """Take one picture away, turn one into text, damage one's caption and lead one to nothing."""
    (photos / "00000.png").unlink()
    (photos / "00001.jpg").unlink()
    (photos / "00001.jpg").symlink_to(photos.parent / "later.jpg")
    (photos / "00002.png").write_text("no picture")
    (photos / "00003.txt").write_bytes("caf\xe9".encode("latin-1"))


def mend_folder(photos: Path) -> None:
    (photos / "00000.png").write_bytes(encoded(picture(0)))
    (photos.parent / "later.jpg").write_bytes(encoded(picture(70)))
    (photos / "00002.png").write_bytes(encoded(picture(71)))
    (photos / "00003.txt").write_text("café", encoding="utf-8")


def test_what_was_mended_is_retried_to_the_bytes_of_a_direct_build(tmp_path):
    photos, out = tmp_path / "photos", tmp_path / "out"
    write_photos(photos, 6)
    (photos / "00003.txt").write_text("planned")
    recipe = folder_recipe(photos)
    run(recipe, out, Planned(lambda: break_folder(photos)))
    assert [item for item, _ in failures(out, IMAGE)] == ["00000.png", "00001.jpg", "00002.png", "00003.jpg"]
    assert statuses(out, "tone")[:4] == ["skipped image:failed"] * 4
    mend_folder(photos)
    digest = run(recipe, out, retry=Retry()).digest
    assert failures(out, IMAGE) == []
    assert digest == run(recipe, tmp_path / "direct").digest
    assert_nothing_left(recipe, out)


def test_rows_that_are_made_stay_as_they_are(tmp_path):
    photos, out = tmp_path / "photos", tmp_path / "out"
    write_photos(photos, 6)
    recipe = folder_recipe(photos)
    run(recipe, out, Planned(lambda: (photos / "00005.jpg").unlink()))
    (photos / "00005.jpg").write_bytes(encoded(picture(5)))
    before = dataset(out).rows(dataset(out).require_manifest(IMAGE, 1))[:2]
    (photos / "00004.png").write_bytes(encoded(picture(72)))
    run(recipe, out, retry=Retry())
    assert dataset(out).rows(dataset(out).require_manifest(IMAGE, 1))[:2] == before


def test_recompute_image_takes_changed_files_as_they_are(tmp_path):
    photos, out = tmp_path / "photos", tmp_path / "out"
    write_photos(photos, 6)
    recipe = folder_recipe(photos)
    run(recipe, out)
    (photos / "00001.jpg").write_bytes(encoded(picture(73)))
    (photos / "00002.png").write_bytes(encoded(picture(74)))
    ears = Ears()
    digest = run(recipe, out, ears, recompute=(IMAGE,)).digest
    assert failures(out, IMAGE) == []
    assert digest == run(recipe, tmp_path / "direct").digest
    assert any("--recompute image takes the 2 changed as they are now" in note for note in ears.notes)
    assert_nothing_left(recipe, out)


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_of_many_that_was_touched_is_retried_with_all_its_columns(kind, tmp_path):
    recipe, out = KINDS[kind](tmp_path / "in"), tmp_path / "out"
    path = second(recipe)
    run(recipe, out, Planned(lambda: os.utime(path, ns=(1, 1))))
    assert failures(out, IMAGE) != [] or kind == "paths"
    digest = run(recipe, out, retry=Retry()).digest
    assert failures(out, IMAGE) == []
    assert digest == run(recipe, tmp_path / "direct").digest
    assert_nothing_left(recipe, out)


def test_a_member_is_found_where_it_lies_in_a_tar_that_was_written_again(tmp_path):
    photos, out = tmp_path / "tars", tmp_path / "out"
    photos.mkdir()
    tar = photos / "a.tar"
    sound = [(f"{n}.jpg", jpeg(n)) for n in range(4)]
    tar.write_bytes(tar_bytes([*sound[:2], ("2.jpg", b"torn"), ("3.jpg", b"torn")]))
    recipe = make_recipe(Path(), [], source={"webdataset": str(photos)}, limits={"failure_rate": 1.0})
    run(recipe, out)
    tar.write_bytes(tar_bytes([("first.txt", b"a new member moves all others"), *reversed(sound[:3])]))
    run(recipe, out, retry=Retry())
    assert failures(out, IMAGE) == [("a.tar#3", "source_gone")]
    tar.write_bytes(tar_bytes(sound))
    run(recipe, out, retry=Retry())
    run(recipe, tmp_path / "direct")
    # But for the uri, which says where the plan saw it.
    assert [row.values["sha256"] for row in rows(out, IMAGE)] == [
        row.values["sha256"] for row in rows(tmp_path / "direct", IMAGE)
    ]
