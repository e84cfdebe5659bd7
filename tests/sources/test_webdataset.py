"""PYTHONPATH=. python -m pytest tests/sources/test_webdataset.py"""

import gzip
import io
import json
import os
import pickle
import subprocess
import tarfile
import tracemalloc
from collections import Counter

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from onegen.errors import ConfigError, SampleError
from onegen.sample import SourceImage, SourceItem
from onegen.shards.plan import PlannedItem, make_plan, read_plan
from onegen.sources.reading.tar import DamagedTar, members
from onegen.sources.webdataset import WebDataset
from tests.exports import tar_bytes, write_downloads
from tests.fabricated import memory_store
from tests.pictures import jpeg


def plan(source: WebDataset) -> dict[str, PlannedItem]:
    """List a source as a build does, and return its items by id, in order."""
    with memory_store("webdataset") as store:
        summary = make_plan(store, source.listing(), 1000)
        rows = [row for shard in range(summary.shards) for row in read_plan(store, shard)]
    assert len({row.item for row in rows}) == len(rows)
    return {row.item: row for row in rows}


def write(tmp_path, *parts: tuple[str, bytes | str], **options: object) -> WebDataset:
    data = [(name, content.encode() if isinstance(content, str) else content) for name, content in parts]
    (tmp_path / "a.tar").write_bytes(tar_bytes(data))
    return WebDataset(str(tmp_path / "a.tar"), **options)


def read(source: WebDataset) -> dict[str, SourceItem | str]:
    """Return what reading each item gives, the reason where it fails."""
    outcomes: dict[str, SourceItem | str] = {}
    for item in plan(source).values():
        try:
            outcomes[item.item] = source.read(item)
        except SampleError as error:
            outcomes[item.item] = error.reason
    return outcomes


def images(source: WebDataset) -> dict[str, object]:
    return {item: _bytes_or_reason(outcome) for item, outcome in read(source).items()}


def _bytes_or_reason(outcome: SourceItem | str) -> bytes | str:
    return outcome if isinstance(outcome, str) else outcome.images[0].data


def failed(source: WebDataset, item: PlannedItem) -> tuple[str, str]:
    with pytest.raises(SampleError) as caught:
        source.read(item)
    return caught.value.reason, str(caught.value)


def test_a_crawl_is_read_and_its_failures_are_counted(tmp_path):
    statuses = write_downloads(tmp_path)
    source = WebDataset(str(tmp_path / "*.tar"))
    items = plan(source)
    assert list(items) == sorted(statuses)
    for name, item in items.items():
        key = name.rpartition("#")[2]
        if statuses[name] == "success":
            source_item = source.read(item)
            assert source_item.images == (SourceImage(jpeg(100 * int(key[:5]) + int(key[5:])), f"picture {key}"),)
        else:
            assert failed(source, item) == (
                "download_failed",
                f"https://pictures.example/{key}.jpg was not downloaded: HTTP Error 404: Not Found.",
            )


def test_a_download_that_is_not_in_its_tar_fails_by_name(tmp_path):
    write_downloads(tmp_path, tars=1)
    (tmp_path / "00000.tar").write_bytes(tar_bytes([("000000000.jpg", b"1")]))
    assert images(WebDataset(str(tmp_path))) == {
        "00000.tar#000000000": b"1",
        **dict.fromkeys(("00000.tar#000000001", "00000.tar#000000003", "00000.tar#000000004"), "not_in_tar"),
        **dict.fromkeys(("00000.tar#000000002", "00000.tar#000000005"), "download_failed"),
    }


def test_a_table_that_changed_after_the_plan_fails_the_rows_it_explained(tmp_path):
    write_downloads(tmp_path, tars=1)
    source = WebDataset(str(tmp_path))
    items = plan(source)
    pq.write_table(pa.table({"other": [1]}), tmp_path / "00000.parquet")
    assert failed(source, items["00000.tar#000000002"])[0] == "source_changed"
    assert source.read(items["00000.tar#000000000"]).images
    (tmp_path / "00000.parquet").unlink()
    assert failed(source, items["00000.tar#000000005"])[0] == "source_gone"


def test_another_table_beside_a_tar_is_left_alone(tmp_path):
    source = write(tmp_path, ("k.jpg", b"1"))
    pq.write_table(pa.table({"key": ["other"]}), tmp_path / "a.parquet")
    assert images(source) == {"a.tar#k": b"1"}


@pytest.mark.parametrize("table", [b"", b"no table"])
def test_a_damaged_table_is_one_failure_and_its_tar_is_read(tmp_path, table):
    source = write(tmp_path, ("k.jpg", b"1"), ("k.json", '{"level": 3}'))
    (tmp_path / "a.parquet").write_bytes(table)
    items = plan(source)
    assert list(items) == ["a.parquet", "a.tar#k"]
    reason, message = failed(source, items["a.parquet"])
    assert reason == "damaged_table"
    assert f"{tmp_path}/a.parquet must be a readable Parquet file" in message
    assert source.read(items["a.tar#k"]).images[0].data == b"1"
    assert source.annotations(items["a.tar#k"])["metadata"].values == {"level": 3}


NAMES = [
    "k.jpg", "k.txt", "K.JPG", "a.b.jpg", "a.jpg", "dir/x.JPEG", "dir.d/x.webp", "./y.png", "é ü/日本.jpg", "noext",
    ".hidden.jpg", "__meta__", "z..jpg", "w.jpg.", f"{'long/' * 40}n.jpg", "q.JSON",
]  # fmt: skip


def test_keys_are_those_stock_webdataset_gives(tmp_path):
    wds = pytest.importorskip("webdataset")
    data = [(name, b"{}" if name.endswith("JSON") else name.encode()) for name in NAMES]
    (tmp_path / "a.tar").write_bytes(tar_bytes(data))
    stock = list(wds.WebDataset(str(tmp_path / "a.tar"), shardshuffle=False))
    ours = images(WebDataset(str(tmp_path)))
    # Stock readers make two samples of a key whose parts do not stand together; here it is one that names them all.
    assert set(ours) == {f"a.tar#{sample['__key__']}" for sample in stock}
    pictured = {s["__key__"]: s[p] for s in stock for p in ("jpg", "jpeg", "webp", "png") if p in s}
    assert {item.partition("#")[2]: data for item, data in ours.items() if isinstance(data, bytes)} == pictured


def test_hidden_files_are_no_samples(tmp_path):
    # Stock readers take those of a folder for parts of one sample named like the folder.
    assert images(write(tmp_path, ("dir/.a.jpg", b"1"), ("dir/._a.jpg", b"2"), ("dir/a.jpg", b"3"))) == {
        "a.tar#dir/a": b"3"
    }


def test_a_key_must_have_one_image(tmp_path):
    source = write(
        tmp_path,
        ("one.jpg", b"1"), ("one.txt", "a"),
        ("two.jpg", b"2"), ("two.png", b"3"),
        ("same.jpg", b"4"), ("same.jpg", b"4"),
        ("none.txt", "b"), ("none.json", "{}"),
        ("parts.depth.png", b"5"), ("parts.jpg", b"6"),
        ("apart.jpg", b"7"), ("last.jpg", b"8"), ("apart.webp", b"9"), ("last.txt", "c"),
    )  # fmt: skip
    assert images(source) == {
        "a.tar#apart": "two_images", "a.tar#last": b"8", "a.tar#none": "no_image", "a.tar#one": b"1",
        "a.tar#parts": b"6", "a.tar#same": "two_images", "a.tar#two": "two_images",
    }  # fmt: skip
    assert (
        failed(source, plan(source)["a.tar#two"])[1]
        == "key must have one image, got two.jpg, two.png in a.tar. Name the one in `image`."
    )


def test_the_recipe_may_say_which_part_is_the_image_and_which_the_caption(tmp_path):
    parts = [("k.jpg", b"1"), ("k.depth.png", b"2"), ("k.txt", "a"), ("k.long.txt", "b")]
    source = write(tmp_path, *parts, image="depth.PNG", caption="long.txt")
    (outcome,) = read(source).values()
    assert (outcome.images[0].data, outcome.images[0].caption) == (b"2", "b")


@pytest.mark.parametrize(
    ("parts", "image", "words"),
    [
        ([("k.jpg", b"1")], "depth.png", "under depth.png, got only jpg in .* Name the picture, image: jpg;"),
        (
            [("k.source.jpg", b"1"), ("k.target.jpg", b"2"), ("k.txt", "a")],
            None,
            "got only source.jpg, target.jpg, txt",
        ),
        ([("k.cls", "1"), ("k.npy", b"2")], None, "got only cls, npy in .* Check that these tars hold pictures;"),
        (
            [("j.jpg", b"1"), ("j.png", b"2"), ("k.jpg", b"3"), ("k.png", b"4"), ("l.txt", "a")],
            None,
            "one picture a key, got jpg, png in every key of .* Name the picture, image: jpg;",
        ),
    ],
)
def test_tars_without_a_picture_are_refused_before_anything_runs(tmp_path, parts, image, words):
    with pytest.raises(ConfigError, match=words):
        plan(write(tmp_path, *parts, image=image))


def test_a_crawl_of_which_nothing_came_and_a_tar_that_breaks_off_are_rows(tmp_path):
    statuses = write_downloads(tmp_path, tars=1)
    (tmp_path / "00000.tar").write_bytes(tar_bytes([]))
    assert sorted(plan(WebDataset(str(tmp_path)))) == sorted(statuses)
    (tmp_path / "00000.parquet").unlink()
    (tmp_path / "00000.tar").write_bytes(tar_bytes([("a.json", b"{}"), ("b.json", b"{}")])[:1100])
    assert "damaged_tar" in images(WebDataset(str(tmp_path))).values()


@pytest.mark.parametrize(
    ("caption", "about", "expected"),
    [
        ("  two\x00 lines\n\x1b of it ", None, ("  two\x00 lines\n\x1b of it ", None, None)),
        ("é" * 100_000, None, ("é" * 100_000, None, None)),
        (" \n", {"caption": "from json"}, ("from json", None, None)),
        (None, {"text": "t", "license": "CC0-1.0", "attribution": "Ann"}, ("t", "CC0-1.0", "Ann")),
        ("of its own", {"caption": "from json", "licence": "a", "license": "b"}, ("of its own", "a", None)),
        ("of its own", {"caption": ["no", "text"], "licence": None}, ("of its own", None, None)),
    ],
)
def test_captions_and_rights_are_read_in_full(tmp_path, caption, about, expected):
    parts = [("k.txt", caption)] if caption is not None else []
    parts += [("k.json", json.dumps(about))] if about is not None else []
    (outcome,) = read(write(tmp_path, ("k.jpg", b"1"), *parts)).values()
    assert (outcome.images[0].caption, outcome.images[0].licence, outcome.images[0].attribution) == expected


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("k.txt", b"\xff\xfe broken"),
        ("k.json", b"{broken"),
        ("k.json", b"[1]"),
        ("k.json", b"\xff"),
        ("k.json", b"[" * 100_000),
        ("k.json", b""),
        ("k.json", b'{"caption": ["no", "text"]}'),
        ("k.json", b'{"licence": NaN}'),
    ],
)
def test_a_part_beside_the_image_that_cannot_be_read_fails_the_row(tmp_path, name, data):
    source = write(tmp_path, ("k.jpg", b"1"), (name, data), ("l.jpg", b"2"))
    assert images(source) == {"a.tar#k": "bad_sidecar", "a.tar#l": b"2"}


TAR = [(f"{key}.{part}", f"{key} {part} ".encode() * 60) for key in ("a", "b", "c") for part in ("jpg", "txt")]


@pytest.mark.parametrize("cut", [0, 100, 512, 700, 1023, 1024, 1300, 1536, 3000, 5632, 6143, 6144, 6400, 6656, 10239])
def test_a_tar_that_breaks_off_keeps_its_whole_members_and_says_so(tmp_path, cut):
    whole = tar_bytes(TAR)
    assert cut < len(whole)
    source = WebDataset(str(tmp_path / "a.tar"), keep=())
    (tmp_path / "a.tar").write_bytes(whole[:cut])
    with tarfile.open(fileobj=io.BytesIO(whole)) as tar:
        whole_members = [info for info in tar if info.offset_data + info.size <= cut]
    items = plan(source)
    pictures = {f"a.tar#{info.name[0]}": dict(TAR)[info.name] for info in whole_members if info.name.endswith("jpg")}
    assert {name: source.read(item).images[0].data for name, item in items.items() if name != "a.tar"} == pictures
    # The end mark is a block of zeros after the last member.
    assert ("a.tar" in items) == (cut < 6 * 1024 + 512)
    if "a.tar" in items:
        reason, message = failed(source, items["a.tar"])
        assert reason == "damaged_tar"
        assert f"breaks off at byte {1024 * len(whole_members):,}." in message


@pytest.mark.parametrize("position", [1024 + 1, 1024 + 148])
def test_a_damaged_header_does_not_pass_for_the_end(tmp_path, position):
    data = bytearray(tar_bytes([("a.jpg", b"1"), ("b.jpg", b"2"), ("c.jpg", b"3")]))
    data[position] ^= 0xFF
    (tmp_path / "a.tar").write_bytes(data)
    assert images(WebDataset(str(tmp_path))) == {"a.tar": "damaged_tar", "a.tar#a": b"1"}


@pytest.mark.parametrize("data", [b"", b"no tar at all " * 100, gzip.compress(tar_bytes(TAR))])
def test_what_is_no_tar_is_one_row_that_fails(tmp_path, data):
    (tmp_path / "bad.tar").write_bytes(data)
    (tmp_path / "good.tar").write_bytes(tar_bytes(TAR[:1]))
    assert images(WebDataset(str(tmp_path))) == {"bad.tar": "damaged_tar", "good.tar#a": TAR[0][1]}


def test_a_tar_without_members_lists_nothing(tmp_path):
    (tmp_path / "a.tar").write_bytes(tar_bytes([]))
    assert plan(WebDataset(str(tmp_path))) == {}


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_every_kind_of_tar_is_read(tmp_path, format):
    long = f"{'folder/' * 20}{'n' * 60}"
    (tmp_path / "a.tar").write_bytes(tar_bytes([(f"{long}.jpg", b"1"), ("b.jpg", b"2")], format=format))
    assert images(WebDataset(str(tmp_path))) == {f"a.tar#{long}": b"1", "a.tar#b": b"2"}


def test_names_that_are_not_utf_8_are_kept_apart(tmp_path):
    names = [b"\xff.jpg", b"\xfe.jpg"]
    data = tar_bytes([(os.fsdecode(name), name) for name in names], format=tarfile.GNU_FORMAT, encoding="utf-8")
    (tmp_path / "a.tar").write_bytes(data)
    assert images(WebDataset(str(tmp_path))) == {"a.tar#\\xff": b"\xff.jpg", "a.tar#\\xfe": b"\xfe.jpg"}


def info(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname = kind, target
    return made


def test_folders_are_no_samples_and_symbolic_links_are_counted(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        tar.addfile(info("d.jpg", tarfile.DIRTYPE))
        tar.addfile(info("s.jpg", tarfile.SYMTYPE, "/etc/passwd"))
        tar.addfile(info("noext", tarfile.REGTYPE))
    source = WebDataset(str(tmp_path))
    assert plan(source) == {}
    assert source.passed_over() == {
        "they are symbolic links or devices in a tar": 1,
        "their names in the tar have no suffix, or are hidden": 1,
    }


def test_a_hard_link_is_the_member_it_leads_to_and_one_to_nothing_fails_alone(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for name, data in (("a.jpg", b"first"), ("link.jpg", None), ("a.jpg", b"second"), ("b.jpg", b"b")):
            made = info(name, tarfile.REGTYPE if data else tarfile.LNKTYPE, "" if data else "a.jpg")
            made.size = len(data or b"")
            tar.addfile(made, io.BytesIO(data or b""))
        tar.addfile(info("chain.jpg", tarfile.LNKTYPE, "link.jpg"))
        tar.addfile(info("passwd.jpg", tarfile.LNKTYPE, "/etc/passwd"))
        tar.addfile(info("itself.jpg", tarfile.LNKTYPE, "itself.jpg"))
        tar.addfile(info("late.jpg", tarfile.LNKTYPE, "later.jpg"))
        tar.addfile(info("later.jpg", tarfile.LNKTYPE, "a.jpg"))
    assert images(WebDataset(str(tmp_path))) == {
        "a.tar#a": "two_images", "a.tar#b": b"b", "a.tar#chain": b"first", "a.tar#itself": "lost_link",
        "a.tar#late": "lost_link", "a.tar#later": b"second", "a.tar#link": b"first", "a.tar#passwd": "lost_link",
    }  # fmt: skip


@pytest.mark.parametrize("form", ["posix", "gnu", "oldgnu", "0.0", "0.1"])
def test_sparse_members_are_put_together(tmp_path, form):
    data = bytes(1 << 20) + b"x" * 5000 + bytes(1 << 20) + b"end"
    (tmp_path / "in").mkdir()
    with open(tmp_path / "in/s.jpg", "wb") as file:
        for start in (1 << 20, len(data) - 3):
            file.seek(start)
            file.write(data[start:].rstrip(b"\0")[:5000] if start == 1 << 20 else b"end")
    (tmp_path / "in/z.jpg").write_bytes(b"z")
    kind = [f"--format={form}"] if form.isalpha() else ["--format=posix", f"--sparse-version={form}"]
    command = ["tar", "--sparse", *kind, "-cf", "../a.tar", "s.jpg", "z.jpg"]
    subprocess.run(command, cwd=tmp_path / "in", check=True)
    assert os.stat(tmp_path / "a.tar").st_size < 100_000, "tar has left the holes out"
    assert images(WebDataset(str(tmp_path / "a.tar"))) == {"a.tar#s": data, "a.tar#z": b"z"}


def test_a_sparse_member_of_any_size_costs_no_memory(tmp_path):
    with open(tmp_path / "s.jpg", "wb") as file:
        file.truncate(2 << 30)
    subprocess.run(["tar", "--sparse", "-cf", "a.tar", "s.jpg"], cwd=tmp_path, check=True)
    assert images(WebDataset(str(tmp_path / "a.tar"))) == {"a.tar#s": "too_sparse"}


def test_tars_behind_tars_are_read_on(tmp_path):
    parts = [tar_bytes([(f"{name}.jpg", name.encode())]) for name in "abc"]
    (tmp_path / "a.tar").write_bytes(parts[0] + parts[1][: 1024 + 512] + parts[2] + bytes(1 << 21))
    whole = {f"a.tar#{name}": name.encode() for name in "abc"}
    assert images(WebDataset(str(tmp_path))) == whole
    with open(tmp_path / "a.tar", "ab") as file:
        file.write(b"no header")
    assert images(WebDataset(str(tmp_path))) == {"a.tar": "damaged_tar", **whole}
    (tmp_path / "a.tar").write_bytes(parts[0] + parts[1][:1024])
    assert images(WebDataset(str(tmp_path))) == {"a.tar": "damaged_tar", "a.tar#a": b"a", "a.tar#b": b"b"}


def test_compressed_tars_are_passed_over_and_said(tmp_path):
    (tmp_path / "b.tar.gz").write_bytes(gzip.compress(tar_bytes(TAR)))
    with pytest.raises(ConfigError, match=r"means none. 1 passed over, because compressed tars are not read"):
        plan(WebDataset(str(tmp_path)))
    source = write(tmp_path, ("k.jpg", b"1"))
    source = WebDataset(str(tmp_path))
    assert list(plan(source)) == ["a.tar#k"]
    assert [(count, "unpack them to .tar" in reason) for reason, count in source.passed_over().items()] == [(1, True)]


def test_ranges_in_braces_name_tars(tmp_path):
    write_downloads(tmp_path, tars=12, each=1)
    items = plan(WebDataset(str(tmp_path / "{00009..00011}.tar")))
    assert list(items) == ["00009.tar#000090000", "00010.tar#000100000", "00011.tar#000110000"]
    with pytest.raises(ConfigError, match=r"must name files that exist.*00012\.tar"):
        plan(WebDataset(str(tmp_path / "{00009..00012}.tar")))


def test_the_types_of_metadata_come_from_the_tables_beside_the_tars(tmp_path):
    write_downloads(tmp_path)
    source = WebDataset(str(tmp_path))
    fields = {name: str(kind) for name, kind in source.provides["metadata"].fields.items()}
    assert fields == {
        "url": "string", "key_": "string", "width": "int64", "height": "int64", "original_width": "int64",
        "original_height": "int64", "exif": "string", "sha256": "string", "similarity": "double",
    }  # fmt: skip
    item = plan(source)["00001.tar#000010001"]
    assert source.annotations(item)["metadata"].values == {
        "url": "https://pictures.example/000010001.jpg", "key_": "000010001", "width": 48, "height": 32,
        "original_width": 480, "original_height": 320, "exif": "{}", "sha256": "0" * 64, "similarity": 0.1,
    }  # fmt: skip


def test_without_a_table_all_samples_say_the_types(tmp_path):
    objects = [
        {"n": 1, "x": 1, "flag": True, "mixed": 1, "deep": {"b": [1, "é"], "a": None}, "never": None},
        {"n": 2, "x": 0.5, "flag": False, "mixed": "two", "status": "success", "caption": "c"},
    ]
    parts = [
        (f"{i}.{part}", data) for i, o in enumerate(objects) for part, data in (("jpg", b"1"), ("json", json.dumps(o)))
    ]
    source = write(tmp_path, *parts, ("bad.json", b"{"))
    fields = {name: str(kind) for name, kind in source.provides["metadata"].fields.items()}
    assert fields == {
        "n": "int64", "x": "double", "flag": "bool", "mixed": "string", "deep": "string", "never": "string",
    }  # fmt: skip
    first = source.annotations(plan(source)["a.tar#0"])["metadata"].values
    assert first == {
        "n": 1, "x": 1, "flag": True, "mixed": "1", "deep": '{"a":null,"b":[1,"é"]}', "never": None,
    }  # fmt: skip


def test_types_hold_what_late_samples_of_late_tars_say(tmp_path):
    for tar, values in enumerate([[5] * 40 + [5.9], [2**53 + 1]]):
        parts = [(f"{i}.json", json.dumps({"n": n, "big": 2**70, "late": n}).encode()) for i, n in enumerate(values)]
        parts += [(f"{i}.jpg", b"1") for i in range(len(values))]
        (tmp_path / f"{tar}.tar").write_bytes(tar_bytes(parts))
    source = WebDataset(str(tmp_path))
    fields = {name: str(kind) for name, kind in source.provides["metadata"].fields.items()}
    assert fields == {"n": "double", "big": "string", "late": "double"}
    items = plan(source)
    late = source.annotations(items["0.tar#40"])["metadata"].values
    assert late == {"n": 5.9, "big": str(2**70), "late": 5.9}
    with pytest.raises(SampleError, match="n must fit its type double, got 9007199254740993") as caught:
        source.annotations(items["1.tar#0"])
    assert caught.value.reason == "bad_metadata"


def test_numbers_json_does_not_have_are_null(tmp_path):
    source = write(tmp_path, ("k.jpg", b"1"), ("k.json", '{"x": 0.5, "y": NaN}'), ("l.json", '{"x": -Infinity}'))
    assert source.annotations(plan(source)["a.tar#k"])["metadata"].values == {"x": 0.5, "y": None}


def test_keep_chooses_what_is_said_elsewhere_too(tmp_path):
    write_downloads(tmp_path)
    source = WebDataset(str(tmp_path), keep=("status", "caption"))
    assert list(source.provides["metadata"].fields) == ["status_", "caption"]
    assert WebDataset(str(tmp_path), keep=()).provides == {}
    with pytest.raises(ConfigError, match=r"keep must name what the JSON.*got 'similarty'; did you mean 'similarity'"):
        WebDataset(str(tmp_path), keep=("similarty",)).provides  # noqa: B018


def test_a_sample_without_json_has_no_metadata(tmp_path):
    source = write(tmp_path, ("j.jpg", b"1"), ("k.jpg", b"1"), ("k.json", '{"n": 1}'))
    items = plan(source)
    assert source.annotations(items["a.tar#j"]) == {}
    assert write(tmp_path, ("j.jpg", b"1")).provides == {}


def test_workers_do_not_look_at_the_first_tar_again(tmp_path):
    write_downloads(tmp_path)
    source = WebDataset(str(tmp_path))
    items = plan(source)
    assert source.provides
    for tar in tmp_path.glob("00000.*"):
        tar.unlink()
    again = pickle.loads(pickle.dumps(source))
    assert again.annotations(items["00001.tar#000010001"])["metadata"].values["similarity"] == 0.1


class Counting(io.FileIO):
    """A file that counts what is read of it."""

    read_bytes = 0

    def read(self, size: int = -1) -> bytes:
        data = super().read(size)
        self.read_bytes += len(data)
        return data


def test_planning_reads_headers_only(tmp_path):
    header = tarfile.TarInfo("a.jpg")
    header.size = 4 << 30
    with open(tmp_path / "a.tar", "wb") as file:
        file.write(header.tobuf(tarfile.GNU_FORMAT))
        file.seek(header.size + 512 + 1024 - 1)
        file.write(b"\0")
    with Counting(tmp_path / "a.tar") as file:
        (member,) = members(file, os.stat(tmp_path / "a.tar").st_size, Counter())
        assert (member.name, member.offset, member.size) == ("a.jpg", 512, 4 << 30)
        assert file.read_bytes < 10_000


def test_damage_is_told_after_the_members_before_it():
    data = tar_bytes(TAR)[: 1024 * 3]
    names = members(io.BytesIO(data), len(data), Counter())
    assert [next(names).name for _ in range(3)] == ["a.jpg", "a.txt", "b.jpg"]
    with pytest.raises(DamagedTar) as caught:
        next(names)
    assert caught.value.offset == 1024 * 3


def test_planning_streams(tmp_path):
    (tmp_path / "a.tar").write_bytes(tar_bytes((f"{number:08d}.jpg", b"1") for number in range(30_000)))
    source = WebDataset(str(tmp_path))
    tracemalloc.start()
    rows = sum(batch.num_rows for batch in source.listing())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert rows == 30_000
    assert peak < 25e6, "headers held as a list would take four times this"
