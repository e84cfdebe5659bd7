"""PYTHONPATH=. python -m pytest tests/sources/test_parquet.py"""

import datetime
import decimal
import math
import os
import pickle
import shutil
import tracemalloc

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from onegen.config.recipe import make_source
from onegen.errors import ConfigError, SampleError
from onegen.shards.plan import PlannedItem, make_plan, read_plan
from onegen.sources.parquet import Parquet
from tests.exports import table_bytes, write_download_tables
from tests.fabricated import memory_store
from tests.pictures import jpeg, png

PICTURES = [jpeg(seed) for seed in range(8)]


def write(path, rows_per_group: int = 3, types: dict[str, pa.DataType] | None = None, **columns: list) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(table_bytes(columns, rows_per_group, **(types or {})))
    return str(path)


def plan(source: Parquet) -> list[PlannedItem]:
    """List a source as a build does, and return its items in order."""
    with memory_store("parquet") as store:
        summary = make_plan(store, source.listing(), 1000)
        return [row for shard in range(summary.shards) for row in read_plan(store, shard)]


def refused(source: Parquet) -> str:
    with pytest.raises(ConfigError) as caught:
        plan(source)
    return str(caught.value)


def failed(source: Parquet, item: PlannedItem) -> tuple[str, str]:
    with pytest.raises(SampleError) as caught:
        source.read(item)
    return caught.value.reason, str(caught.value)


def test_an_item_is_a_row_of_a_file_in_the_order_of_the_table(tmp_path):
    path = write(tmp_path / "a.parquet", image=PICTURES * 2)
    items = plan(Parquet(path))
    assert [item.item for item in items] == [f"a.parquet#{row:010d}" for row in range(16)]
    (file,) = items[3].images
    assert (file.uri, file.size) == ("a.parquet#0000000003", os.stat(path).st_size)
    assert file.etag == f"mtime:{os.stat(path).st_mtime_ns}"
    assert [Parquet(path).read(item).images[0].data for item in items] == PICTURES * 2


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("a0.parquet", ["a0"]),
        ("*.parquet", ["a0", "a1", "a2"]),
        ("a{0..1}.parquet", ["a0", "a1"]),
        ("", ["a0", "a1", "a2", "in/b"]),
        ("**/*.parquet", ["a0", "a1", "a2", "in/b"]),
        ("in", ["b"]),
    ],
)
def test_files_are_named_by_path_glob_range_or_folder(tmp_path, pattern, expected):
    for name in ("a0.parquet", "a1.parquet", "a2.parquet", "in/b.parquet", "in/.c.parquet", ".d/e.parquet", "f.txt"):
        write(tmp_path / name, image=PICTURES[:1])
    source = Parquet(str(tmp_path / pattern))
    assert sorted(item.item.partition(".")[0] for item in plan(source)) == expected
    assert source.root == str(tmp_path / "in" if pattern == "in" else tmp_path)


def test_the_root_is_said_by_the_pattern_even_when_the_files_are_gone(tmp_path):
    roots = {}
    for pattern in ("in/a.parquet", "in/*.parquet", "in", "in/{00..01}.parquet"):
        write(tmp_path / "in/a.parquet", image=PICTURES[:1])
        before = Parquet(str(tmp_path / pattern)).root
        shutil.rmtree(tmp_path / "in")
        roots[pattern] = (before, Parquet(str(tmp_path / pattern)).root)
    assert set(roots.values()) == {(str(tmp_path / "in"), str(tmp_path / "in"))}


def test_texts_come_from_the_columns_the_recipe_names(tmp_path):
    path = write(
        tmp_path / "a.parquet",
        image=PICTURES[:2],
        TEXT=["  two\x00 lines\n\x1b of it ", None],
        rights=["CC0-1.0", ""],
        author=["Ann", "Bo"],
    )
    source = Parquet(path, caption="TEXT", licence="rights", attribution="author")
    first, second = (source.read(item) for item in plan(source))
    assert (first.images[0].caption, first.images[0].licence, first.images[0].attribution) == (
        "  two\x00 lines\n\x1b of it ",
        "CC0-1.0",
        "Ann",
    )
    assert (second.images[0].caption, second.images[0].licence, second.images[0].attribution) == (None, None, "Bo")


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("captions", ["one", "b", None, None]),
        ({"column": "captions"}, ["one", "b", None, None]),
        ({"column": "captions", "pick": "longest"}, ["three", "b", None, None]),
        ({"column": "text", "pick": "longest"}, ["plain", None, None, None]),
    ],
)
def test_one_of_a_list_of_captions_is_picked(tmp_path, caption, expected):
    captions = [["one", "three", "seven"], [None, " ", "b"], [], None]
    write(tmp_path / "a.parquet", image=PICTURES[:4], captions=captions, text=["plain", None, None, ""])
    source = make_source({"parquet": str(tmp_path), "caption": caption})
    assert [source.read(item).images[0].caption for item in plan(source)] == expected
    again = pickle.loads(pickle.dumps(source))
    assert again == source


def test_any_of_a_list_is_drawn_by_the_name_of_its_item(tmp_path):
    words = ["a", "b", None, "c", " "]
    write(tmp_path / "a.parquet", image=PICTURES[:1] * 300, captions=[words] * 300)
    source = make_source({"parquet": str(tmp_path), "caption": {"column": "captions", "pick": "random"}})
    drawn = [source.read(item).images[0].caption for item in plan(source)]
    assert min(drawn.count(word) for word in "abc") > 70
    assert drawn[:12] == list("aabcbacabbba")


@pytest.mark.parametrize(
    ("name", "seeds"), [("images[0]", [0, None, 3]), ("images[-1]", [1, None, 3]), ("images[1]", [1, None, None])]
)
def test_an_element_of_a_column_of_lists_is_a_column(tmp_path, name, seeds):
    pictures = [[{"bytes": PICTURES[n], "path": None} for n in row] for row in ([0, 1], [], [3])]
    write(tmp_path / "a.parquet", images=pictures, words=[["x", "y"], ["z"], None])
    source = Parquet(str(tmp_path), image=name, caption="words[1]", keep=("words[0]",))
    assert source.provides["metadata"].fields == {"words[0]": pa.string()}
    for item, seed in zip(plan(source), seeds, strict=True):
        if seed is None:
            assert failed(source, item)[0] == "no_image"
        else:
            assert source.read(item).images[0].data == PICTURES[seed]
    first, second, third = (source.annotations(item)["metadata"].values["words[0]"] for item in plan(source))
    assert (first, second, third) == ("x", "z", None)
    assert source.read(plan(source)[0]).images[0].caption == "y"


def test_a_column_of_lists_of_pictures_is_refused_with_the_way_to_one(tmp_path):
    write(tmp_path / "a.parquet", image=[[PICTURES[0]]])
    assert "Name one of each: image: 'image[0]'." in refused(Parquet(str(tmp_path)))


def test_a_column_whose_own_name_has_brackets_comes_first(tmp_path):
    write(tmp_path / "a.parquet", **{"image[0]": PICTURES[:1], "image": [PICTURES[1:2]]})
    source = Parquet(str(tmp_path), image="image[0]")
    assert source.read(plan(source)[0]).images[0].data == PICTURES[0]


def test_elements_and_fields_go_together(tmp_path):
    rows = [[{"views": [{"bytes": PICTURES[0], "path": None}], "say": "first"}, {"views": [], "say": "second"}]]
    write(tmp_path / "a.parquet", sample=rows)
    source = Parquet(str(tmp_path), image="sample[0].views[0]", caption="sample[1].say")
    image = source.read(plan(source)[0]).images[0]
    assert (image.data, image.caption) == (PICTURES[0], "second")
    assert "got 'sample[0].nothing[0]'; it has sample" in refused(Parquet(str(tmp_path), image="sample[0].nothing[0]"))


def test_a_caption_of_100_kb_is_kept_in_full(tmp_path):
    long = "é" * 100_000
    source = Parquet(write(tmp_path / "a.parquet", image=PICTURES[:1], text=[long]), caption="text")
    assert source.read(plan(source)[0]).images[0].caption == long


def test_a_datasets_export_is_read(tmp_path):
    datasets = pytest.importorskip("datasets")
    exported = datasets.Dataset.from_dict(
        {"image": [{"bytes": data, "path": None} for data in PICTURES], "text": [f"picture {n}" for n in range(8)]}
    )
    exported = exported.cast_column("image", datasets.Image())
    exported.to_parquet(str(tmp_path / "train-00000-of-00001.parquet"), batch_size=3)
    source = Parquet(str(tmp_path), caption="text")
    items = [source.read(item) for item in plan(source)]
    assert [item.images[0].data for item in items] == PICTURES
    assert [item.images[0].caption for item in items] == [f"picture {n}" for n in range(8)]


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary()])
def test_bytes_of_any_width_are_read(tmp_path, kind):
    source = Parquet(write(tmp_path / "a.parquet", types={"image": kind}, image=PICTURES[:2]))
    assert [source.read(item).images[0].data for item in plan(source)] == PICTURES[:2]


def test_paths_start_from_the_folder_of_their_file_or_from_image_root(tmp_path):
    for name in ("in/a.jpg", "in/deep/b.jpg", "elsewhere/a.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    path = write(tmp_path / "in/t.parquet", image=["a.jpg", "deep/../deep/b.jpg", str(tmp_path / "in/a.jpg")])
    near = Parquet(path)
    assert [near.read(item).images[0].data for item in plan(near)] == [b"in/a.jpg", b"in/deep/b.jpg", b"in/a.jpg"]
    far = Parquet(path, image_root=str(tmp_path / "elsewhere"))
    assert far.read(plan(far)[0]).images[0].data == b"elsewhere/a.jpg"
    assert failed(far, plan(far)[2])[0] == "outside_root"
    everywhere = Parquet(path, image_root="/")
    assert everywhere.read(plan(everywhere)[2]).images[0].data == b"in/a.jpg"


@pytest.mark.parametrize(
    "outside", ["../secret.jpg", "/etc/passwd", "a/../../secret.jpg", "https://pictures.example/a.jpg"]
)
def test_nothing_above_the_root_is_read(tmp_path, outside):
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    source = Parquet(write(tmp_path / "in/t.parquet", image=[outside, "other.jpg"]))
    reason, message = failed(source, plan(source)[0])
    assert reason == "outside_root"
    assert "img2dataset" in message
    assert outside in message


@pytest.mark.parametrize("image_root", [None, "in", "in/"], ids=["beside the file", "image_root", "with a slash"])
def test_a_folder_whose_name_begins_like_the_root_is_outside(tmp_path, image_root):
    for name in ("in/a.jpg", "in-evil/a.jpg", "in.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    outside = ["../in-evil/a.jpg", str(tmp_path / "in-evil/a.jpg"), "../in.jpg", "..", "", "."]
    table = write(tmp_path / ("in/t.parquet" if image_root is None else "t.parquet"), image=["a.jpg", *outside])
    source = Parquet(table, image_root=image_root and f"{tmp_path}/{image_root}")
    inside, *items = plan(source)
    assert source.read(inside).images[0].data == b"in/a.jpg"
    for item, path in zip(items, outside, strict=True):
        reason, message = failed(source, item)
        assert reason == "outside_root", path
        assert f"must lie below {tmp_path}/in, got {path}" in message


def test_a_link_that_leads_outside_is_not_followed(tmp_path):
    for name in ("secret/a.jpg", "in/real/a.jpg", "in-evil/a.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    links = {"file.jpg": "secret/a.jpg", "folder": "secret", "evil": "in-evil", "inside": "in/real", "gone": "nowhere"}
    for name, target in links.items():
        (tmp_path / "in" / name).symlink_to(tmp_path / target)
    (tmp_path / "door").symlink_to(tmp_path / "in")
    paths = ["file.jpg", "folder/a.jpg", "evil/a.jpg", "inside/a.jpg", "real/a.jpg", "gone"]
    write(tmp_path / "in/t.parquet", image=paths)
    for folder in ("in", "door"):
        source = Parquet(str(tmp_path / folder / "t.parquet"))
        *outside, inside, real, gone = plan(source)
        for item in (*outside, gone):
            reason, message = failed(source, item)
            assert reason == "outside_root"
            assert f"a link to {tmp_path}/" in message
        assert [source.read(item).images[0].data for item in (inside, real)] == [b"in/real/a.jpg"] * 2
    wider = Parquet(str(tmp_path / "in/t.parquet"), image_root=str(tmp_path))
    write(tmp_path / "in/t.parquet", image=["in/file.jpg"])
    assert wider.read(plan(wider)[0]).images[0].data == b"secret/a.jpg"


def test_a_path_to_nothing_fails_by_its_name(tmp_path):
    source = Parquet(write(tmp_path / "t.parquet", image=["gone.jpg", "folder"]))
    (tmp_path / "folder").mkdir()
    gone, folder = plan(source)
    reason, message = failed(source, gone)
    assert reason == "source_gone"
    assert str(tmp_path / "gone.jpg") in message
    assert failed(source, folder)[0] == "source_unreadable"


def test_an_image_that_is_null_fails_alone(tmp_path):
    struct = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    nothing = [None, {"bytes": None, "path": None}, {"bytes": b"", "path": ""}]
    source = Parquet(
        write(tmp_path / "t.parquet", types={"image": struct}, image=[*nothing, {"bytes": b"1", "path": "x"}])
    )
    items = plan(source)
    assert [failed(source, item)[0] for item in items[:3]] == ["no_image"] * 3
    assert source.read(items[3]).images[0].data == b"1"
    plain = Parquet(write(tmp_path / "p.parquet", image=[None, PICTURES[0]]))
    assert failed(plain, plan(plain)[0]) == (
        "no_image", "image must hold an image, got null in p.parquet#0000000000.",
    )  # fmt: skip


@pytest.mark.parametrize("option", ["image", "caption", "licence", "attribution", "url", "keep"])
def test_a_column_that_is_not_there_is_named_with_those_that_are(tmp_path, option):
    path = write(tmp_path / "a.parquet", image=PICTURES[:1], captions=["x"], size=[1])
    message = refused(make_source({"parquet": path, option: ["captoin"] if option == "keep" else "captoin"}))
    assert message.startswith(f"{option} must name a column of {path}, got 'captoin'; it has image, captions, size;")
    assert "did you mean 'captions'?" in message


def test_every_file_must_have_the_columns(tmp_path):
    write(tmp_path / "a.parquet", image=PICTURES[:1])
    write(tmp_path / "b.parquet", picture=PICTURES[:1])
    assert f"{tmp_path}/b.parquet, got 'image'; it has picture" in refused(Parquet(str(tmp_path)))


def test_columns_of_no_use_are_refused(tmp_path):
    path = write(tmp_path / "a.parquet", image=PICTURES[:1], number=[1], raw=[b"1"], texts=[["a", "b"]])
    assert "image column must hold bytes, paths or {bytes, path} structs, got int64" in refused(
        Parquet(path, image="number")
    )
    assert "caption column must hold text or lists of it, got int64" in refused(Parquet(path, caption="number"))
    assert "licence column must hold text, got list" in refused(Parquet(path, licence="texts"))
    with pytest.raises(ConfigError, match="kept columns must hold text, numbers.*got binary in 'raw'"):
        Parquet(path, keep=("raw",)).provides  # noqa: B018


def test_no_file_and_no_parquet_file_are_refused(tmp_path):
    assert "must name files that exist" in refused(Parquet(str(tmp_path / "none.parquet")))
    assert "which means none" in refused(Parquet(str(tmp_path / "*.parquet")))
    write(tmp_path / "00.parquet", image=PICTURES[:1])
    assert "no " in refused(Parquet(str(tmp_path / "{00..01}.parquet")))
    (tmp_path / "00.parquet").write_bytes(b"not a table")
    assert f"{tmp_path}/00.parquet must be a readable Parquet file" in refused(Parquet(str(tmp_path)))


@pytest.mark.parametrize("damaged", [b"", b"not a table", "cut"])
def test_one_damaged_table_is_one_failure(tmp_path, damaged):
    write(tmp_path / "00.parquet", image=PICTURES, tag=[1] * len(PICTURES))
    cut = (tmp_path / "00.parquet").read_bytes()[:-10]
    (tmp_path / "01.parquet").write_bytes(cut if damaged == "cut" else damaged)
    source = Parquet(str(tmp_path), keep=("tag",))
    *sound, bad = plan(source)
    assert [source.read(item).images[0].data for item in sound] == PICTURES
    assert (bad.item, failed(source, bad)[0]) == ("01.parquet", "damaged_table")
    assert source.annotations(bad) == {}
    write(tmp_path / "01.parquet", image=PICTURES)
    assert failed(source, bad)[0] == "source_changed"


def test_a_crawl_in_tables_says_what_was_not_downloaded(tmp_path):
    statuses = write_download_tables(tmp_path)
    source = Parquet(str(tmp_path), image="jpg", caption="caption", url="url", keep=("similarity",))
    items = plan(source)
    assert len(items) == len(statuses)
    for item, status in zip(items, statuses, strict=True):
        if status == "success":
            assert source.read(item).images[0].caption.startswith("picture ")
        else:
            reason, message = failed(source, item)
            assert reason == "download_failed"
            assert message.endswith(".jpg was not downloaded: HTTP Error 404: Not Found.")
        assert source.annotations(item)["metadata"].values["url"].startswith("https://pictures.example/")


def test_a_table_without_rows_lists_nothing(tmp_path):
    assert plan(Parquet(write(tmp_path / "a.parquet", types={"image": pa.binary()}, image=[]))) == []


def test_damage_inside_a_file_fails_its_rows_and_says_so(tmp_path):
    path = tmp_path / "a.parquet"
    write(path, image=PICTURES, rows_per_group=4)
    start = pq.ParquetFile(path).metadata.row_group(1).column(0).data_page_offset
    data = bytearray(path.read_bytes())
    data[start : start + 40] = b"\xff" * 40
    path.write_bytes(data)
    source = Parquet(str(path))
    items = plan(source)
    assert [source.read(item).images[0].data for item in items[:4]] == PICTURES[:4]
    assert [failed(source, item)[0] for item in items[4:]] == ["source_unreadable"] * 4
    assert source.read(items[0]).images[0].data == PICTURES[0], "what is sound can still be read afterwards"


def count_groups(monkeypatch) -> list[tuple[int, tuple[str, ...]]]:
    """Return a list that notes each row group that is read, with its columns."""
    seen: list[tuple[int, tuple[str, ...]]] = []
    plain = pq.ParquetFile.iter_batches

    def iter_batches(self, *args, row_groups, columns, **kwargs):
        seen.append((row_groups[0], tuple(columns)))
        return plain(self, *args, row_groups=row_groups, columns=columns, **kwargs)

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", iter_batches)
    return seen


def test_a_shard_reads_each_row_group_once(tmp_path, monkeypatch):
    pictures = [png(seed, 8, 8) for seed in range(100)]
    source = Parquet(write(tmp_path / "a.parquet", image=pictures, rows_per_group=40))
    items = plan(source)
    seen = count_groups(monkeypatch)
    assert [source.read(item).images[0].data for item in items] == pictures
    assert [group for group, _ in seen] == [0, 1, 2]
    for row in (79, 41, 45, 60):
        assert source.read(items[row]).images[0].data == pictures[row], "going back reads the group again"
    assert [group for group, _ in seen] == [0, 1, 2, 1, 1]


@pytest.mark.parametrize(
    ("columns", "image"),
    [({"url": ["https://x.example/a.jpg"], "caption": ["a"]}, "image"), ({"URL": ["https://x.example/a.jpg"]}, "URL")],
)
def test_a_table_of_urls_is_refused_before_anything_runs(tmp_path, columns, image):
    message = refused(Parquet(write(tmp_path / "urls.parquet", **columns), image=image))
    assert "Lists of URLs are downloaded by img2dataset first" in message
    assert f"--url_list {tmp_path}/urls.parquet --input_format parquet --url_col {next(iter(columns))}" in message


def test_the_plan_reads_no_row_and_annotations_read_no_image(tmp_path, monkeypatch):
    source = Parquet(write(tmp_path / "a.parquet", image=PICTURES, url=["u"] * 8, n=[1] * 8), url="url", keep=("n",))
    seen = count_groups(monkeypatch)
    items = plan(source)
    assert source.provides
    assert seen == []
    for item in items:
        source.annotations(item)
    assert [columns for _, columns in seen] == [("n", "url")] * 3
    source.read(items[0])
    assert seen[-1] == (0, ("image",))


def test_what_is_kept_has_types_the_index_can_hold(tmp_path):
    path = write(
        tmp_path / "a.parquet",
        image=PICTURES[:2],
        n=[2**63 - 1, None],
        ratio=[0.25, math.nan],
        flag=[True, False],
        day=[datetime.date(2024, 2, 29), None],
        price=[decimal.Decimal("1.50"), None],
        tags=[["a", "b"], []],
        box=[{"x": 1, "at": datetime.datetime(2024, 1, 2)}, None],
        key=["k0", "k1"],
        types={"flag": pa.bool_(), "tags": pa.list_(pa.dictionary(pa.int8(), pa.string()))},
    )
    names = ("n", "ratio", "flag", "day", "price", "tags", "box", "key")
    source = Parquet(path, keep=names)
    fields = source.provides["metadata"].fields
    assert list(fields) == ["n", "ratio", "flag", "day", "price", "tags", "box", "key_"]
    assert [str(kind) for kind in fields.values()] == [
        "int64", "double", "bool", "string", "string", "list<item: string>", "struct<x: int64, at: string>", "string",
    ]  # fmt: skip
    items = plan(source)
    assert source.annotations(items[0])["metadata"].values == {
        "n": 2**63 - 1, "ratio": 0.25, "flag": True, "day": "2024-02-29", "price": "1.50", "tags": ["a", "b"],
        "box": {"x": 1, "at": "2024-01-02T00:00:00"}, "key_": "k0",
    }  # fmt: skip
    assert source.annotations(items[1])["metadata"].values["box"] is None


def test_the_footers_of_all_files_say_the_types(tmp_path):
    for number, (n, x, t) in enumerate([([None], [5], [[]]), ([2], [5.5], [["a"]]), ([3], [None], [None])]):
        types = {"n": pa.null() if n == [None] else pa.int64()}
        write(tmp_path / f"{number}.parquet", image=PICTURES[:1], n=n, x=x, t=t, types=types)
    source = Parquet(str(tmp_path), keep=("n", "x", "t"))
    fields = {name: str(kind) for name, kind in source.provides["metadata"].fields.items()}
    assert fields == {"n": "int64", "x": "double", "t": "list<item: string>"}
    values = [source.annotations(item)["metadata"].values for item in plan(source)]
    assert values == [{"n": None, "x": 5, "t": []}, {"n": 2, "x": 5.5, "t": ["a"]}, {"n": 3, "x": None, "t": None}]


def test_files_that_do_not_go_together_are_refused(tmp_path):
    write(tmp_path / "0.parquet", image=PICTURES[:1], s=["a"])
    write(tmp_path / "1.parquet", image=PICTURES[:1], s=[3])
    with pytest.raises(ConfigError, match=r"got string of 's' in .*/0\.parquet and int64 in .*/1\.parquet"):
        Parquet(str(tmp_path), keep=("s",)).provides  # noqa: B018


def test_a_number_a_double_cannot_hold_fails_its_row(tmp_path):
    write(tmp_path / "0.parquet", image=PICTURES[:2], n=[2**53 + 1, 2**53])
    write(tmp_path / "1.parquet", image=PICTURES[:1], n=[0.5])
    source = Parquet(str(tmp_path), keep=("n",))
    first, second, third = plan(source)
    with pytest.raises(SampleError, match="n must fit its type double, got 9007199254740993 in 0.parquet#") as caught:
        source.annotations(first)
    assert caught.value.reason == "bad_metadata"
    assert [source.annotations(item)["metadata"].values["n"] for item in (second, third)] == [2**53, 0.5]


def test_types_travel_to_workers_when_files_are_gone(tmp_path):
    write(tmp_path / "0.parquet", image=PICTURES[:1], n=[0.5])
    write(tmp_path / "1.parquet", image=PICTURES[:1], n=[2])
    source = Parquet(str(tmp_path / "{0..1}.parquet"), keep=("n",))
    items = plan(source)
    assert str(source.provides["metadata"].fields["n"]) == "double"
    (tmp_path / "0.parquet").unlink()
    again = pickle.loads(pickle.dumps(source))
    assert again.provides == source.provides
    assert again.annotations(items[1])["metadata"].values == {"n": 2}
    assert Parquet(str(tmp_path / "{0..1}.parquet"), keep=("n",)).provides, "one of two files is enough to go on"


def test_the_url_is_kept_and_nothing_is_by_default(tmp_path):
    path = write(tmp_path / "a.parquet", image=PICTURES[:1], link=["https://pictures.example/1"], URL=["x"], url=["y"])
    assert Parquet(path).provides == {}
    source = Parquet(path, url="link")
    assert list(source.provides["metadata"].fields) == ["url"]
    assert source.annotations(plan(source)[0])["metadata"].values == {"url": "https://pictures.example/1"}
    with pytest.raises(ConfigError, match="must differ by more than case, got 'url' twice"):
        Parquet(path, keep=("URL", "url")).provides  # noqa: B018


def test_options_travel_and_open_files_do_not(tmp_path):
    source = Parquet(write(tmp_path / "a.parquet", image=PICTURES), keep=())
    items = plan(source)
    source.read(items[0])
    again = pickle.loads(pickle.dumps(source))
    assert again == source
    assert again.read(items[7]).images[0].data == PICTURES[7]


def test_planning_streams(tmp_path):
    columns = {"image": pa.array([b"1"] * 400_000), "number": pa.array(range(400_000))}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet", row_group_size=10_000)
    source = Parquet(str(tmp_path))
    tracemalloc.start()
    rows = sum(batch.num_rows for batch in source.listing())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert rows == 400_000
    assert peak < 20e6, "a list of all rows would take ten times this"


def test_columns_may_be_fields_of_structs(tmp_path):
    about = [{"text": f"picture {n}", "size": {"width": 48 + n}, "photo": {"bytes": PICTURES[n]}} for n in range(3)]
    path = write(tmp_path / "a.parquet", about=[*about, None])
    source = Parquet(path, image="about.photo", caption="about.text", keep=("about.size.width",))
    items = plan(source)
    images = [source.read(item).images[0] for item in items[:3]]
    assert [(image.data, image.caption) for image in images] == [(PICTURES[n], f"picture {n}") for n in range(3)]
    assert failed(source, items[3])[0] == "no_image"
    kept = [source.annotations(item)["metadata"].values for item in items]
    assert kept == [{"about.size.width": width} for width in (48, 49, 50, None)]
    assert "did you mean 'about.text'?" in refused(Parquet(path, image="about.photo", caption="about.txt"))


def test_values_python_cannot_hold_fail_their_row_alone(tmp_path):
    plain = pa.array([b"one", b"caf\xe9", b"three"])
    text = pa.StringArray.from_buffers(3, *plain.buffers()[1:])
    day = pa.array([0, 0, 2**50], pa.timestamp("s"))
    source = Parquet(
        write(tmp_path / "a.parquet", image=PICTURES[:3], text=text, day=day), caption="text", keep=("day",)
    )
    items = plan(source)
    assert [source.read(items[row]).images[0].caption for row in (0, 2)] == ["one", "three"]
    reason, message = failed(source, items[1])
    assert reason == "source_unreadable"
    assert message.startswith(f"{tmp_path}/a.parquet#1 must be readable: 'utf-8' codec can't decode")
    assert source.annotations(items[1])["metadata"].values == {"day": "1970-01-01T00:00:00"}
    with pytest.raises(SampleError, match=r"a\.parquet#2 must be readable"):
        source.annotations(items[2])
