"""What is read of a dataset from storage alone: columns, failures, the driver, the last word of the log.

PYTHONPATH=. python -m pytest tests/audit/test_status.py
"""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from onegen.audit.status import ColumnStatus, read_status
from onegen.errors import ConfigError
from onegen.sample import IMAGE, PACKED, SELECT
from onegen.shards.dataset import CARD, Dataset
from onegen.shards.manifest import Counts, FailureRecord
from onegen.storage.lease import lease
from onegen.storage.local import LocalStore
from onegen.storage.store import Store
from tests.fabricated import RUN, TINY_CARD, Line, memory_store, write_column


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A dataset of three planned shards, none of them made."""
    store = LocalStore(str(tmp_path / "out"))
    store.write(CARD, TINY_CARD.to_json())
    return store


def write_shard(store: Store, column: str, shard: int, reasons: Mapping[str, int] = {}) -> None:
    """Commit two rows that are ok and as many failed ones as the reasons say."""
    failed = [reason for reason, number in reasons.items() for _ in range(number)]
    lines = [Line("a"), Line("b"), *(Line(None, "failed", reason) for reason in failed)]
    manifest = write_column(store, column, shard, lines, {})
    failures = [
        FailureRecord(position=position, item="x", reason=reason, message="")
        for position, reason in enumerate(failed, 2)
    ]
    Dataset(store).commit(manifest.model_copy(update={"run": RUN.model_copy(update={"failures": failures})}))


def test_a_folder_without_a_card_has_no_status(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="must hold a dataset"):
        read_status(Dataset(LocalStore(str(tmp_path))))


def test_nothing_is_made_yet(store: Store) -> None:
    status = read_status(Dataset(store))
    assert status.card == TINY_CARD
    assert (status.columns, status.driver, status.last) == ((), None, None)


def test_columns_stand_in_the_order_they_are_made(store: Store) -> None:
    for column in ("hed", "caption", PACKED, SELECT, IMAGE):
        write_shard(store, column, 0)
    (Path(store.url) / "columns" / "empty").mkdir()
    status = read_status(Dataset(store))
    assert [column.name for column in status.columns] == [IMAGE, SELECT, "caption", "hed", PACKED]


def test_the_digest_is_the_cards_and_there_is_none_while_a_build_is_under_way(store: Store) -> None:
    write_shard(store, IMAGE, 0)
    assert read_status(Dataset(store)).digest is None
    complete = TINY_CARD.model_copy(update={"state": "complete", "digest": "d" * 64})
    store.write(CARD, complete.to_json())
    assert read_status(Dataset(store)).digest == "d" * 64


def test_a_column_is_the_sum_of_its_shards(store: Store) -> None:
    write_shard(store, "hed", 0, {"crash": 1, "no_edges": 2})
    write_shard(store, "hed", 2, {"crash": 3})
    (column,) = read_status(Dataset(store)).columns
    counts = Counts(rows=10, ok=4, failed=6)
    assert column == ColumnStatus("hed", 2, counts, (("crash", 4), ("no_edges", 2)), "hed@1")


def test_the_three_most_frequent_reasons_are_told_ties_by_name(store: Store) -> None:
    write_shard(store, "hed", 0, {"b": 2, "a": 2, "rare": 1, "often": 5})
    (column,) = read_status(Dataset(store)).columns
    assert column.reasons == (("often", 5), ("a", 2), ("b", 2))


def test_the_driver_at_work_is_named(store: Store) -> None:
    with lease(store):
        driver = read_status(Dataset(store)).driver
    assert driver is not None
    assert driver.startswith(f"process {os.getpid()} on ")
    assert read_status(Dataset(store)).driver is None


HALF = '{"time": 3, "event": "comm'


@pytest.mark.parametrize(
    ("logs", "event"),
    [
        ({"20260101T000000-1.jsonl": ["begin", "committed", "end"]}, "end"),
        ({"20260101T000000-9.jsonl": ["end"], "20260102T000000-1.jsonl": ["begin"]}, "begin"),
        ({"20260101T000000-1.jsonl": ["begin", "committed", HALF]}, "committed"),
        ({"20260101T000000-1.jsonl": [HALF]}, None),
        ({"20260101T000000-1.jsonl": []}, None),
    ],
    ids=["last line", "last log", "half written", "half a line", "empty"],
)
def test_the_last_word_of_the_last_log_is_told(store: Store, logs: Mapping[str, list[str]], event: str | None) -> None:
    for name, events in logs.items():
        lines = [event if event == HALF else json.dumps({"event": event, "step": "x"}) + "\n" for event in events]
        store.append(f"log/{name}", "".join(lines))
    last = read_status(Dataset(store)).last
    assert last == ({"event": event, "step": "x"} if event else None)


@pytest.fixture
def remote() -> Iterator[Store]:
    with memory_store("status") as store:
        yield store


def test_a_dataset_elsewhere_has_a_status_too(remote: Store) -> None:
    remote.write(CARD, TINY_CARD.to_json())
    write_shard(remote, IMAGE, 1)
    remote.append("log/1.jsonl", '{"event": "note"}\n')
    status = read_status(Dataset(remote))
    assert [column.name for column in status.columns] == [IMAGE]
    assert (status.driver, status.last) == (None, {"event": "note"})
