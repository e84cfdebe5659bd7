"""The packed view. PYTHONPATH=. python -m pytest tests/build/test_pack.py"""

import io
import json
import tarfile

import pyarrow as pa
import pytest
import webdataset

from onegen.build.pack import PackJob
from onegen.errors import ConfigError
from onegen.executor.contract import Finished, RowsStarted, Task
from onegen.sample import PACKED
from onegen.shards.column import ColumnReader
from onegen.shards.dataset import Dataset
from onegen.shards.index import IMAGE_FIELDS
from onegen.shards.manifest import Manifest
from onegen.storage import open_store
from onegen.storage.store import Store
from tests.fabricated import Line, memory_store, write_column
from tests.pictures import jpeg, png

SCORES = {"sharpness": pa.float32(), "note": pa.string()}
SCOPE = {"image": IMAGE_FIELDS, "scores": SCORES, "hed": {}, "select": {"duplicate_of": pa.string()}}
KEYS = [f"{position:020x}" for position in range(6)]


def image(position: int, **values: object) -> Line:
    data, extension = (jpeg(position), "jpg") if position % 2 else (png(position), "png")
    facts = {"uri": f"{position}.{extension}", "width": 48, "height": 32, "phash": 2**64 - 1 - position, **values}
    return Line(KEYS[position], values=facts, parts={extension: data})


def write(store: Store) -> None:
    """Write a shard where each row has another story.

    0 all is well, 1 one annotator failed, 2 image failed, 3 duplicate, 4 one annotator filtered it, 5 scores failed.
    """
    write_column(store, "image", 0, [
        image(0, caption="zero", licence="CC0-1.0", attribution="me"), image(1), Line(None, "failed", "source_gone"),
        image(3), image(4), image(5),
    ])  # fmt: skip
    write_column(store, "select", 0, [
        Line(KEYS[0]), Line(KEYS[1]), Line(None, "skipped", "image:failed"),
        Line(KEYS[3], "filtered", "duplicate", {"duplicate_of": KEYS[0]}), Line(KEYS[4]), Line(KEYS[5]),
    ], {"duplicate_of": pa.string()})  # fmt: skip
    write_column(store, "scores", 0, [
        Line(KEYS[0], values={"sharpness": 0.5}), Line(KEYS[1], values={"sharpness": 1.5, "note": "é"}),
        Line(None, "skipped", "image:failed"), Line(KEYS[3], "skipped", "select:filtered"),
        Line(KEYS[4], values={"sharpness": 9.0}), Line(KEYS[5], "failed", "crash"),
    ], SCORES)  # fmt: skip
    write_column(store, "hed", 0, [
        Line(KEYS[0], parts={"hed.png": png(10)}), Line(KEYS[1], "failed", "deadline"),
        Line(None, "skipped", "image:failed"), Line(KEYS[3], "skipped", "select:filtered"),
        Line(KEYS[4], "filtered", "no_edges"), Line(KEYS[5], parts={"hed.png": png(15)}),
    ], {})  # fmt: skip


def pack(store: Store, require: tuple[str, ...] = ("image",), where: str | None = None) -> Manifest:
    named = ("scores",) if where else ()
    job = PackJob(store, "image", ("image", "scores", "hed"), require, SCOPE, where, named)
    *beats, last = job.perform(Task(0, ()))
    assert beats == [RowsStarted("shards", 0, ())], "it says that it lives, and accuses no row"
    assert isinstance(last, Finished)
    (manifest,) = last.result.manifests
    Dataset(store).commit(manifest, last.result.pending)
    return manifest


def members(store: Store) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(store.read("shards/000000.tar"))) as archive:
        return {info.name: archive.extractfile(info).read() for info in archive}


def verdicts(store: Store) -> list[tuple[str, str | None]]:
    manifest = Dataset(store).manifest(PACKED, 0)
    assert manifest is not None
    return [(row.status, row.reason) for row in Dataset(store).rows(manifest)]


def test_only_a_missing_image_leaves_a_sample_out():
    with memory_store("pack") as store:
        write(store)
        manifest = pack(store)
        assert verdicts(store) == [
            ("ok", None),
            ("ok", None),
            ("failed", "image:failed"),
            ("filtered", "select:filtered"),
            ("ok", None),
            ("ok", None),
        ]
        counts = manifest.counts
        assert (counts.rows, counts.ok, counts.filtered, counts.failed) == (6, 4, 1, 1)
        assert sorted(manifest.files) == ["000000.parquet", "000000.tar"]
        assert store.names("shards") == ["000000.json", "000000.parquet", "000000.tar"]


def test_a_required_column_that_is_not_ok_leaves_it_out_with_its_origin():
    with memory_store("pack") as store:
        write(store)
        pack(store, ("image", "hed"))
        assert verdicts(store) == [
            ("ok", None),
            ("failed", "hed:failed"),
            ("failed", "image:failed"),
            ("filtered", "select:filtered"),
            ("filtered", "hed:filtered"),
            ("ok", None),
        ]


def test_where_filters_and_null_is_no():
    with memory_store("pack") as store:
        write(store)
        pack(store, where="scores.sharpness > 1")
        found = verdicts(store)
        assert found[0] == found[5] == ("filtered", "where")
        assert found[1] == found[4] == ("ok", None)


def test_parts_are_the_columns_own_bytes_in_plan_order():
    with memory_store("pack") as store:
        write(store)
        pack(store)
        found = members(store)
        assert list(found) == [
            f"{KEYS[0]}.png", f"{KEYS[0]}.hed.png", f"{KEYS[0]}.json",
            f"{KEYS[1]}.jpg", f"{KEYS[1]}.json",
            f"{KEYS[4]}.png", f"{KEYS[4]}.json",
            f"{KEYS[5]}.jpg", f"{KEYS[5]}.hed.png", f"{KEYS[5]}.json",
        ]  # fmt: skip
        assert found[f"{KEYS[0]}.png"] == png(0)
        assert found[f"{KEYS[5]}.jpg"] == jpeg(5)
        assert found[f"{KEYS[5]}.hed.png"] == png(15)


def test_key_json_says_where_a_sample_is_from_and_what_is_missing():
    with memory_store("pack") as store:
        write(store)
        pack(store)
        found = {name: json.loads(data) for name, data in members(store).items() if name.endswith(".json")}
        assert found[f"{KEYS[0]}.json"] == {
            "key": KEYS[0],
            "kind": "image",
            "uri": "0.png",
            "width": 48,
            "height": 32,
            "phash": "f" * 16,
            "caption": "zero",
            "licence": "CC0-1.0",
            "attribution": "me",
            "annotations": {"scores": {"sharpness": 0.5}, "hed": {}},
            "producers": {"image": "image@1", "scores": "scores@1", "hed": "hed@1"},
        }
        assert found[f"{KEYS[1]}.json"]["missing"] == [{"column": "hed", "status": "failed", "reason": "deadline"}]
        assert found[f"{KEYS[4]}.json"]["missing"] == [{"column": "hed", "status": "filtered", "reason": "no_edges"}]
        assert found[f"{KEYS[5]}.json"]["missing"] == [{"column": "scores", "status": "failed", "reason": "crash"}]


def test_the_index_points_into_the_tar_and_carries_the_values():
    with memory_store("pack") as store:
        write(store)
        manifest = pack(store)
        found = members(store)
        reader = ColumnReader(Dataset(store), manifest)
        for row in reader.rows:
            assert reader.parts(row) == {member.name: found[f"{row.key}.{member.name}"] for member in row.parts}
        assert reader.rows[1].values["scores"] == {"sharpness": 1.5, "note": "é"}
        assert reader.rows[0].values["image"]["phash"] == 2**64 - 1
        assert reader.rows[5].values["scores"] is None
        assert reader.rows[2].values == {"image": None, "scores": None}
        reader.close()


def test_packing_twice_gives_the_same_digest_and_bytes():
    with memory_store("pack") as store, memory_store("again") as other:
        for each in (store, other):
            write(each)
        assert pack(store).digest == pack(other).digest
        assert store.read("shards/000000.tar") == other.read("shards/000000.tar")
        first = store.read("shards/000000.tar")
        pack(store)
        assert store.read("shards/000000.tar") == first


def test_a_shard_with_nothing_to_pack_is_an_empty_archive():
    with memory_store("pack") as store:
        write_column(store, "image", 0, [Line(None, "failed", "source_gone")])
        for column in ("select", "scores", "hed"):
            write_column(store, column, 0, [Line(None, "skipped", "image:failed")], SCOPE[column])
        pack(store)
        assert members(store) == {}


def test_a_column_that_is_not_committed_stops_it():
    with memory_store("pack") as store:
        write_column(store, "image", 0, [image(0)])
        with pytest.raises(ConfigError, match="column 'select' must be made before what is made from it"):
            pack(store)


def test_stock_readers_iterate_the_view(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    import datasets

    store = open_store(tmp_path / "out")
    write(store)
    pack(store)
    shard = str(tmp_path / "out/shards/000000.tar")
    samples = list(webdataset.WebDataset(shard, shardshuffle=False).decode("rgb8"))
    assert [sample["__key__"] for sample in samples] == [KEYS[0], KEYS[1], KEYS[4], KEYS[5]]
    assert samples[0]["png"].shape == (32, 48, 3)
    assert samples[1]["json"]["missing"][0]["column"] == "hed"
    # HF takes the parts of the first five samples for all; where they differ it must be told.
    features = datasets.Features(
        {
            **dict.fromkeys(("png", "jpg"), datasets.Image()),
            "hed.png": datasets.Value("binary"),
            "json": datasets.Json(),
            **dict.fromkeys(("__key__", "__url__"), datasets.Value("string")),
        }
    )
    rows = datasets.load_dataset(
        "webdataset", data_files=[shard], split="train", features=features, cache_dir=str(tmp_path / "cache")
    )
    assert [row["__key__"] for row in rows] == [sample["__key__"] for sample in samples]
    assert [row["json"] for row in rows] == [sample["json"] for sample in samples]
    assert [row["hed.png"] for row in rows] == [png(10), None, None, png(15)]
    assert rows[0]["png"].size == (48, 32)
    assert rows[0]["jpg"] is None
