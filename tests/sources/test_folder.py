"""PYTHONPATH=. python -m pytest tests/sources/test_folder.py"""

import json
import os
import unicodedata

import pytest

from onegen.errors import ConfigError, SampleError
from onegen.pixels.upright import SUFFIXES
from onegen.shards.plan import PlannedItem, make_plan, read_plan
from onegen.sources import passed_over
from onegen.sources.folder import Folder
from onegen.sources.reading.sidecar import sidecar_facts
from tests.fabricated import memory_store
from tests.pictures import png


def write(folder, **files: bytes | str) -> None:
    """Write files by their names."""
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.encode() if isinstance(data, str) else data)


def plan(folder, **options: object) -> dict[str, PlannedItem]:
    """List a folder as a build does, and return its items by id."""
    source = Folder(str(folder), **options)
    with memory_store("folder") as store:
        summary = make_plan(store, source.listing(), 1000)
        return {row.item: row for shard in range(summary.shards) for row in read_plan(store, shard)}


def test_images_are_found_at_any_depth_and_others_are_not(tmp_path):
    write(tmp_path, **{"a.jpg": b"1", "b/c.PNG": b"2", "b/d/e.webp": b"3", "b/movie.mp4": b"4", "b/noext": b"5"})
    items = plan(tmp_path)
    assert sorted(items) == ["a.jpg", "b/c.PNG", "b/d/e.webp"]
    assert [(file.uri, file.size) for file in items["b/c.PNG"].images] == [("b/c.PNG", 1)]


def test_every_extension_is_an_image(tmp_path):
    write(tmp_path, **{f"x{extension}": b"1" for extension in SUFFIXES})
    assert sorted(plan(tmp_path)) == sorted(f"x{extension}" for extension in SUFFIXES)


@pytest.mark.parametrize(
    "name", ["a b.jpg", "ü ñ.jpg", "日本.png", "a.b.c.jpg", 'it\'s "q".jpg', "100%.jpg", "a#b?.jpg", "[a]*.jpg"]
)
def test_any_name_is_listed_and_read(tmp_path, name):
    write(tmp_path, **{f"in {name}/{name}": b"data", f"in {name}/{name}.txt": "said"})
    (item,) = plan(tmp_path).values()
    assert item.item == f"in {name}/{name}"
    source = Folder(str(tmp_path)).read(item)
    assert (source.images[0].data, source.images[0].caption) == (b"data", "said")


def test_hidden_files_and_folders_are_passed_over(tmp_path):
    write(tmp_path, **{".hidden.jpg": b"1", ".git/a.jpg": b"2", "b/._a.jpg": b"3", "b/a.jpg": b"4"})
    assert sorted(plan(tmp_path)) == ["b/a.jpg"]


def test_what_is_passed_over_is_counted_by_reason(tmp_path):
    names = [
        "a.jpg",
        "a.txt",
        "b.heic",
        "c.HEIC",
        "d.jxl",
        "movie.mp4",
        "none",
        "x.txt",
        "y.json",
        ".hidden",
        "LICENCE",
    ]
    write(tmp_path / "in", **dict.fromkeys([*names, "metadata.jsonl", "out/plan/000000.parquet", "out/a.jpg"], b"1"))
    (tmp_path / "in/link").symlink_to(tmp_path)
    (tmp_path / "in/link.jpg").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "in/pipe.jpg")
    source = Folder(str(tmp_path / "in"))
    for _ in range(2):
        assert [row["item"] for batch in source.listing() for row in batch.to_pylist()] == ["a.jpg"]
        assert passed_over(source) == {
            ".heic cannot be opened: convert them to JPEG, PNG or WebP": 2,
            ".jxl cannot be opened: convert them to JPEG, PNG or WebP": 1,
            "metadata.jsonl is not read: captions stand in a file beside each image, or use the source parquet": 1,
            "their names do not end like those of images": 2,
            "they are captions or JSON beside no image": 2,
            "they are links to folders, which are not followed": 2,
            "they are neither files nor folders": 1,
            "they are onegen datasets of their own": 1,
        }


def test_a_source_that_does_not_count_passes_nothing_over():
    assert passed_over(object()) == {}


def test_an_empty_folder_lists_nothing(tmp_path):
    assert plan(tmp_path) == {}


def facts(folder, item: str) -> tuple[str | None, str | None, str | None]:
    source = Folder(str(folder)).read(plan(folder)[item])
    (image,) = source.images
    return image.caption, image.licence, image.attribution


def test_captions_stand_beside_an_image_under_its_stem_or_its_name(tmp_path):
    write(tmp_path, **{"a.jpg": b"1", "a.txt": " a cat \n", "b.jpg": b"2", "b.jpg.txt": "a dog", "c.jpg": b"3"})
    assert [facts(tmp_path, f"{name}.jpg")[0] for name in "abc"] == ["a cat", "a dog", None]
    write(tmp_path, **{"c.caption": "a cow", "a.caption": "not the .txt"})
    assert [facts(tmp_path, f"{name}.jpg")[0] for name in "ac"] == ["a cat", "a cow"]


def test_the_item_s_own_json_wins_over_text_and_licence(tmp_path):
    write(
        tmp_path,
        **{
            "LICENSE": "CC-BY-4.0\nThe crawl\n",
            "a.jpg": b"1",
            "a.txt": "from text",
            "a.json": json.dumps({"caption": "from json", "license": "CC0-1.0", "other": 5}),
            "b.jpg": b"2",
            "b.txt": "from text",
            "c.jpg": b"3",
            "c.json": json.dumps({"text": "called text", "attribution": "me"}),
        },
    )
    assert facts(tmp_path, "a.jpg") == ("from json", "CC0-1.0", "The crawl")
    assert facts(tmp_path, "b.jpg") == ("from text", "CC-BY-4.0", "The crawl")
    assert facts(tmp_path, "c.jpg") == ("called text", "CC-BY-4.0", "me")


@pytest.mark.parametrize("name", ["LICENCE", "license.txt", "Licence.md", "LICENSE"])
def test_the_nearest_licence_file_holds(tmp_path, name):
    write(tmp_path, **{name: "outer\n", f"a/{name}": "inner\n\nSomebody", "a/b/x.jpg": b"1", "y.jpg": b"2"})
    assert facts(tmp_path, "a/b/x.jpg") == (None, "inner", "Somebody")
    assert facts(tmp_path, "y.jpg") == (None, "outer", None)


def test_sidecars_can_be_ignored(tmp_path):
    write(tmp_path, **{"a.jpg": b"1", "a.txt": "x", "LICENSE": "CC0-1.0"})
    (item,) = plan(tmp_path, sidecars=False).values()
    assert item.sidecars == ()
    assert Folder(str(tmp_path), sidecars=False).read(item).images[0].caption is None


def test_a_sidecar_goes_to_every_image_of_its_stem(tmp_path):
    write(tmp_path, **{"a.jpg": b"1", "a.png": b"2", "a.txt": "both"})
    assert facts(tmp_path, "a.jpg")[0] == facts(tmp_path, "a.png")[0] == "both"


@pytest.mark.parametrize(
    ("name", "data"),
    [("a.txt", b"\xff\xfe broken"), ("a.json", b"{"), ("a.json", b"[1]"), ("a.json", b"\xff"), ("LICENSE", b"\xff")],
)
def test_a_broken_sidecar_names_its_file(tmp_path, name, data):
    write(tmp_path, **{"a.jpg": b"1", name: data})
    with pytest.raises(SampleError, match=rf"{name} must be (UTF-8 text|a JSON object)") as caught:
        facts(tmp_path, "a.jpg")
    assert caught.value.reason == "bad_sidecar"


@pytest.mark.parametrize("field", ["caption", "text", "licence", "license", "attribution"])
def test_what_json_says_of_an_image_is_text_or_absent(field):
    for value in ("NaN", "-Infinity", "0", "0.5", "true", "false", "[]", '["a"]', "{}", '{"a": 1}'):
        with pytest.raises(SampleError, match=rf"^{field} must be text or null, got .* in a\.json") as caught:
            sidecar_facts("a.json", f'{{"{field}": {value}}}'.encode())
        assert caught.value.reason == "bad_sidecar"


def test_null_and_empty_text_say_nothing(tmp_path):
    said = {"caption": None, "text": "other", "licence": "", "attribution": None}
    write(tmp_path, **{"a.jpg": b"1", "a.json": json.dumps(said)})
    assert facts(tmp_path, "a.jpg") == ("other", None, None)


def test_suffixes_may_be_in_upper_case(tmp_path):
    write(
        tmp_path, **{"A.JPG": b"1", "A.TXT": "text", "B.jpg": b"2", "B.JPG.Json": "{}", "B.Json": '{"caption": "json"}'}
    )
    assert facts(tmp_path, "A.JPG")[0] == "text"
    assert facts(tmp_path, "B.jpg")[0] == "json"


@pytest.mark.parametrize("suffix", [".txt", ".jpg.txt"])
def test_names_that_look_alike_are_paired_and_those_written_alike_first(tmp_path, suffix):
    composed, apart = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
    write(tmp_path / "one", **{f"{composed}.jpg": b"1", f"{apart}{suffix}": "apart"})
    write(tmp_path / "other", **{f"{apart}.jpg": b"1", f"{composed}{suffix}": "composed"})
    write(tmp_path / "both", **{f"{name}{end}": name for name in (composed, apart) for end in (".jpg", suffix)})
    assert facts(tmp_path / "one", f"{composed}.jpg")[0] == "apart"
    assert facts(tmp_path / "other", f"{apart}.jpg")[0] == "composed"
    assert [facts(tmp_path / "both", f"{name}.jpg")[0] for name in (composed, apart)] == [composed, apart]


def test_a_byte_order_mark_is_no_part_of_a_caption(tmp_path):
    write(tmp_path, **{"a.jpg": b"1", "a.txt": b"\xef\xbb\xbfa cat"})
    assert facts(tmp_path, "a.jpg")[0] == "a cat"


def test_a_sidecar_that_changed_is_a_changed_item(tmp_path):
    write(tmp_path, **{"a.jpg": b"1", "a.txt": "one"})
    (item,) = plan(tmp_path).values()
    write(tmp_path, **{"a.txt": "another"})
    with pytest.raises(SampleError, match=r"a\.txt must be as planned") as caught:
        Folder(str(tmp_path)).read(item)
    assert caught.value.reason == "source_changed"


def test_the_same_size_at_another_time_is_a_changed_item(tmp_path):
    write(tmp_path, **{"a.jpg": b"1"})
    (item,) = plan(tmp_path).values()
    os.utime(tmp_path / "a.jpg", ns=(1, 1))
    with pytest.raises(SampleError) as caught:
        Folder(str(tmp_path)).read(item)
    assert caught.value.reason == "source_changed"


def test_a_file_that_is_cut_while_it_is_read_is_a_changed_item(tmp_path, monkeypatch):
    write(tmp_path, **{"a.jpg": b"whole"})
    (item,) = plan(tmp_path).values()
    source = Folder(str(tmp_path))
    monkeypatch.setattr(source._tree.fs, "cat_file", lambda path: b"who")
    with pytest.raises(SampleError) as caught:
        source.read(item)
    assert caught.value.reason == "source_changed"


def test_links_are_followed_to_files_and_not_to_folders(tmp_path):
    write(tmp_path, **{"real/a.jpg": b"1"})
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.jpg").symlink_to(tmp_path / "real/a.jpg")
    (tmp_path / "in/loop").symlink_to(tmp_path / "in")
    (tmp_path / "in/gone.jpg").symlink_to(tmp_path / "nothing.jpg")
    items = plan(tmp_path / "in")
    assert sorted(items) == ["a.jpg", "gone.jpg"]
    assert Folder(str(tmp_path / "in")).read(items["a.jpg"]).images[0].data == b"1"
    with pytest.raises(SampleError) as caught:
        Folder(str(tmp_path / "in")).read(items["gone.jpg"])
    assert caught.value.reason == "source_gone"


def test_a_folder_that_is_not_there_says_so(tmp_path):
    for path in (tmp_path / "none", tmp_path / "file.jpg"):
        (tmp_path / "file.jpg").write_bytes(png())
        with pytest.raises(ConfigError, match="source folder must exist, got .*Paths in a recipe start from"):
            list(Folder(str(path)).listing())


def test_a_name_that_is_not_utf8_is_named(tmp_path):
    (tmp_path / os.fsdecode(b"caf\xe9.jpg")).write_bytes(b"1")
    with pytest.raises(ConfigError, match=r"must be valid UTF-8, got 'caf\\udce9\.jpg'"):
        list(Folder(str(tmp_path)).listing())


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read anything")
def test_a_folder_that_may_not_be_read_is_named(tmp_path):
    write(tmp_path, **{"a/b.jpg": b"1"})
    (tmp_path / "a").chmod(0)
    with pytest.raises(ConfigError, match=r"must be readable, got .*/a: Permission denied"):
        list(Folder(str(tmp_path)).listing())


def test_an_unreadable_folder_stops_the_listing(tmp_path, monkeypatch):
    # Root reads everything, so the refusal is the system call's.
    write(tmp_path, **{"a/b.jpg": b"1"})
    scan = os.scandir

    def refuse(path):
        if str(path).endswith("/a"):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(ConfigError, match=r"must be readable, got .*/a: Permission denied.*move it out"):
        list(Folder(str(tmp_path)).listing())


def test_the_root_is_absolute(tmp_path, monkeypatch):
    write(tmp_path, **{"photos/a.jpg": b"1"})
    monkeypatch.chdir(tmp_path)
    assert Folder("photos").root == Folder("./photos/").root == Folder(str(tmp_path / "photos")).root
    assert Folder("photos").root == str(tmp_path / "photos")
    assert Folder("memory://a/b").root == "memory:///a/b"
