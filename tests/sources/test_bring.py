"""What sources hand over of the columns that recipes bring along.

PYTHONPATH=. python -m pytest tests/sources/test_bring.py
"""

import json
import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from onegen.config.recipe import make_source
from onegen.config.registry import available, find
from onegen.errors import ConfigError, SampleError
from onegen.shards.plan import PlannedItem, make_plan, read_plan
from onegen.sources import Brings, bring_of
from tests.exports import table_bytes, tar_bytes
from tests.fabricated import memory_store
from tests.pictures import jpeg

PHOTO = jpeg(1)


def planned(source: Any) -> list[PlannedItem]:
    with memory_store("planned") as store:
        summary = make_plan(store, source.listing(), 100)
        return [row for shard in range(summary.shards) for row in read_plan(store, shard)]


def write(root: Path, files: Mapping[str, bytes]) -> Path:
    root.mkdir(exist_ok=True)
    for name, data in files.items():
        (root / name).write_bytes(data)
    return root


def brought(source: Any, item: PlannedItem, is_file: bool = False) -> dict[str, Any]:
    return {column: source.brought(item, entry, is_file)[0] for column, entry in bring_of(source).items()}


ENTRIES = {"depth": "depth.png", "boxes": "json.about.objects", "entities": "more.json", "caption": "txt"}
SAID = {"about": {"objects": [1]}, "licence": "CC0"}
FILES = {
    "a.jpg": PHOTO, "a.depth.png": b"map", "a.json": json.dumps(SAID).encode(), "a.more.json": b"[3]",
    "a.txt": b"words", "b.png": PHOTO,
}  # fmt: skip


@pytest.fixture(params=["folder", "webdataset"])
def source(request, tmp_path) -> Any:
    if request.param == "folder":
        return make_source({"folder": str(write(tmp_path / "in", FILES)), "bring": ENTRIES})
    tar = tar_bytes(list(FILES.items()))
    return make_source({"webdataset": str(write(tmp_path / "in", {"0.tar": tar})), "keep": [], "bring": ENTRIES})


@pytest.mark.parametrize("name", available("sources"))
def test_every_source_brings(name):
    kind = find("sources", name, {})
    if kind.kind in ("identity", "scene"):
        pytest.skip("sets bring no columns by name")
    assert "bring" in kind.annotation_options
    assert all(hasattr(kind, member) for member in ("entries", "check_brought", "brought"))


def test_files_beside_a_picture_belong_to_it_and_are_no_pictures(source):
    first, second = planned(source)
    assert isinstance(source, Brings)
    assert brought(source, first) == {"depth": b"map", "detection": [1], "entities": [3], "caption": b"words"}
    assert brought(source, second) == dict.fromkeys(("depth", "detection", "entities", "caption"))
    image = source.read(first).images[0]
    assert (image.data, image.caption, image.licence) == (PHOTO, "words", "CC0")
    assert brought(pickle.loads(pickle.dumps(source)), first)["depth"] == b"map"


def test_what_the_plan_does_not_know_is_found(source):
    options = {source.name: getattr(source, source.name), **({"keep": ()} if source.name == "webdataset" else {})}
    bare = make_source(options)
    first = next(item for item in planned(bare) if item.item.endswith(("a.jpg", "#a")))
    assert brought(source, first) == {"depth": b"map", "detection": [1], "entities": [3], "caption": b"words"}


def test_a_file_that_changed_or_went_is_named(source):
    first, _ = planned(source)
    name = "a.depth.png" if source.name == "folder" else "0.tar"
    path = Path(getattr(source, source.name)) / name
    moment = path.stat().st_mtime_ns
    os.utime(path, ns=(moment, moment + 1_000_000))
    for reason in ("source_changed", "source_gone"):
        with pytest.raises(SampleError, match=name) as caught:
            brought(source, first)
        assert caught.value.reason == reason
        path.unlink(missing_ok=True)


@pytest.mark.parametrize(
    ("said", "expected"), [(b"[{]", "brought_value"), (b"\xff", "bad_sidecar"), (b"[1]", None), (b'{"about": 3}', None)]
)
def test_json_that_does_not_read_is_named_and_one_that_says_nothing_is_absent(tmp_path, said, expected):
    folder = write(tmp_path / "in", {"a.jpg": PHOTO, "a.json": said})
    source = make_source({"folder": str(folder), "bring": {"boxes": "json.about.objects"}})
    (item,) = planned(source)
    if expected is None:
        assert brought(source, item) == {"detection": None}
        return
    with pytest.raises(SampleError) as caught:
        brought(source, item)
    assert caught.value.reason == expected


@pytest.mark.parametrize("sidecars", [True, False])
def test_a_list_that_is_brought_whole_states_no_caption(tmp_path, sidecars):
    folder = write(tmp_path / "in", {"a.jpg": PHOTO, "a.json": b" [1]", "a.txt": b"words"})
    source = make_source({"folder": str(folder), "sidecars": sidecars, "bring": {"boxes": "json"}})
    (item,) = planned(source)
    assert brought(source, item) == {"detection": [1]}
    assert source.read(item).images[0].caption == ("words" if sidecars else None)


def test_names_are_paired_as_captions_are(tmp_path):
    files = {"e\u0301.jpg": PHOTO, "\u00e9.Depth.PNG": b"one", "b.jpg": PHOTO, "b.jpg.depth.png": b"two"}
    source = make_source({"folder": str(write(tmp_path / "in", files)), "bring": {"depth": "depth.png"}})
    assert sorted(brought(source, item)["depth"] for item in planned(source)) == [b"one", b"two"]


@pytest.mark.parametrize("name", ["folder", "webdataset"])
def test_every_file_of_a_suffix_may_be_brought(tmp_path, name):
    files = {"a.jpg": PHOTO, "a.png": b"map", "b.jpg": PHOTO}
    folder = write(tmp_path / "in", files if name == "folder" else {"0.tar": tar_bytes(list(files.items()))})
    source = make_source({name: str(folder), "bring": {"masks": "png"}})
    assert [brought(source, item) for item in planned(source)] == [{"segmentation": b"map"}, {"segmentation": None}]


def test_a_map_beside_no_picture_is_counted(tmp_path):
    files = {"a.jpg": PHOTO, "c.depth.png": b"map"}
    source = make_source({"folder": str(write(tmp_path / "in", files)), "bring": {"depth": "depth.png"}})
    assert len(planned(source)) == 1
    assert source.passed_over() == {"they are captions, JSON or what is brought beside no image": 1}


def test_a_file_of_another_folder_is_refused(tmp_path):
    source = make_source({"folder": str(write(tmp_path / "in", FILES)), "bring": {"depth": "../depth.png"}})
    with pytest.raises(ConfigError, match=r"bring.depth.from must be how a name goes on beside its picture, got '../d"):
        source.check_brought()


def table(root: Path, bring: Mapping[str, Any], **columns: list[Any]) -> Any:
    count = len(next(iter(columns.values())))
    write(root, {"t.parquet": table_bytes({"image": [PHOTO] * count, **columns})})
    return make_source({"parquet": str(root / "t.parquet"), "bring": bring})


def test_a_table_has_bytes_structs_paths_and_values(tmp_path):
    write(tmp_path, {"map.png": b"from a file"})
    source = table(
        tmp_path,
        {"depth": "about.depth", "caption": "words"},
        about=[{"depth": {"bytes": b"map", "path": None}}, {"depth": {"bytes": None, "path": "map.png"}}, None],
        words=["one", None, "three"],
    )
    source.check_brought()
    items = planned(source)
    maps = [source.brought(item, source.entries["depth"], True) for item in items]
    assert maps == [(b"map",), (b"from a file",), (None,)]
    assert [brought(source, item)["caption"] for item in items] == ["one", None, "three"]


def test_a_path_that_leads_out_fails_its_row(tmp_path):
    source = table(tmp_path, {"depth": "d"}, d=["../map.png"])
    with pytest.raises(SampleError) as caught:
        brought(source, planned(source)[0], is_file=True)
    assert caught.value.reason == "outside_root"


def test_a_column_that_no_table_has_is_refused_with_the_nearest(tmp_path):
    source = table(tmp_path, {"depth": "dpeth"}, depth=[b"x"])
    with pytest.raises(ConfigError, match=r"bring.depth must name a column of .*t.parquet, got 'dpeth'.*depth"):
        source.check_brought()


def test_a_table_that_is_damaged_is_told_by_its_rows(tmp_path):
    source = table(tmp_path, {"depth": "depth"}, depth=[b"x"])
    (tmp_path / "t.parquet").write_bytes(b"no table")
    source.check_brought()


def test_pairs_cut_from_one_picture_bring_nothing():
    with pytest.raises(ConfigError, match="bring must stand beside target and source, got it with image"):
        make_source({"pairs": "x.parquet", "image": "image", "subject": "s", "bring": {"depth": "d"}})
