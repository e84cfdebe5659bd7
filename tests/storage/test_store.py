"""One contract over local files and any other store. PYTHONPATH=. python -m pytest tests/storage/test_store.py"""

import errno
import os
import pickle
import threading

import pytest

from onegen.errors import ConfigError
from onegen.storage import open_store
from onegen.storage.local import TEMPORARY, LocalStore
from onegen.storage.store import Store, explain
from tests.fabricated import memory_store


@pytest.fixture(params=["local", "memory", "s3"])
def store(request, tmp_path):
    if request.param == "local":
        yield open_store(tmp_path / "out put")
    elif request.param == "s3":
        yield open_store(f"{request.getfixturevalue('bucket')}/out put")
    else:
        with memory_store("store") as store:
            yield store


def put(store: Store, name: str, data: bytes) -> None:
    with store.spool(name) as spool:
        spool.file.write(data)
        store.publish(spool, name)


@pytest.mark.parametrize("how", [Store.write, put])
def test_what_is_written_is_read(store, how):
    for data in (b"one", b"", b"a longer third"):
        write = store.write if how is Store.write else lambda name, data: put(store, name, data)
        write("a/b/c.bin", data)
        assert store.read("a/b/c.bin") == data
        assert store.exists("a/b/c.bin")
        assert store.size("a/b/c.bin") == len(data)
        with store.open("a/b/c.bin") as file:
            file.seek(1)
            assert file.read(3) == data[1:4]


def test_names_and_folders_are_sorted_and_direct(store):
    for name in ("b.txt", "a.txt", "z/y/x.txt", "z/w.txt", "c/d.txt"):
        store.write(name, b"x")
    assert store.names() == ["a.txt", "b.txt"]
    assert [name for name in store.folders() if name != TEMPORARY] == ["c", "z"]
    assert (store.names("z"), store.folders("z")) == (["w.txt"], ["y"])
    assert (store.names("none"), store.folders("none")) == ([], [])


def test_a_file_that_is_not_there(store):
    assert not store.exists("a.txt")
    assert not store.exists("")
    for look in (store.read, store.size, store.open):
        with pytest.raises(FileNotFoundError):
            look("a.txt")
    store.delete("a.txt")


def test_deleting_and_renaming(store):
    store.write("a/old", b"1")
    store.write("a/new", b"2")
    store.rename("a/old", "a/new")
    assert (store.names("a"), store.read("a/new")) == (["new"], b"1")
    store.delete("a/new")
    assert store.names("a") == []


def test_a_log_grows(store):
    store.append("log/build.jsonl", "one é\n")
    store.append("log/build.jsonl", "two\n")
    store.flush()
    (name,) = store.names("log")  # an object store counts the pieces of a log
    assert store.read(f"log/{name}").decode() == "one é\ntwo\n"


def test_a_spool_that_is_not_published_leaves_nothing(store, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with store.spool("x") as spool:
        spool.file.write(b"half")
        path = spool.path
        assert os.path.exists(path)
    assert not os.path.exists(path)
    assert store.names() == []


def test_a_store_travels_to_another_process(store):
    store.write("a", b"1")
    again = pickle.loads(pickle.dumps(store))
    assert type(again) is type(store)
    assert (again.url, again.read("a")) == (store.url, b"1")


def test_every_change_is_announced_before_it_happens(tmp_path):
    seen: list[tuple[str, str, bool]] = []

    class Watched(LocalStore):
        def _change(self, kind: str, name: str) -> None:
            seen.append((kind, name, self.exists(name)))

    store = Watched(str(tmp_path))
    store.write("a", b"")
    put(store, "b", b"")
    store.rename("a", "c")
    store.append("log", "x")
    store.delete("c")
    assert seen == [
        ("write", "a", False),
        ("spool", "b", False),
        ("publish", "b", False),
        ("rename", "c", False),
        ("append", "log", False),
        ("delete", "c", True),
    ]


def test_a_reader_never_sees_half_a_file(tmp_path):
    store = open_store(tmp_path)
    contents = [bytes([i]) * 200_000 for i in range(2)]
    store.write("a", contents[0])
    seen: set[bytes] = set()
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            seen.add(store.read("a"))

    reader = threading.Thread(target=read)
    reader.start()
    for i in range(40):
        store.write("a", contents[i % 2])
    done.set()
    reader.join()
    assert seen <= set(contents)


def test_what_dead_workers_left_is_cleared(tmp_path):
    store = open_store(tmp_path)
    store.write("kept", b"")
    spool = store.spool("x")
    spool.__enter__().file.write(b"half")
    assert len(store.names(".tmp")) == 1
    assert store.clear_temporary() == 1
    assert (store.names(".tmp"), store.names()) == ([], ["kept"])
    spool.__exit__(None, None, None)


@pytest.mark.parametrize("prefix", ["", "file://"])
def test_paths_and_file_urls_are_the_same_folder(tmp_path, prefix):
    store = open_store(f"{prefix}{tmp_path}")
    assert store.is_local
    store.write("a", b"1")
    assert (tmp_path / "a").read_bytes() == b"1"


def test_a_home_folder_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    open_store("~/data").write("a", b"1")
    assert (tmp_path / "data/a").exists()


def test_an_unknown_protocol_is_a_configuration_error():
    with pytest.raises(ConfigError, match="must have a protocol fsspec can open, got 'nope://x/y'"):
        open_store("nope://x/y")


@pytest.mark.parametrize(
    ("number", "parts"),
    [
        (errno.ENOSPC, ["room", "Free space", "nothing committed is lost"]),
        (errno.EROFS, ["must be writable", "Choose another OUT"]),
        (errno.EACCES, ["must be writable", "permissions"]),
        (errno.EIO, ["could not be written or read back", "run the same command again"]),
    ],
)
def test_an_explanation_names_thing_rule_and_way_out(store, number, parts):
    text = explain(OSError(number, os.strerror(number), "out/a.tar"), store)
    for part in ["out/a.tar", *parts]:
        assert part in text
    assert store.url in explain(OSError(number, os.strerror(number)), store)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_an_oserror(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError):
        open_store(tmp_path / "out").write("a", b"")
