"""PYTHONPATH=. python -m pytest tests/shards/test_column.py"""

import hashlib

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onegen.shards.column import ColumnReader, ColumnWriter, count
from onegen.shards.dataset import Dataset
from onegen.shards.index import IMAGE_FIELDS, Row, digest
from onegen.shards.manifest import Counts
from onegen.storage import open_store
from tests.fabricated import Line, memory_store, write_column
from tests.properties import FEW

KEYS = [f"{i:020x}" for i in range(8)]


@FEW
@given(st.lists(st.tuples(st.sampled_from(KEYS), st.binary(max_size=700)), max_size=8, unique_by=lambda pair: pair[0]))
def test_a_reader_finds_the_parts_that_were_written(pairs):
    with memory_store("column") as store:
        manifest = write_column(
            store, "image", 0, [Line(key, parts={"jpg": data, "x.bin": b"x"}) for key, data in pairs]
        )
        reader = ColumnReader(Dataset(store), manifest)
        assert [(row.key, reader.parts(row)) for row in reader.rows] == [
            (key, {"jpg": data, "x.bin": b"x"}) for key, data in pairs
        ]
        reader.close()


def test_files_are_named_by_their_content():
    with memory_store("column") as store:
        manifest = write_column(store, "image", 7, [Line(KEYS[0], parts={"jpg": b"abc"})])
        for name, record in manifest.files.items():
            data = store.read(f"columns/image/{name}")
            assert (len(data), hashlib.sha256(data).hexdigest()) == (record.size, record.sha256)
            assert name.startswith(f"000007-{record.sha256[:8]}.")


def test_the_same_key_twice_in_a_shard_is_written_once():
    with memory_store("column") as store:
        lines = [Line(KEYS[0], parts={"jpg": b"abc"}, values={"uri": uri}) for uri in ("a.jpg", "copy.jpg")]
        manifest = write_column(store, "image", 0, lines)
        first, second = Dataset(store).rows(manifest)
        assert first.parts == second.parts
        alone = write_column(store, "image", 1, lines[:1])
        sizes = [record.size for m in (manifest, alone) for name, record in m.files.items() if name.endswith(".tar")]
        assert sizes[0] == sizes[1]


def test_digests_may_be_known_of_some_parts_and_the_column_is_the_same():
    parts = {"jpg": b"abc", "depth.png": b"deep"}
    known = {"jpg": hashlib.sha256(b"abc").hexdigest()}
    outcomes = []
    for digests in (None, known):
        with memory_store("column") as store, ColumnWriter(store, "image", 0, {}, "image", "image@1") as writer:
            writer.add(0, KEYS[0], "ok", None, "", {}, parts, digests)
            outcomes.append((writer.row(0), writer.finish()))
    assert outcomes[0] == outcomes[1]


def test_a_column_without_parts_has_no_tar():
    with memory_store("column") as store:
        manifest = write_column(store, "scores", 0, [Line(KEYS[0]), Line(None, "failed", "source_gone")], {})
        assert [name.rpartition(".")[2] for name in manifest.files] == ["parquet"]


def test_nothing_is_visible_before_finish_and_nothing_is_left_without_it(tmp_path):
    store = open_store(tmp_path)
    with ColumnWriter(store, "image", 0, IMAGE_FIELDS, "image", "image@1") as writer:
        writer.add(0, KEYS[0], "ok", None, "", {}, {"jpg": b"abc"})
        assert [path for path in tmp_path.rglob("*") if path.is_file()] != []
        assert store.names("columns/image") == []
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_rows_come_in_position_order_and_parts_need_a_key():
    with memory_store("column") as store, ColumnWriter(store, "image", 0, {}, "image", "image@1") as writer:
        writer.add(0, None, "failed", "crash", "", {}, {})
        with pytest.raises(ValueError, match="position order, got 2 after 0"):
            writer.add(2, None, "ok", None, "", {}, {})
        with pytest.raises(ValueError, match="must have a key"):
            writer.add(1, None, "ok", None, "", {}, {"jpg": b""})


def test_the_digest_is_that_of_what_a_reader_sees():
    # 0.1 is another number in 32 bits; a digest over what was handed in would not match the index.
    with memory_store("column") as store:
        manifest = write_column(store, "scores", 0, [Line(KEYS[0], values={"s": 0.1})], {"s": pa.float32()})
        assert digest(Dataset(store).rows(manifest)) == manifest.digest


@pytest.mark.parametrize("damage", [b"", b"other bytes"])
def test_a_damaged_file_of_the_same_name_is_not_taken_for_ours(damage):
    with memory_store("column") as store:
        lines = [Line(KEYS[0], parts={"jpg": b"abc"})]
        first = write_column(store, "image", 0, lines)
        for name in first.files:
            store.write(f"columns/image/{name}", damage)
        again = write_column(store, "image", 0, lines)
        for name, record in again.files.items():
            assert hashlib.sha256(store.read(f"columns/image/{name}")).hexdigest() == record.sha256


def test_a_cut_tar_is_named():
    with memory_store("column") as store:
        manifest = write_column(store, "image", 0, [Line(KEYS[0], parts={"jpg": bytes(3000)})])
        (name,) = [name for name in manifest.files if name.endswith(".tar")]
        store.write(f"columns/image/{name}", store.read(f"columns/image/{name}")[:1000])
        reader = ColumnReader(Dataset(store), manifest)
        with pytest.raises(OSError, match=rf"columns/image/{name} must hold 3000 bytes at 512, got 488.*onegen verify"):
            reader.parts(reader.rows[0])
        reader.close()


def test_count_adds_up():
    rows = [Row(i, None, status) for i, status in enumerate(["ok", "ok", "failed", "skipped", "filtered", "ok"])]
    assert count(rows) == Counts(rows=6, ok=3, failed=1, skipped=1, filtered=1)
