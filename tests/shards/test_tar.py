"""PYTHONPATH=. python -m pytest tests/shards/test_tar.py"""

import hashlib
import io
import json
import tarfile

import pytest
import webdataset
from hypothesis import example, given
from hypothesis import strategies as st

from onegen.shards.tar import BLOCK, Member, TarWriter, header
from tests.properties import FEW, PROPERTY

KEYS = st.text("0123456789abcdefghijklmnopqrstuvwxyz_-", min_size=1, max_size=40).filter(
    lambda key: not key.startswith("__")  # webdataset takes such names for its own
)
NAMES = st.from_regex(r"[0-9a-z][0-9a-z_-]{,7}(\.[0-9a-z_-]{1,8}){,2}", fullmatch=True)
PARTS = st.dictionaries(NAMES, st.binary(max_size=1300), min_size=1, max_size=5)
SAMPLES = st.dictionaries(KEYS, PARTS, max_size=6)


def write(samples) -> tuple[bytes, dict[str, list[Member]], str]:
    sink = io.BytesIO()
    writer = TarWriter(sink)
    members = {key: writer.add(key, parts) for key, parts in samples.items()}
    digest = writer.close()
    assert writer.size == len(sink.getvalue())
    return sink.getvalue(), members, digest


def triples(samples) -> list[tuple[str, str, bytes]]:
    return [(key, name, data) for key, parts in samples.items() for name, data in parts.items()]


@PROPERTY
@given(SAMPLES)
@example({})
@example({"a": {"bin": bytes(BLOCK)}, "b": {"bin": b""}})
def test_tarfile_reads_back_what_was_written_in_order(samples):
    data, _, _ = write(samples)
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
        members = [(*info.name.split(".", 1), archive.extractfile(info).read()) for info in archive]
        assert members == triples(samples)
        for info in archive.getmembers():
            assert info.isreg()
            assert (info.mode, info.mtime, info.uid, info.gid) == (0o644, 0, 0, 0)
            assert (info.uname, info.gname, info.linkname) == ("", "", "")


@PROPERTY
@given(SAMPLES)
def test_members_say_where_the_bytes_lie_and_their_hash(samples):
    data, members, digest = write(samples)
    assert digest == hashlib.sha256(data).hexdigest()
    for key, parts in samples.items():
        assert [member.name for member in members[key]] == list(parts)
        for member in members[key]:
            assert data[member.offset : member.offset + member.size] == parts[member.name]
            assert member.sha256 == hashlib.sha256(parts[member.name]).hexdigest()


@PROPERTY
@given(SAMPLES)
def test_the_same_parts_give_the_same_bytes(samples):
    assert write(samples)[0] == write(dict(samples))[0]


@FEW
@given(st.dictionaries(KEYS, PARTS, min_size=1, max_size=6))
def test_stock_webdataset_reads_the_same_samples(tmp_path_factory, samples):
    path = tmp_path_factory.mktemp("tar") / "a.tar"
    path.write_bytes(write(samples)[0])
    restored = list(webdataset.WebDataset(str(path), shardshuffle=False))
    assert [sample["__key__"] for sample in restored] == list(samples)
    for sample, parts in zip(restored, samples.values(), strict=True):
        assert {name: data for name, data in sample.items() if not name.startswith("__")} == parts


def test_stock_hugging_face_datasets_reads_the_same_samples(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    import datasets

    samples = {
        f"{i:020x}": {
            "jpg": bytes([i]) * (500 + i),
            "depth.png": b"depth" * i,
            "bin": b"\0\xff" * i,
            "json": json.dumps({"key": f"{i:020x}", "caption": None if i == 1 else f"picture {i}"}).encode(),
        }
        for i in range(9)
    }
    path = tmp_path / "a.tar"
    path.write_bytes(write(samples)[0])
    rows = datasets.load_dataset("webdataset", data_files=[str(path)], split="train", cache_dir=str(tmp_path / "c"))
    for image in ("jpg", "depth.png"):
        rows = rows.cast_column(image, datasets.Image(decode=False))
    assert [row["__key__"] for row in rows] == list(samples)
    for row, parts in zip(rows, samples.values(), strict=True):
        assert row["jpg"]["bytes"] == parts["jpg"]
        assert row["depth.png"]["bytes"] == parts["depth.png"]
        assert row["bin"] == parts["bin"]
        assert row["json"] == json.loads(parts["json"])


def test_known_digests_are_taken_as_they_are_and_bytes_stay_the_same():
    parts = {"jpg": b"abc", "json": b"{}"}
    known = {name: hashlib.sha256(data).hexdigest() for name, data in parts.items()}
    plain, copied = io.BytesIO(), io.BytesIO()
    first, second = TarWriter(plain), TarWriter(copied)
    assert first.add("k", parts) == second.add("k", parts, known)
    assert first.close() == second.close()
    assert plain.getvalue() == copied.getvalue()


@pytest.mark.parametrize("known", [None, {}, {"jpg": "0" * 64}, {"png": "0" * 64}])
def test_a_part_whose_digest_is_not_known_is_hashed(known):
    members = TarWriter(io.BytesIO()).add("k", {"jpg": b"abc", "json": b"{}"}, known)
    digests = {"jpg": hashlib.sha256(b"abc").hexdigest(), "json": hashlib.sha256(b"{}").hexdigest()}
    trusted = {name: digest for name, digest in (known or {}).items() if name in digests}
    assert {member.name: member.sha256 for member in members} == {**digests, **trusted}


@PROPERTY
@given(st.text(min_size=1, max_size=300).filter(lambda name: "\0" not in name and name.isprintable()))
@example("a" * 100)
@example("a" * 101)
@example("a" * 989)  # the record's length grows to four digits here
@example("é" * 60 + ".jpg")
@example("zażółć gęślą.txt")
def test_names_that_do_not_fit_get_a_pax_record(name):
    name = name.strip("/ ") or "x"
    block = header(name, 3)
    has_record = not name.isascii() or len(name) > 100
    assert len(block) == (BLOCK if not has_record else BLOCK * 2 + -(-_record_length(name) // BLOCK) * BLOCK)
    archive = block + b"abc".ljust(BLOCK, b"\0") + bytes(2 * BLOCK)
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:", errorlevel=2) as opened:
        (info,) = opened.getmembers()
        assert info.name == name
        assert opened.extractfile(info).read() == b"abc"


def _record_length(name: str) -> int:
    length = 0
    while len(str(length)) + len(f" path={name}\n".encode()) != length:
        length += 1
    return length


def test_a_large_part_is_refused_before_its_name_is_written():
    assert header("k.bin", 8**11 - 1)[124:136] == b"77777777777\0"
    with pytest.raises(ValueError, match="smaller than 8 GiB"):
        header("k.bin", 8**11)


@pytest.mark.parametrize("key", ["", "A", "a.b", "a/b", "a b", "é", "a\n"])
def test_keys_that_readers_would_split_or_fold_are_refused(key):
    with pytest.raises(ValueError, match="key must hold only"):
        TarWriter(io.BytesIO()).add(key, {"jpg": b""})


@pytest.mark.parametrize("name", ["", ".jpg", "jpg.", "a..b", "a/b", "a b", "é", "JPG", "depth.PNG", "__x", "jpg\n"])
def test_part_names_that_readers_would_split_or_fold_are_refused(name):
    sink = io.BytesIO()
    with pytest.raises(ValueError, match="part name must"):
        TarWriter(sink).add("k", {name: b""})
    assert sink.getvalue() == b""


def test_a_key_comes_once_so_that_its_members_are_contiguous():
    writer = TarWriter(io.BytesIO())
    writer.add("a", {"jpg": b"1"})
    with pytest.raises(ValueError, match="once per shard, got 'a'"):
        writer.add("a", {"png": b"2"})
