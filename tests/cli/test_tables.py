"""What the command line prints when work is done.

PYTHONPATH=. python -m pytest tests/cli/test_tables.py
"""

import csv
import dataclasses
import io
from pathlib import Path
from typing import Any

import pytest

from onegen.audit.failures import Failure
from onegen.audit.status import ColumnStatus, DatasetStatus
from onegen.build.build import Summary
from onegen.cli.tables import print_failures, print_models, print_status, print_summary
from onegen.shards.manifest import Counts
from onegen.shards.run import Pace
from onegen.weights.fetch import ModelStatus, State
from tests.fabricated import TINY_CARD
from tests.tiny import make_recipe

RECIPE = make_recipe(Path("photos"), [], limits={"failure_rate": 0.05})
URL = "a/very/long/" + 20 * "path/" + "of [/red] brackets"
"""A path that is neither broken at the width of a page nor taken for markup."""


@pytest.fixture
def printed(capsys: pytest.CaptureFixture[str]) -> Any:
    """Return what was printed, a line an entry, runs of spaces as one."""
    return lambda: [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]


def test_a_summary_of_a_good_build(printed: Any) -> None:
    counts = {"image": Counts(rows=1234, ok=1230, filtered=4), "hed": Counts(rows=1234, ok=1230, skipped=4)}
    print_summary(Summary("d" * 64, counts, None), URL, RECIPE, 65.4)
    assert printed() == [
        "column rows ok skipped filtered failed",
        "image 1,234 1,230 0 4 0",
        "hed 1,234 1,230 4 0 0",
        "took 1:05",
        f"digest {'d' * 64}",
    ]


def test_a_summary_names_the_shards(printed: Any) -> None:
    print_summary(Summary("d" * 64, {"image": Counts(rows=2, ok=2)}, Counts(rows=2, ok=2)), URL, RECIPE, 65.4)
    lines = printed()
    assert lines[2] == "shards 2 2 0 0 0"
    assert lines[-1] == f"shards {URL}/shards/*.tar"


def test_a_summary_says_what_to_do_about_failures(printed: Any) -> None:
    packed = Counts(rows=10, ok=7, failed=3)
    counts = {"image": Counts(rows=10, ok=9, failed=1), "hed": Counts(rows=10, ok=8, failed=2)}
    print_summary(Summary("d" * 64, counts, packed, ("hed",)), URL, RECIPE, 65.4)
    # The packed view fails no row of its own.
    assert printed()[-2:] == [
        f"3 failed row(s): `onegen failures '{URL}'` lists them; mend the cause, then `onegen retry '{URL}'`",
        "hed: 20.0% of rows failed, limits.failure_rate allows 5.0%",
    ]


def status(state: Any = "complete", driver: str | None = None, last: dict[str, Any] | None = None) -> DatasetStatus:
    plan = TINY_CARD.plan.model_copy(update={"shards": 1200, "items": 12_000})
    card = TINY_CARD.model_copy(update={"name": "[tiny]", "state": state, "source_root": URL, "plan": plan})
    counts, reasons = Counts(rows=30, ok=24, failed=6), (("crash", 5), ("no_edges", 1))
    pace = Pace(computed=30, seconds=12, busy_seconds=9, peak_rss=1_500_000_000, peak_gpu=6_000_000_000)
    hed = ColumnStatus("hed", 3, counts, reasons, "hed@2+abcdef12", pace=pace)
    return DatasetStatus(card, (hed,), "d" * 64, driver, last)


STATUS_LINES = [
    f"[tiny] 12,000 items in 1,200 shards from {URL}",
    "column shards rows ok skipped filtered failed rows/s busy memory made by why failed",
    "hed 3/1,200 30 24 0 0 6 2.5 75% 1.5 + 6.0 GPU GB hed@2+abcdef12 crash 5, no_edges 1",
    "rows/s and memory are of one worker; busy is its annotator's part of the time",
    f"6 failed row(s): `onegen failures '{URL}'` lists them with their messages",
    f"digest {'d' * 64}",
]


def test_the_status_of_a_complete_dataset(printed: Any) -> None:
    print_status(status(last={"event": "end", "step": "pack"}), URL)
    assert printed() == STATUS_LINES


def test_the_status_tells_what_is_not_there(printed: Any) -> None:
    known = status()
    plan = known.card.plan.model_copy(update={"passed_over": {"they are links": 1, "they are [odd]": 2_000}})
    full = Pace(halvings=3, smallest_batch=2)
    column = dataclasses.replace(known.columns[0], where_errors=3, pace=full)
    limited = known.card.model_copy(update={"plan": plan, "limit": 7})
    print_status(dataclasses.replace(known, card=limited, columns=(column,)), URL)
    lines = printed()
    assert lines[1:4] == [
        "planned with --limit 7: the source may hold more",
        "1 file passed over, because they are links",
        "2,000 files passed over, because they are [odd]",
    ]
    assert f"{column.name}: an expression was in error over 3 row(s), which is no" in lines
    assert any(line.startswith("hed: the device's memory was full 3 time(s), batches were halved to") for line in lines)


def test_the_status_while_it_is_built(printed: Any) -> None:
    workers = {"1": "on hed of shard 000003, rows 0-7 for 2 s", "2": "loading for 9 s"}
    last = {"event": "waiting", "step": "edges", "workers": workers}
    print_status(status("building", "process 7 on host since today", last), URL)
    assert printed() == [
        *STATUS_LINES,
        "being built by process 7 on host since today",
        "last heard: waiting edges",
        "worker 1: on hed of shard 000003, rows 0-7 for 2 s",
        "worker 2: loading for 9 s",
    ]


def test_the_status_after_the_driver_died(printed: Any) -> None:
    print_status(status("building", None, {"event": "note", "text": "listing"}), URL)
    assert printed() == [
        *STATUS_LINES,
        "no driver at work: the last build did not finish. Run `onegen build` again to go on.",
        "last heard: note",
    ]


FAILURES = [
    Failure("a [b].jpg", None, "image", 0, 3, "empty_file", "file must hold bytes, got none.\nPut it back.", 1),
    Failure("c.jpg", "0123456789abcdef0123", "hed", 1, 0, "crash", "", 3),
]


def test_failures_are_told_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    print_failures(FAILURES, as_csv=False)
    assert capsys.readouterr().out.splitlines() == [
        "a [b].jpg (no key): image failed with empty_file, tried once: file must hold bytes, got none.",
        "  Put it back.",
        "c.jpg (0123456789abcdef0123): hed failed with crash, tried 3 times: no message was kept",
        "2 failed row(s)",
    ]
    print_failures([], as_csv=False)
    assert capsys.readouterr().out == "0 failed row(s)\n"


def test_a_summary_and_a_status_tell_the_first_failures(printed: Any) -> None:
    counts = {"image": Counts(rows=10, ok=7, failed=3)}
    print_summary(Summary("d" * 64, counts, None), URL, RECIPE, 1, FAILURES)
    told = [
        "a [b].jpg (no key): image failed with empty_file, tried once: file must hold bytes, got none.",
        "Put it back.",
        "c.jpg (0123456789abcdef0123): hed failed with crash, tried 3 times: no message was kept",
    ]
    assert printed()[-4:] == [*told, "and 1 more"]
    print_status(dataclasses.replace(status(), failures=tuple(FAILURES)), URL)
    assert printed()[5:9] == [*told, "and 4 more"]


def test_failures_for_programs_are_csv(capsys: pytest.CaptureFixture[str]) -> None:
    print_failures(FAILURES, as_csv=True)
    first, second = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert first == {
        "item": "a [b].jpg",
        "key": "",
        "column": "image",
        "shard": "0",
        "position": "3",
        "reason": "empty_file",
        "message": FAILURES[0].message,
        "attempts": "1",
    }
    assert (second["item"], second["attempts"]) == ("c.jpg", "3")


def test_what_is_no_terminal_is_not_cut(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    print_status(status(), URL)
    row = " ".join(capsys.readouterr().out.splitlines()[2].split())
    assert row == "hed 3/1,200 30 24 0 0 6 2.5 75% 1.5 + 6.0 GPU GB hed@2+abcdef12 crash 5, no_edges 1"


def test_models_stand_under_their_package(printed: Any) -> None:
    def model(package: str, file: str, state: State, optional: bool = False) -> ModelStatus:
        return ModelStatus(package, "2.0", file, "f" * 64, "MIT", (package, "other"), optional, state)

    rows = [
        model("hed", "hed.onnx", "ready"),
        model("hed", "labels.txt", "damaged"),
        model("minilm", "m.onnx", "missing", optional=True),
    ]
    print_models(rows, Path(URL))
    assert printed() == [
        "hed 2.0 for hed, other",
        f"ready hed.onnx MIT sha256 {'f' * 64}",
        f"damaged labels.txt MIT sha256 {'f' * 64}",
        "minilm 2.0 for minilm, other, optional",
        f"missing m.onnx MIT sha256 {'f' * 64}",
        f"in {URL}; bring what is missing with `onegen models fetch`",
    ]
