"""What is left to do, and what a retry matches. PYTHONPATH=. python -m pytest tests/build/test_pending.py"""

import shutil

import pytest

from onegen.executor.contract import Retry
from tests.tiny import Ears, committed, make_recipe, manifest_json, run, statuses, write_photos


@pytest.fixture
def gone(tmp_path):
    """A dataset in which one photo was gone when it was ingested, and its recipe; the photo is back."""
    photos, out = tmp_path / "photos", tmp_path / "out"
    write_photos(photos, 12)
    recipe = make_recipe(photos, [{"name": "look", "annotators": {"tests.plugins.tone": {}}}])

    class Gone(Ears):
        def note(self, text: str) -> None:
            super().note(text)
            if text.startswith("planned"):
                shutil.move(photos / "00003.jpg", tmp_path / "00003.jpg")

    run(recipe, out, Gone())
    assert statuses(out, "image")[3] == "failed source_gone"
    shutil.copy2(tmp_path / "00003.jpg", photos / "00003.jpg")
    return recipe, out


def test_a_retry_that_matches_nothing_says_so_and_names_the_reasons_there_are(gone):
    recipe, out = gone
    before = committed(out)
    ears = Ears()
    run(recipe, out, ears, retry=Retry("crash*"))
    assert ears.notes == ["no failed row matches the retry; the reasons there are: source_gone 1"]
    assert committed(out) == before


def test_a_retry_of_a_dataset_without_failures_says_so(gone):
    recipe, out = gone
    ears = Ears()
    run(recipe, out, ears, retry=Retry("source_*"))
    assert ears.notes == []
    assert statuses(out, "image")[3] == statuses(out, "tone")[3] == "ok"
    run(recipe, out, ears, retry=Retry())
    assert ears.notes == ["no failed row matches the retry; there are none"]


def test_a_retry_is_matched_against_the_rows_and_not_the_messages_beside_them(gone):
    # The run part of a manifest is covered by no digest: it may be lost, and must not decide what is computed.
    recipe, out = gone
    name = "columns/image/000000.json"
    text = (out / name).read_text()
    assert manifest_json(out, "image", 0)["run"]["failures"][0]["reason"] == "source_gone"
    (out / name).write_text(text.replace('"reason": "source_gone"', '"reason": "another"'))
    ears = Ears()
    run(recipe, out, ears, retry=Retry("source_gone"))
    assert ears.notes == []
    assert statuses(out, "image")[3] == "ok"
