"""What a dead worker leaves is found, and nothing else.

PYTHONPATH=. python -m pytest tests/shards/test_journal.py
"""

import os
from pathlib import Path

import pytest

from onegen.shards.column import ColumnWriter
from onegen.shards.index import Row
from onegen.shards.journal import Journal
from onegen.storage import open_store
from onegen.storage.local import LocalStore

KEYS = [f"{n:020x}" for n in range(4)]


DYING: list[ColumnWriter] = []
"""Writers that are never closed: the tars of dead processes stay, those of forgotten objects are removed."""


def write(store: LocalStore, journal: Journal, count: int) -> ColumnWriter:
    """Write rows, half of them with a part, noting each; the writer is left open as a dying process leaves it."""
    writer = ColumnWriter(store, "hed", 3, {}, "image", "hed@1")
    for position in range(count):
        parts = {"hed.png": f"part {position}".encode()} if position % 2 == 0 else {}
        writer.add(
            position, KEYS[position], "ok" if parts else "filtered", None, f"d{position}", {"n": position}, parts
        )
        journal.note(writer.flush(), [writer.row(position)])
    DYING.append(writer)
    return writer


def left_over(folder: Path) -> list[str]:
    return sorted(os.listdir(folder / ".tmp"))


def test_rows_and_parts_of_a_dead_worker_are_found(tmp_path):
    store = LocalStore(str(tmp_path))
    writer = write(store, Journal(store, "hed", 3), 3)
    journal = Journal(store, "hed", 3)
    assert sorted(journal.rows) == [0, 1, 2]
    for position, row in journal.rows.items():
        assert row == writer.row(position)
        assert journal.parts(row) == ({"hed.png": f"part {position}".encode()} if position % 2 == 0 else {})
    assert Journal(store, "hed", 4).rows == Journal(store, "depth", 3).rows == {}


def test_the_notes_of_several_dead_are_found_together_and_removed_by_the_one_that_ends_well(tmp_path):
    store = LocalStore(str(tmp_path))
    write(store, Journal(store, "hed", 3), 2)
    second = Journal(store, "hed", 3)
    other = ColumnWriter(store, "hed", 3, {}, "image", "hed@1")
    for position in range(2):
        row = second.rows[position]
        other.add(position, row.key, row.status, None, row.input_digest, row.values, second.parts(row))
    other.add(2, KEYS[2], "ok", None, "d2", {"n": 2}, {"hed.png": b"third"})
    second.note(other.flush(), [other.row(2)])
    DYING.append(other)
    with Journal(store, "hed", 3) as third:
        assert sorted(third.rows) == [0, 1, 2]
        assert third.parts(third.rows[0]) == {"hed.png": b"part 0"}
        assert third.parts(third.rows[2]) == {"hed.png": b"third"}
        third.note(None, [Row(3, KEYS[3], "ok")])
        assert len(left_over(tmp_path)) == 5
    assert left_over(tmp_path) == []


def test_a_worker_that_ends_by_an_exception_leaves_nothing_of_its_own(tmp_path):
    store = LocalStore(str(tmp_path))
    write(store, Journal(store, "hed", 3), 2)
    before = left_over(tmp_path)
    journal = Journal(store, "hed", 3)
    journal.note(None, [Row(2, KEYS[2], "ok")])
    assert left_over(tmp_path) != before
    journal.__exit__(OSError, OSError("full"), None)
    assert left_over(tmp_path) == before


@pytest.mark.parametrize("cut", [1, 7, 30])
def test_a_note_that_is_cut_short_is_none(tmp_path, cut):
    store = LocalStore(str(tmp_path))
    write(store, Journal(store, "hed", 3), 3)
    (path,) = (tmp_path / ".tmp").glob("journal-*")
    os.truncate(path, path.stat().st_size - cut)
    assert sorted(Journal(store, "hed", 3).rows) == [0, 1]


def test_notes_without_their_tar_are_none(tmp_path):
    store = LocalStore(str(tmp_path))
    write(store, Journal(store, "hed", 3), 2)
    for path in (tmp_path / ".tmp").iterdir():
        if not path.name.startswith("journal-"):
            path.unlink()
    assert Journal(store, "hed", 3).rows == {}


def test_a_damaged_part_is_refused(tmp_path):
    store = LocalStore(str(tmp_path))
    write(store, Journal(store, "hed", 3), 1)
    (tar,) = (path for path in (tmp_path / ".tmp").iterdir() if not path.name.startswith("journal-"))
    data = tar.read_bytes()
    tar.write_bytes(data.replace(b"part 0", b"part X"))
    journal = Journal(store, "hed", 3)
    with pytest.raises(OSError, match=r"must hold hed\.png .* and is damaged"):
        journal.parts(journal.rows[0])


def test_elsewhere_than_in_a_folder_nothing_is_kept():
    store = open_store("memory://journal")
    journal = Journal(store, "hed", 3)
    journal.note(None, [Row(0, KEYS[0], "ok")])
    assert Journal(store, "hed", 3).rows == {}
