"""A dataset's rows are its own, whatever its folder is called: for queries, reports, takedowns, and what is spilled."""

import shutil
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from onegen.audit.tables import open_tables
from onegen.build.takedown import take_down
from onegen.storage.parquet_sql import parquet_rows
from onegen.storage.spill import Spill
from tests.tiny import dataset, make_recipe, rows, run, write_photos

FOLDERS = ("key=5/status=ok", "a?", "a*", "a[b]", "it's")
"""What duckdb would take for columns, and for patterns that another folder matches too."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("made")
    write_photos(root / "photos", 4)
    run(make_recipe(root / "photos", []), root / "out")
    return root / "out"


@pytest.mark.parametrize("name", FOLDERS)
def test_rows_are_those_of_the_files_and_of_no_other(tmp_path: Path, name: str) -> None:
    for folder, number in ((name, 1), ("ab", 2)):
        (tmp_path / folder).mkdir(parents=True)
        pq.write_table(pa.table({"key": [str(number)]}), tmp_path / folder / "f.parquet")
    path = str(tmp_path / name / "f.parquet")
    found = duckdb.sql(f"SELECT * FROM {parquet_rows([path], filename=True)}").fetchall()
    assert found == [("1", path)]


@pytest.mark.parametrize("name", FOLDERS)
def test_tables_and_takedowns_know_the_keys(made: Path, tmp_path: Path, name: str) -> None:
    for folder in (name, "ab"):
        shutil.copytree(made, tmp_path / folder)
    own = dataset(tmp_path / name)
    keys = sorted(str(row.key) for row in rows(made, "image"))
    with open_tables(own) as tables:
        assert sorted(key for (key,) in tables.rows("SELECT key FROM image")) == keys
    done = take_down(own, [("key", keys[0])])
    assert (done.rows, done.unknown) == (1, ())


def test_what_is_spilled_is_as_it_was_wherever_that_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a=7").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "a=7"))
    with Spill() as spill:
        spill.store("t", pa.schema([("a", pa.int64())]), [pa.RecordBatch.from_pylist([{"a": 1}])])
        assert [row for batch in spill.query("SELECT * FROM t") for row in batch.to_pylist()] == [{"a": 1}]
