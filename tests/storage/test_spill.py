"""PYTHONPATH=. python -m pytest tests/storage/test_spill.py"""

import os

import duckdb
import pyarrow as pa
import pytest

from onegen.storage.spill import BATCH_ROWS, GROUP_ROWS, Spill, cut

SCHEMA = pa.schema([("n", pa.int64()), ("text", pa.string())])


def batch(numbers) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict({"n": list(numbers), "text": [f"t{n}" for n in numbers]}, schema=SCHEMA)


def rows(batches) -> list[dict]:
    return [row for batch in batches for row in batch.to_pylist()]


def test_a_sorted_query_keeps_its_order_over_many_batches():
    total = 3 * BATCH_ROWS + 17
    with Spill() as spill:
        parts = (batch(range(start, min(start + 1000, total))) for start in reversed(range(0, total, 1000)))
        assert spill.store("numbers", SCHEMA, parts) == total
        batches = list(spill.query("SELECT n FROM numbers ORDER BY n"))
        assert len(batches) > 1
        assert [row["n"] for row in rows(batches)] == list(range(total))


def test_queries_may_be_read_side_by_side():
    with Spill() as spill:
        spill.store("numbers", SCHEMA, [batch(range(BATCH_ROWS * 2))])
        up = spill.query("SELECT n FROM numbers ORDER BY n")
        down = spill.query("SELECT n FROM numbers ORDER BY n DESC")
        assert next(up).column(0)[0].as_py() == 0
        assert next(down).column(0)[0].as_py() == BATCH_ROWS * 2 - 1
        assert next(up).column(0)[0].as_py() > 0


def test_an_empty_table_can_be_asked():
    with Spill() as spill:
        assert spill.store("nothing", SCHEMA, []) == 0
        assert rows(spill.query("SELECT * FROM nothing")) == []


def test_tables_can_be_made_from_others():
    with Spill() as spill:
        spill.store("numbers", SCHEMA, [batch(range(10))])
        spill.execute("CREATE TABLE even AS SELECT n FROM numbers WHERE n % 2 = 0")
        assert rows(spill.query("SELECT count(*) AS c, sum(n) AS s FROM even")) == [{"c": 5, "s": 20}]


def test_a_table_comes_back_in_its_order_and_in_parts_of_any_size():
    total = GROUP_ROWS + 1000
    sizes = [0, 1, 999, 0, GROUP_ROWS - 1, 1, 0]
    with Spill() as spill:
        spill.store("things", SCHEMA, (batch(range(start, start + 1000)) for start in range(0, total, 1000)))
        found = list(cut(spill.stored("things", "n"), sizes))
    assert [part.num_rows for part in found] == sizes
    assert [n for part in found for n in part.column("n").to_pylist()] == list(range(sum(sizes)))
    assert found[1].column_names == ["n"]


def test_a_table_may_be_stored_again():
    with Spill() as spill:
        spill.store("numbers", SCHEMA, [batch([1])])
        spill.store("numbers", SCHEMA, [batch([2, 3])])
        assert rows(spill.query("SELECT n FROM numbers ORDER BY n")) == [{"n": 2}, {"n": 3}]


def test_nothing_is_left_on_disk(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with Spill() as spill:
        spill.store("numbers", SCHEMA, [batch([1])])
        assert os.listdir(tmp_path) != []
    assert os.listdir(tmp_path) == []


def test_a_wrong_query_says_so():
    with Spill() as spill, pytest.raises(duckdb.Error, match="missing"):
        rows(spill.query("SELECT * FROM missing"))
