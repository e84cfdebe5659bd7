"""How a build shows itself, by a clock the test moves: rates, plain lines, the live table and the log.

PYTHONPATH=. python -m pytest tests/cli/test_progress.py
"""

import io
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from onegen.audit.status import read_status
from onegen.cli.progress import LOG_SECONDS, PLAIN_SECONDS, Progress, StepProgress
from onegen.shards.dataset import CARD, Dataset
from onegen.shards.manifest import Counts, Manifest, Producer
from onegen.storage.local import LocalStore
from onegen.storage.store import Store
from tests.fabricated import RUN, TINY_CARD


class Clock:
    """Stands for the module `time`: it goes on when told to."""

    gmtime, strftime = time.gmtime, time.strftime

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return 1_700_000_000 + self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    for module in ("progress", "live"):
        monkeypatch.setattr(f"onegen.cli.{module}.time", clock)
    return clock


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return LocalStore(str(tmp_path))


class Screen(io.StringIO):
    """What a build writes to; a terminal where `is_terminal`."""

    def __init__(self, is_terminal: bool) -> None:
        super().__init__()
        self._is_terminal = is_terminal

    def isatty(self) -> bool:
        return self._is_terminal

    def lines(self) -> list[str]:
        """Return what was written since last asked."""
        text = self.getvalue()
        self.seek(0)
        self.truncate()
        return text.splitlines()


@pytest.fixture
def screen() -> Screen:
    return Screen(False)


@pytest.fixture
def progress(clock: Clock, store: Store, screen: Screen) -> Iterator[Progress]:
    with Progress(store, screen) as progress:
        yield progress


PACE = {"computed": 8, "seconds": 4.0, "busy_seconds": 3.0, "peak_rss": 1_500_000_000, "peak_gpu": 6_000_000_000}


def commit(column: str, shard: int, ok: int, failed: int = 0) -> Manifest:
    return Manifest(
        column=column,
        shard=shard,
        kind="image",
        counts=Counts(rows=ok + failed, ok=ok, failed=failed),
        files={},
        digest="",
        inputs={},
        input_digest="",
        fingerprint="",
        settings={},
        producer=Producer(name=column, version=1),
        run=RUN.model_copy(update=PACE),
    )


def log_of(store: Store) -> list[dict[str, Any]]:
    (name,) = store.names("log")
    return [json.loads(line) for line in store.read(f"log/{name}").splitlines()]


def test_rate_and_time_left_are_those_of_this_run(clock: Clock) -> None:
    step = StepProgress("hed", shards=10, done=4, began=clock.now)
    clock.now += 20
    assert (step.shards_done, step.rate, step.eta_seconds) == (4, 0.0, None)
    step.committed |= {4, 5}
    step.rows = 100
    # Two shards took 20 s, four are left; the four of an earlier run say nothing of this one.
    assert (step.shards_done, step.rate, step.eta_seconds) == (6, 5.0, 40.0)
    step.ended = clock.now
    clock.now += 1000
    assert (step.rate, step.eta_seconds) == (5.0, None)


def test_a_step_that_just_began_has_no_rate(clock: Clock) -> None:
    step = StepProgress("hed", shards=1, done=0, began=clock.now, committed={0}, rows=100)
    assert step.rate == 0.0


def test_plain_lines_are_some_seconds_apart(clock: Clock, progress: Progress, screen: Screen) -> None:
    progress.begin("hed", 4, 1)
    assert screen.lines() == []
    clock.now += 10
    progress.committed("hed", commit("hed", 1, ok=7, failed=1))
    assert screen.lines() == ["hed: 2/4 shards, 0.8 rows/s, ok 7 failed 1, 0:20 left"]
    clock.now += PLAIN_SECONDS - 0.1
    progress.committed("hed", commit("hed", 2, ok=2000))
    assert screen.lines() == []
    clock.now += 0.1
    progress.waiting("hed", {1: "on hed"})
    assert screen.lines() == ["hed: 3/4 shards, 133.9 rows/s, ok 2,007 failed 1, 0:07 left"]
    progress.end("hed")
    assert screen.lines() == ["hed: 3/4 shards, 133.9 rows/s, ok 2,007 failed 1"], "the end is always told"


def test_before_the_first_commit_a_worker_speaks(clock: Clock, progress: Progress, screen: Screen) -> None:
    progress.begin("hed", 4000, 0)
    clock.now += 3600
    progress.waiting("hed", {1: "loading for 3600 s", 2: "loading for 9 s"})
    assert screen.lines() == ["hed: 0/4,000 shards, loading for 3600 s"]
    clock.now += 3600
    progress.committed("hed", commit("hed", 0, ok=8))
    (line,) = screen.lines()
    assert line.endswith(", 7998:00:00 left")


def test_a_stage_of_several_columns_counts_each_row_once(clock: Clock, progress: Progress, screen: Screen) -> None:
    progress.begin("look", 2, 0)
    clock.now += 4
    progress.committed("look", commit("hed", 0, ok=8))
    screen.lines()
    progress.committed("look", commit("depth", 0, ok=6, failed=2))
    progress.end("look")
    assert screen.lines() == ["look: 1/2 shards, 2.0 rows/s, hed ok 8, depth ok 6 failed 2"]


def test_a_note_is_printed_at_once_as_it_is(progress: Progress, screen: Screen) -> None:
    progress.note("listing " + 20 * "long/" + "[/red]")
    progress.note("planned 5 items")
    assert screen.lines() == ["listing " + 20 * "long/" + "[/red]", "planned 5 items"]


def test_the_log_holds_a_line_an_event(clock: Clock, progress: Progress, store: Store) -> None:
    progress.note("planned 16 items")
    progress.begin("hed", 2, 0)
    clock.now += 4
    progress.waiting("hed", {1: "on hed"})
    clock.now += LOG_SECONDS - 1
    progress.waiting("hed", {1: "too soon"})
    clock.now += 1
    progress.waiting("hed", {1: "again", 2: "loading"})
    progress.committed("hed", commit("hed", 1, ok=7, failed=1))
    progress.end("hed")
    times = [line.pop("time") for line in log_of(store)]
    assert times == sorted(times)
    assert times[-1] == 1_700_000_000 + clock.now
    lines = [{key: value for key, value in line.items() if key != "time"} for line in log_of(store)]
    counts = {"rows": 8, "ok": 7, "skipped": 0, "filtered": 0, "failed": 1}
    by_status = {key: value for key, value in counts.items() if key != "rows"}
    assert lines == [
        {"event": "note", "text": "planned 16 items"},
        {"event": "begin", "step": "hed", "shards": 2, "done": 0},
        {"event": "waiting", "step": "hed", "workers": {"1": "on hed"}},
        {"event": "waiting", "step": "hed", "workers": {"1": "again", "2": "loading"}},
        {"event": "committed", "step": "hed", "column": "hed", "shard": 1, **counts},
        {"event": "end", "step": "hed", "seconds": 14.0, "rows": 8, "counts": {"hed": by_status}},
    ]


def test_status_reads_the_log_that_progress_writes(progress: Progress, store: Store) -> None:
    store.write(CARD, TINY_CARD.to_json())
    progress.begin("hed", 3, 0)
    last = read_status(Dataset(store)).last
    assert last is not None
    assert (last["event"], last["step"]) == ("begin", "hed")


def test_on_a_terminal_there_is_one_table(clock: Clock, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "150")
    screen = Screen(True)
    with Progress(store, screen) as progress:
        progress.plan(["image", "look", "pack"], 2)
        progress.begin("image", 2, 2)
        progress.end("image")
        progress.begin("look", 2, 0)
        clock.now += 4
        progress.committed("look", commit("hed", 0, ok=8))
        progress.committed("look", commit("depth", 0, ok=6, failed=2))
        progress.waiting("look", {1: "on hed", 2: "idle"})
        assert not any("/2 shards" in line for line in screen.lines()), "no plain lines beside the table"
    rows = [" ".join(line.split()) for line in io.StringIO(plain(screen.getvalue()))]
    assert [row for row in rows if row][-5:] == [
        "stage shards rows/s busy memory ok skipped filtered failed left now",
        "image 2/2 as it was done",
        "look.hed 1/2 2.0 75% 1.5 + 6.0 GPU GB 8 0:04 on hed",
        "look.depth 1/2 2.0 75% 1.5 + 6.0 GPU GB 6 2 0:04 idle",
        "0:04 elapsed, stage 2 of 3, 50% of all shards of all stages done",
    ]


def plain(text: str) -> str:
    """Return text without the commands of a terminal."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).replace("\r", "\n")
