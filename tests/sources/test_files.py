"""PYTHONPATH=. python -m pytest tests/sources/test_files.py"""

from pathlib import Path

import pytest

from onegen.errors import ConfigError
from onegen.sources.reading.files import Files
from tests.fabricated import memory_store

ODD = ("set [v1]", "a*b", "what?", "{1..2}", "[!x] {0..1}*")
"""Names of files and folders that would mean others, were they patterns."""


def uris(pattern: object) -> list[str]:
    return [file.uri for file in Files(str(pattern), (".tar",), "source").listed()]


def write(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"1")


@pytest.mark.parametrize("odd", ODD)
def test_what_exists_is_itself(tmp_path, odd):
    write(tmp_path, f"{odd}/{odd}.tar", f"{odd}/in/a1.tar", f"{odd}/in/a2.tar", "1/1.tar", "1.tar")
    folder = tmp_path / odd
    assert uris(folder) == uris(f"{folder}/") == sorted([f"{odd}.tar", "in/a1.tar", "in/a2.tar"])
    assert uris(folder / f"{odd}.tar") == [f"{odd}.tar"]
    assert uris(folder / "in/*.tar") == uris(folder / "in/a{1..2}.tar") == ["a1.tar", "a2.tar"]
    assert uris(folder / "**/a[2-9].tar") == ["in/a2.tar"]
    assert Files(str(folder), (".tar",), "source").tree.root == str(folder)


def test_what_does_not_exist_is_a_pattern(tmp_path):
    write(tmp_path, "1/a.tar", "2/a.tar", "3/a[1].tar")
    assert uris(tmp_path / "[12]/a.tar") == uris(tmp_path / "{1..2}/a.tar") == ["1/a.tar", "2/a.tar"]
    assert uris(tmp_path / "{3..3}/a[1].tar") == ["3/a[1].tar"]
    with pytest.raises(ConfigError, match="which means none"):
        uris(tmp_path / "[45]/a.tar")


def test_what_exists_elsewhere_is_itself_too():
    with memory_store("odd [v1]") as store:
        store.write("in *?/a.tar", b"1")
        assert uris(f"{store.url}/in *?") == uris(f"{store.url}/in *?/*.tar") == ["a.tar"]


def test_what_is_passed_over_is_counted_and_said_where_nothing_is_left(tmp_path):
    write(tmp_path, "in/a.tar", "in/b.tar.gz", "in/c.tar.gz", "in/out/plan/000000.parquet", "in/out/shards/0.tar")
    (tmp_path / "in/link").symlink_to(tmp_path)
    unread = {".tar.gz": "they are compressed"}
    files = Files(str(tmp_path / "in"), (".tar",), "source", unread)
    for _ in range(2):
        assert [file.uri for file in files.listed()] == ["a.tar"]
        assert files.passed == {
            "they are compressed": 2,
            "they are links to folders, which are not followed": 1,
            "they are onegen datasets of their own": 1,
        }
    assert uris(tmp_path / "in/**/*.tar") == ["a.tar"]
    assert uris(tmp_path / "in/out/*/*.tar") == ["shards/0.tar"]
    with pytest.raises(ConfigError, match="which means none. 1 passed over, because they are compressed."):
        Files(str(tmp_path / "in/b.tar.gz"), (".tar",), "source", unread).listed()


def test_datasets_elsewhere_are_passed_over_too():
    with memory_store("passed") as store:
        for name in ("a.tar", "out/plan/000000.parquet", "out/shards/0.tar", "plan/000001.parquet"):
            store.write(name, b"1")
        assert uris(store.url) == uris(f"{store.url}/**/*.tar") == ["a.tar"]
