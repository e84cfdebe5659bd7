"""A poisonous image costs exactly itself, whatever it does to its worker, on both kinds of workers."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from onegen.build.build import Summary
from onegen.config.recipe import Recipe
from onegen.errors import ConfigError, Stopped
from onegen.executor.contract import Retry
from tests.calls import count_calls
from tests.plugins.garbled import ENDINGS
from tests.plugins.saboteur import HOARD_BYTES
from tests.tiny import dataset, failures, make_recipe, rows, run, statuses, write_photos

PER_SHARD, BATCH = 6, 3
POSITIONS = {"first": 3, "middle": 4, "last": 5}
"""Of the second batch of a shard."""
REASONS = {
    "raise": "runtime_error",
    "hang": "deadline",
    "segfault": "crash",
    "exit": "crash",
    "kill": "crash",
    "sysexit": "crash",
}
WORDS = {"segfault": "SIGSEGV", "kill": "SIGKILL", "exit": "code 3"}
CASES = [(kind, where) for kind in ("raise", "hang", "segfault", "exit", "kill") for where in POSITIONS]
FEW = [("raise", "middle"), ("hang", "middle"), ("segfault", "first"), ("exit", "last"), ("kill", "middle")]
REST = [case for case in CASES if case not in FEW and case[0] != "hang"]
"""Every kind once, and the other positions: each case that kills costs three fresh workers, so these are slow.

Where a row that hangs stands makes no difference to its end, which is a kill; to wait for it costs three deadlines.
"""
TWO_IN_ONE = [(1, "exit"), (2, "segfault")]


@dataclass(frozen=True)
class Poisoned:
    """A dataset in which every case has a shard, built by one kind of workers."""

    executor: str
    cases: list[tuple[str, str]]
    out: Path
    recipe: Recipe
    root: Path
    captions: dict[int, str]
    summary: Summary


def poisoned_recipe(root: Path, captions: dict[int, str], count: int, **limits: float) -> Recipe:
    write_photos(root / "photos", count, captions)
    stage = {
        "name": "look",
        "annotators": {
            "tests.plugins.tone": {},
            "tests.plugins.poison": {"cure": str(root / "cure"), "calls": str(root / "calls")},
        },
        "batch_size": BATCH,
    }
    return make_recipe(root / "photos", [stage], samples_per_shard=PER_SHARD, pack=None, limits=limits)


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(("local", FEW), id="local"),
        pytest.param(("ray", FEW), id="ray"),
        pytest.param(("local", REST), id="local-rest", marks=pytest.mark.slow),
        pytest.param(("ray", REST), id="ray-rest", marks=pytest.mark.slow),
    ],
)
def poisoned(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Poisoned:
    executor, cases = request.param
    if executor == "ray":
        request.getfixturevalue("ray_session")
    root = tmp_path_factory.mktemp(f"poison-{executor}")
    captions = {shard * PER_SHARD + POSITIONS[where]: kind for shard, (kind, where) in enumerate(cases)}
    last = len(cases)
    captions |= {last * PER_SHARD + position: kind for position, kind in TWO_IN_ONE}
    captions[(last + 1) * PER_SHARD] = "sysexit"
    # Ray runs its workers at a low priority: on a busy machine an innocent row may take seconds there.
    patience = 12 if executor == "ray" else 6
    recipe = poisoned_recipe(root, captions, (last + 2) * PER_SHARD, batch_seconds=patience)
    run(recipe, root / "out", only=("image", "select"))
    summary = run(recipe, root / "out", executor=executor, workers=4)
    return Poisoned(executor, cases, root / "out", recipe, root, captions, summary)


def test_exactly_the_poisonous_sample_fails(poisoned: Poisoned) -> None:
    for shard, (kind, where) in enumerate(poisoned.cases):
        position = POSITIONS[where]
        case = f"{kind} at the {where} position of a batch, on {poisoned.executor}"
        manifest = dataset(poisoned.out).manifest("poison", shard)
        assert manifest is not None
        expected = ["ok"] * PER_SHARD
        expected[position] = f"failed {REASONS[kind]}"
        found = dataset(poisoned.out).rows(manifest)
        assert [row.status + (f" {row.reason}" if row.reason else "") for row in found] == expected, case
        (failure,) = manifest.run.failures
        number = shard * PER_SHARD + position
        assert (failure.position, failure.item) == (position, f"{number:05d}{('.png', '.jpg')[number % 2]}"), case
        assert failure.attempts == (1 if kind == "raise" else 3), case
        if poisoned.executor == "local":
            assert WORDS.get(kind, "") in failure.message, case


def test_two_poisons_in_one_shard_cost_two_samples(poisoned: Poisoned) -> None:
    manifest = dataset(poisoned.out).manifest("poison", len(poisoned.cases))
    assert manifest is not None
    assert {failure.position for failure in manifest.run.failures} == {position for position, _ in TWO_IN_ONE}
    assert manifest.counts.ok == PER_SHARD - 2


def test_a_poison_that_leaves_python_is_a_crash(poisoned: Poisoned) -> None:
    manifest = dataset(poisoned.out).manifest("poison", len(poisoned.cases) + 1)
    assert manifest is not None
    assert [(f.position, f.reason) for f in manifest.run.failures] == [(0, "crash")]


def test_the_other_column_of_the_stage_has_every_row(poisoned: Poisoned) -> None:
    assert set(statuses(poisoned.out, "tone")) == {"ok"}
    counts = poisoned.summary.counts["poison"]
    assert counts.failed == len(poisoned.captions)
    assert counts.ok == counts.rows - len(poisoned.captions)
    assert poisoned.summary.over_limit == ("poison",)


def test_retry_after_the_cure_gives_the_digest_of_a_run_that_never_failed(poisoned: Poisoned) -> None:
    (poisoned.root / "cure").touch()
    (poisoned.root / "calls").unlink()
    before = len(failures(poisoned.out, "poison"))
    raising = sum(kind == "raise" for kind, _ in poisoned.cases)
    one = run(poisoned.recipe, poisoned.out, retry=Retry("runtime_*"), retry_stage="poison")
    assert count_calls(poisoned.root / "calls") == {"poison": raising}
    assert len(failures(poisoned.out, "poison")) == before - raising
    again = run(poisoned.recipe, poisoned.out, retry=Retry(), executor=poisoned.executor, workers=2)
    assert count_calls(poisoned.root / "calls") == {"poison": before}
    never = run(poisoned.recipe, poisoned.root / "never")
    assert one.digest != again.digest == never.digest
    assert failures(poisoned.out, "poison") == []


@pytest.mark.parametrize("how", ["exit", "kill"])
def test_workers_that_die_while_loading_stop_the_build(tmp_path: Path, how: str) -> None:
    recipe = stillborn_recipe(tmp_path, how)
    with pytest.raises(Stopped, match=r"workers must start, and 3 did not.*--workers 0"):
        run(recipe, tmp_path / "out", workers=1)
    assert len((tmp_path / "tries").read_text().splitlines()) == 3
    assert dataset(tmp_path / "out").shards("stillborn") == []


def test_a_worker_that_lacks_weights_ends_the_build_in_its_own_words(tmp_path: Path) -> None:
    lack_weights(tmp_path, "local")


@pytest.mark.usefixtures("ray_session")
def test_an_actor_that_lacks_weights_ends_the_build_in_its_own_words(tmp_path: Path) -> None:
    lack_weights(tmp_path, "ray")


def lack_weights(root: Path, executor: str) -> None:
    recipe = stillborn_recipe(root, "config")
    with pytest.raises(ConfigError, match=r"weights must be there, got none\. Run `onegen models fetch`\."):
        run(recipe, root / "out", workers=1, executor=executor)
    assert len((root / "tries").read_text().splitlines()) == 1


@pytest.mark.parametrize("workers", [0, 1])
def test_a_file_missing_at_load_is_not_called_a_failed_write(tmp_path: Path, workers: int) -> None:
    recipe = stillborn_recipe(tmp_path, "missing")
    with pytest.raises(ConfigError, match=r"annotator 'stillborn' must be able to read .*/weights/none.onnx"):
        run(recipe, tmp_path / "out", workers=workers)


def stillborn_recipe(root: Path, how: str) -> Recipe:
    write_photos(root / "photos", 2)
    annotators = {"tests.plugins.stillborn": {"how": how, "tries": str(root / "tries")}}
    recipe = make_recipe(root / "photos", [{"name": "look", "annotators": annotators}], pack=None)
    run(recipe, root / "out", only=("image", "select"))
    return recipe


@pytest.mark.parametrize("workers", [0, 1])
def test_an_annotator_that_always_raises_stops_the_stage_and_commits_nothing(tmp_path: Path, workers: int) -> None:
    recipe = poisoned_recipe(tmp_path, dict.fromkeys(range(12), "raise"), 12, breaker_count=4)
    run(recipe, tmp_path / "out", only=("image", "select"))
    with pytest.raises(
        Stopped, match=r"column poison must not .* failed with runtime_error: RuntimeError: poison raised"
    ) as stopped:
        run(recipe, tmp_path / "out", workers=workers)
    assert ("fresh worker" in str(stopped.value)) == (workers > 0)
    assert dataset(tmp_path / "out").shards("poison") == []
    assert dataset(tmp_path / "out").shards("tone") == []
    (tmp_path / "cure").touch()
    assert run(recipe, tmp_path / "out").digest == run(recipe, tmp_path / "never").digest


def test_samples_at_fault_never_trip_the_breaker(tmp_path: Path) -> None:
    recipe = poisoned_recipe(tmp_path, dict.fromkeys(range(12), "sample"), 12, breaker_count=1, breaker_rate=0)
    summary = run(recipe, tmp_path / "out")
    assert summary.counts["poison"].failed == 12
    assert {row.reason for row in rows(tmp_path / "out", "poison")} == {"bad_sample"}
    assert summary.over_limit == ("poison",)


def test_one_unexpected_failure_is_below_the_breaker(tmp_path: Path) -> None:
    recipe = poisoned_recipe(tmp_path, {1: "raise"}, 6, breaker_count=1, breaker_rate=0.2)
    assert run(recipe, tmp_path / "out").counts["poison"].failed == 1


def test_a_file_that_kills_whoever_reads_it_fails_without_a_key(tmp_path: Path) -> None:
    """Once it is blamed, it must not be read again to name it."""
    photos = write_photos(tmp_path / "photos", 3)
    photos[1].rename(photos[1].with_name("kill.jpg"))
    recipe = make_recipe(tmp_path / "photos", [], source={"tests.plugins.trap": str(tmp_path / "photos")}, pack=None)
    run(recipe, tmp_path / "out", workers=1)
    assert failures(tmp_path / "out", "image") == [("kill.jpg", "crash")]
    assert statuses(tmp_path / "out", "image") == ["ok", "ok", "failed crash"]
    assert rows(tmp_path / "out", "image")[2].key is None


def build_with_garbled_words(root: Path, **how: Any) -> None:
    captions = dict(enumerate(ENDINGS))
    write_photos(root / "photos", len(captions) + 3, captions)
    stages = [{"name": "look", "annotators": {"tests.plugins.garbled": {}}}]
    recipe = make_recipe(root / "photos", stages, samples_per_shard=20, pack=None)
    run(recipe, root / "out", only=("image", "select"))
    run(recipe, root / "out", **how)
    assert statuses(root / "out", "garbled") == [*ENDINGS.values(), "ok", "ok", "ok"]


@pytest.mark.parametrize("workers", [0, 1])
def test_words_that_no_file_can_hold_cost_their_sample_alone(tmp_path: Path, workers: int) -> None:
    build_with_garbled_words(tmp_path, workers=workers)


@pytest.mark.usefixtures("ray_session")
def test_words_that_no_file_can_hold_cost_their_sample_alone_on_ray(tmp_path: Path) -> None:
    build_with_garbled_words(tmp_path, workers=1, executor="ray")


SPOILS = {
    "close and sleep": "failed crash",
    "close": "failed crash",
    "fork and die": "failed crash",
    "chatter": "ok",
    "file size": "failed crash",
    "open files": "failed crash",
    "hoard": "failed memory",
    "fork and return": "ok",
}


QUICK = ("close and sleep", "fork and die")


@pytest.mark.parametrize("word", [pytest.param(w, marks=[] if w in QUICK else pytest.mark.slow) for w in SPOILS])
def test_a_row_that_spoils_its_process_costs_itself(tmp_path: Path, word: str) -> None:
    write_photos(tmp_path / "photos", 5, {3: word})
    stages = [{"name": "look", "annotators": {"tests.plugins.saboteur": {}}, "memory": HOARD_BYTES}]
    limits = {"batch_seconds": 60}
    recipe = make_recipe(tmp_path / "photos", stages, pack=None, limits=limits)
    run(recipe, tmp_path / "out", only=("image", "select"))
    run(recipe, tmp_path / "out", workers=1)
    assert statuses(tmp_path / "out", "saboteur") == ["ok"] * 3 + [SPOILS[word]] + ["ok"]
    assert [failure for failure in failures(tmp_path / "out", "saboteur") if failure[1] == "deadline"] == []
