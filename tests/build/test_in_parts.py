"""Annotators in parts: read ahead, encoded behind, in the bytes of one that does all at once; and a full device.

PYTHONPATH=. python -m pytest tests/build/test_in_parts.py
"""

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from onegen.build.appetite import Appetite
from onegen.build.stage import StageJob, _batches
from onegen.config.recipe import Recipe
from onegen.executor.contract import Retry, RowsStarted
from onegen.shards.dataset import Dataset
from onegen.storage.local import LocalStore
from tests.plugins.in_parts import OutOfMemoryError
from tests.tiny import SIZE, Ears, make_recipe, run, statuses, write_photos

COUNT = 21


def recipe(folder: Path, captions: dict[int, str] | None = None, batch_size: int = 3, **options: Any) -> Recipe:
    write_photos(folder / "photos", COUNT, captions)
    annotators = {"tests.plugins.in_parts": options, "twice": {"use": "tests.plugins.in_parts", **options}}
    stages = [{"name": "device", "annotators": annotators, "batch_size": batch_size}]
    limits = {"breaker_count": 20, "failure_rate": 1}
    return make_recipe(folder / "photos", stages, limits=limits)


def runs(out: Path) -> list[Any]:
    dataset = Dataset(LocalStore(str(out)))
    return [dataset.require_manifest("in_parts", shard).run for shard in range(3)]


@pytest.mark.parametrize("workers", [0, 2])
def test_ahead_and_behind_give_the_bytes_of_one_after_another(tmp_path, monkeypatch, workers):
    asked = recipe(tmp_path)
    ahead = run(asked, tmp_path / "ahead", workers=workers)
    monkeypatch.setattr(StageJob, "_num_threads", lambda self, shards, task: 0)
    assert run(asked, tmp_path / "plain").digest == ahead.digest
    assert all(0 < part.busy_seconds < part.seconds for part in runs(tmp_path / "ahead"))


@pytest.mark.parametrize("part", ["prepare", "infer", "finish"])
@pytest.mark.parametrize("word", ["raise", "kill"])
def test_poison_costs_one_sample_in_whichever_part_it_works(tmp_path, part, word):
    asked = recipe(tmp_path, {4: f"{part} {word}", 20: f"{part} {word}"}, cure=str(tmp_path / "cure"))
    run(asked, tmp_path / "out", workers=2 if word == "kill" else 0)
    reason = {"raise": "failed runtime_error", "kill": "failed crash"}[word]
    expected = [reason if number in (4, 20) else "ok" for number in range(COUNT)]
    assert statuses(tmp_path / "out", "in_parts") == statuses(tmp_path / "out", "twice") == expected
    (tmp_path / "cure").touch()
    cured = run(asked, tmp_path / "out", retry=Retry())
    assert cured.digest == run(asked, tmp_path / "direct").digest


def test_what_is_ahead_and_behind_is_named_with_what_runs(tmp_path, monkeypatch):
    """A process that dies while it decodes the next batch leaves that batch among its suspects."""
    named: list[tuple[str, tuple[int, ...]]] = []
    perform = StageJob.perform

    def listened(self, task):
        for message in perform(self, task):
            if isinstance(message, RowsStarted) and message.positions and self.name == "device":
                named.append((message.column, message.positions))
            yield message

    monkeypatch.setattr(StageJob, "perform", listened)
    run(recipe(tmp_path), tmp_path / "out")
    first_shard = named[: named.index(("twice", (6, 7, 3, 4, 5))) + 1]
    assert [rows for column, rows in first_shard if column == "in_parts"] == [
        (0, 1, 2, 3, 4, 5),
        (3, 4, 5, 6, 7, 0, 1, 2),
        (6, 7, 3, 4, 5),
    ]


def test_a_full_device_gets_half_and_the_results_stay(tmp_path):
    calls = tmp_path / "calls"
    ears = Ears()
    run(recipe(tmp_path, batch_size=8, holds=3, calls=str(calls)), tmp_path / "out", ears)
    told = r"in_parts: the device's memory was full \d time\(s\), batches were halved to as few as 2; "
    assert any(re.match(told, note) for note in ears.notes), ears.notes
    plain = recipe(tmp_path, batch_size=8)
    run(plain, tmp_path / "plain")
    means = [
        [
            row.values["mean"]
            for shard in range(3)
            for row in Dataset(LocalStore(str(out))).rows(
                Dataset(LocalStore(str(out))).require_manifest("in_parts", shard)
            )
        ]
        for out in (tmp_path / "out", tmp_path / "plain")
    ]
    assert means[0] == means[1]
    sizes = [int(line) for line in calls.read_text().split()]
    assert sizes[:4] == [8, 4, 2, 2], "halved until it fits, and it fits from then on"
    assert sizes.count(8) == 1
    said = runs(tmp_path / "out")
    assert (said[0].halvings, said[0].smallest_batch) == (2, 2)
    assert [part.halvings for part in runs(tmp_path / "plain")] == [0, 0, 0]


def test_one_picture_that_does_not_fit_fails_alone(tmp_path):
    run(recipe(tmp_path, {2: "infer raise"}, batch_size=8), tmp_path / "out")
    assert statuses(tmp_path / "out", "in_parts").count("ok") == COUNT - 1


class Device:
    """A network on a device that holds so many; notes how many it is given."""

    def __init__(self, holds: int) -> None:
        self.holds = holds
        self.given: list[int] = []

    def __call__(self, prepared: Any) -> list[Any]:
        self.given.append(len(prepared))
        if len(prepared) > self.holds:
            raise OutOfMemoryError("full")
        return list(prepared)


def test_appetite_halves_and_grows_again():
    appetite, device = Appetite(), Device(5)
    for _ in range(3):
        assert appetite.fed(device, range(16)) == list(range(16))
    # 16 and 8 are too many; after eight batches of four, eight are tried once more.
    assert device.given[:6] == [16, 8, 4, 4, 4, 4]
    assert device.given[6:14] == [4, 4, 4, 4, 8, 4, 4, 4]
    assert (appetite.halvings, appetite.smallest) == (3, 4)
    device.holds, device.given = 99, []
    for _ in range(6):
        appetite.fed(device, range(16))
    assert device.given[-1] == 16, "grown back to all that it is given"


def test_one_item_that_does_not_fit_never_loops():
    appetite, device = Appetite(), Device(0)
    with pytest.raises(OutOfMemoryError):
        appetite.fed(device, range(4))
    assert device.given == [4, 2, 1]


def test_other_errors_are_none_of_its_business():
    def broken(prepared: Any) -> list[Any]:
        raise RuntimeError("shape mismatch")

    appetite = Appetite()
    with pytest.raises(RuntimeError, match="shape mismatch"):
        appetite.fed(broken, range(4))
    assert appetite.halvings == 0


def test_batches_end_where_their_pixels_or_their_number_would_be_too_many():
    pixels = [100, 100, 300, 50, 900, 50, 50, 50, 50]
    plan = [SimpleNamespace(images=("one",)) for _ in pixels]
    shard = SimpleNamespace(inputs=SimpleNamespace(plan=plan), to_compute=set(range(9)) - {3})
    feed = SimpleNamespace(num_pixels=lambda position: pixels[position])
    # Row 3 is not computed and counts nothing; row 4 is too large, and goes alone.
    assert list(_batches([shard], 3, 400, feed)) == [[0, 1], [2, 3], [4], [5, 6, 7], [8]]
    assert list(_batches([shard], 3, None, feed)) == [[0, 1, 2], [3, 4, 5, 6], [7, 8]]


def test_a_bound_on_pixels_changes_no_byte(tmp_path):
    asked = recipe(tmp_path)
    direct = run(asked, tmp_path / "direct")
    (stage,) = asked.stages
    bounded = asked.model_copy(update={"stages": [stage.model_copy(update={"batch_pixels": 2 * SIZE[0] * SIZE[1]})]})
    assert run(bounded, tmp_path / "bounded").digest == direct.digest
    assert run(bounded, tmp_path / "direct").digest == direct.digest  # nothing is stale
