"""What a query may ask, and what it may not. PYTHONPATH=. python -m pytest tests/audit/test_query.py"""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from pyarrow import csv

from onegen.audit.query import ask, batches, save
from onegen.audit.tables import Tables, open_tables
from onegen.errors import ConfigError
from onegen.shards.dataset import Dataset
from onegen.storage import open_store
from tests.audit.audited import snapshot
from tests.fabricated import memory_store
from tests.tiny import dataset, rows


@pytest.fixture
def tables(audited: Path) -> Iterator[Tables]:
    with open_tables(dataset(audited)) as opened:
        yield opened


def answer(tables: Tables, sql: str) -> list[dict]:
    return [row for batch in batches(ask(tables, sql)) for row in batch.to_pylist()]


def test_samples_have_the_fields_of_every_column(tables: Tables, audited: Path) -> None:
    found = answer(tables, "SELECT key, image.width AS w, scores.sharpness AS s FROM samples ORDER BY shard, position")
    scores = rows(audited, "scores")
    assert [(row["key"], row["s"]) for row in found] == [(row.key, row.values.get("sharpness")) for row in scores]


def test_failures_say_why_and_manifests_balance(tables: Tables, audited: Path) -> None:
    failed = answer(tables, "SELECT * FROM failures")
    assert [row["item"] for row in failed] == [
        row.values["item"] for row in rows(audited, "image") if row.status == "failed"
    ]
    assert all(row["message"] and row["reason"] for row in failed)
    assert failed
    (odd,) = answer(tables, "SELECT count(*) AS n FROM manifests WHERE rows != ok + skipped + filtered + failed")
    assert odd["n"] == 0


@pytest.mark.parametrize(
    ("sql", "told"),
    [
        ("SELECT * FROM imagee", "did you mean 'image'"),
        ("SELECT widht FROM image", "did you mean 'width'"),
        ("SELECT image.widht FROM samples", "did you mean 'width'"),
        ("SELECT s.keyy FROM samples s", "did you mean 'key'"),
        ("SELEC 1", "syntax error"),
        ("", "must be one SELECT"),
        ("SELECT 1; SELECT 2", "must be one SELECT"),
        ("SELECT CAST(key AS INTEGER) FROM image", "Could not convert"),
        ("CREATE TABLE mine AS SELECT 1", "only read"),
        ("DELETE FROM manifests", "only read"),
        ("COPY (SELECT 1) TO 'stolen.csv'", "only read"),
        ("ATTACH 'other.db'", "only read"),
        ("SET enable_external_access = true", "only read"),
        ("SELECT * FROM read_text('/etc/hostname')", "tables of the dataset alone"),
        ("SELECT * FROM read_csv('/etc/passwd')", "tables of the dataset alone"),
        ("SELECT * FROM glob('/etc/*')", "tables of the dataset alone"),
        ("SELECT * FROM '/etc/passwd'", "no table"),
    ],
)
def test_what_is_no_question_to_the_dataset_is_refused(tables: Tables, sql: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        answer(tables, sql)


def test_answers_are_written_as_csv_and_parquet(tables: Tables, tmp_path: Path) -> None:
    sql = "SELECT key, image.members AS members FROM samples WHERE status = 'ok' ORDER BY key"
    assert save(ask(tables, sql), tmp_path / "a.csv") == save(ask(tables, sql), tmp_path / "a.parquet")
    whole = pq.read_table(tmp_path / "a.parquet").to_pylist()
    assert [row["key"] for row in csv.read_csv(tmp_path / "a.csv").to_pylist()] == [row["key"] for row in whole]


def test_nothing_of_the_dataset_changes(audited: Path) -> None:
    before = snapshot(audited)
    with open_tables(dataset(audited)) as opened:
        answer(opened, "SELECT * FROM samples")
    assert snapshot(audited) == before


def test_another_store_answers_the_same(audited: Path) -> None:
    with memory_store("asked") as store:
        store._fs.put(str(audited), store._root, recursive=True)
        with open_tables(Dataset(open_store(store.url))) as opened, open_tables(dataset(audited)) as local:
            sql = "SELECT key, scores FROM samples ORDER BY key"
            assert answer(opened, sql) == answer(local, sql)


def test_a_foreign_folder_and_a_missing_index_are_told(audited: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="must hold a dataset"), open_tables(dataset(tmp_path)):
        pass
    broken = tmp_path / "broken"
    shutil.copytree(audited, broken)
    next((broken / "columns" / "scores").glob("000001-*.parquet")).unlink()
    with pytest.raises(ConfigError, match=r"scores/000001.json must be readable"), open_tables(dataset(broken)):
        pass
