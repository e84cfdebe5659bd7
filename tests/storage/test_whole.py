"""PYTHONPATH=. python -m pytest tests/storage/test_whole.py"""

import pytest

from onegen.storage.whole import whole


def test_a_file_has_its_name_once_it_is_complete(tmp_path):
    path = tmp_path / "a.npz"
    path.write_bytes(b"before")
    with whole(path) as part:
        assert (part.parent, part.suffix) == (tmp_path, ".npz"), "numpy adds the extension where it is not there"
        assert part.name.startswith("."), "sources pass hidden files over"
        part.write_bytes(b"half")
        assert path.read_bytes() == b"before"
        part.write_bytes(b"after")
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("a.npz", b"after")]


def write_half(path, data: bytes) -> None:
    with whole(path) as part:
        if data:
            part.write_bytes(data)
        raise OSError("full")


@pytest.mark.parametrize("data", [b"half", b""])
def test_a_file_that_is_not_completed_leaves_nothing(tmp_path, data):
    with pytest.raises(OSError, match="full"):
        write_half(tmp_path / "a.npz", data)
    assert list(tmp_path.iterdir()) == []
