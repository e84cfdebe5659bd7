"""What only object stores have: throttling, lost lines, ranges, logs in pieces, and words about what is wrong."""

import pickle

import pytest

from benchmarks.object_server import BUCKET, VARIABLES
from onegen.errors import ConfigError
from onegen.storage import objects, open_store
from tests.bucket import between


def test_a_store_that_throttles_or_drops_the_line_is_asked_again(bucket, object_server, monkeypatch):
    faults = {0: 503, 1: 0, 3: 429, 5: 500}
    with between(object_server, lambda method, path, number: faults.get(number)) as (endpoint, seen):
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        store = open_store(f"{bucket}/set")
        store.write("a", b"one")
        assert store.read("a") == b"one"
        assert store.names() == ["a"]
    assert len(seen) == 3 + len(faults)


def test_a_file_is_read_by_ranges(bucket, object_server, monkeypatch):
    data = bytes(range(256)) * 20_000
    open_store(f"{bucket}/set").write("big.tar", data)
    with between(object_server, lambda *_: None) as (endpoint, seen):
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        with open_store(f"{bucket}/set").open("big.tar") as file:
            file.seek(3_000_000)
            assert file.read(1000) == data[3_000_000:3_001_000]
            file.seek(-8, 2)
            assert file.read() == data[-8:]
            assert file.read() == b""
    assert [line.split()[0] for line in seen] == ["HEAD", "GET", "GET"]


def test_a_large_file_goes_in_parts_and_is_there_whole(bucket):
    store = open_store(f"{bucket}/set")
    block = bytes(range(256)) * 4096
    with store.spool("x") as spool:
        for _ in range(12):
            spool.file.write(block)
        store.publish(spool, "columns/image/000000.tar")
    assert store.size("columns/image/000000.tar") == 12 * len(block)
    assert store.read_range("columns/image/000000.tar", 11 * len(block), 99 * len(block)) == block


def test_a_log_is_written_every_few_seconds_and_in_pieces(bucket, object_server, monkeypatch):
    with between(object_server, lambda *_: None) as (endpoint, seen):
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        store = open_store(f"{bucket}/set")
        for number in range(50):
            store.append("log/a.jsonl", f"line {number}\n")
        assert len(seen) == 1  # the first at once, the others with a later one
        store.flush()
        store.append("log/a.jsonl", "x" * objects._SEGMENT + "\n")
        store.append("log/a.jsonl", "last\n")
        store.flush()
        names = store.names("log")
        text = "".join(store.read(f"log/{name}").decode() for name in names)
    assert names == ["a.0000.jsonl", "a.0001.jsonl"]
    assert [line for line in text.splitlines() if len(line) < 99] == [*(f"line {n}" for n in range(50)), "last"]


def test_what_is_written_on_condition(bucket):
    store = open_store(f"{bucket}/set")
    first = store.write_if("a", b"1", None)
    with pytest.raises(FileExistsError):
        store.write_if("a", b"2", None)
    second = store.write_if("a", b"3", first)
    with pytest.raises(FileExistsError):
        store.write_if("a", b"4", first)
    assert (store.read("a"), store.stamp("a")[0]) == (b"3", second)
    store.delete("a")
    with pytest.raises(FileExistsError):
        store.write_if("a", b"5", second)


def test_a_store_goes_to_other_processes_without_secrets(bucket):
    store = open_store(f"{bucket}/set")
    store.write("a", b"1")
    packed = pickle.dumps(store)
    assert b"a-secret-of-someone" not in packed
    assert pickle.loads(packed).read("a") == b"1"


def test_a_bucket_that_is_not_there(bucket):
    store = open_store("s3://no-such-bucket/set")
    for look in (
        lambda: store.read("a"),
        lambda: store.names(),
        lambda: store.write("a", b""),
    ):
        with pytest.raises(OSError, match="there is no bucket 'no-such-bucket'; make it first") as caught:
            look()
        assert not isinstance(caught.value, FileNotFoundError)


def test_no_rights(bucket, object_server, monkeypatch):
    with between(object_server, lambda *_: 403) as (endpoint, _):
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        store = open_store(f"{bucket}/set")
        for look in (lambda: store.read("a"), lambda: store.exists("a"), lambda: store.write("a", b"")):
            with pytest.raises(PermissionError, match="the store refuses these credentials here"):
                look()


def test_no_credentials(monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(objects, "RETRIES", {"max_retries": 0})
    store = open_store(f"s3://{BUCKET}/set")
    with pytest.raises(PermissionError, match="no credentials were found; looked for AWS_ACCESS_KEY_ID and AWS_SECRET"):
        store.read("a")


def test_an_endpoint_where_nobody_listens(bucket, monkeypatch):
    monkeypatch.setattr(objects, "RETRIES", {"max_retries": 1})
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(OSError, match="127.0.0.1:9/one-gen/") as caught:
        open_store(f"{bucket}/set").read("a")
    assert "\n" not in str(caught.value)
    assert "a-secret-of-someone" not in str(caught.value)


@pytest.mark.parametrize("url", ["s3://", "s3:///set"])
def test_a_url_names_a_bucket(url):
    with pytest.raises(ConfigError, match="must (name a bucket|be one of a bucket)"):
        open_store(url)
