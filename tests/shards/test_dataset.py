"""PYTHONPATH=. python -m pytest tests/shards/test_dataset.py"""

import json
import re

import pytest

from onegen.errors import ConfigError
from onegen.sample import PACKED
from onegen.shards.dataset import CARD, Card, Dataset, PlanSummary, file_of, folder, manifest_name
from onegen.shards.manifest import Counts
from onegen.storage import open_store
from onegen.storage.store import Store
from tests.fabricated import Line, memory_store, write_column

CARD_OF_TEST = Card(
    name="test",
    kind="image",
    state="building",
    recipe={"name": "test"},
    recipe_digest="a" * 64,
    source={"folder": "photos"},
    source_root="/photos",
    plan=PlanSummary(shards=2, items=3, digest="b" * 64),
)


def lines(*keys: str) -> list[Line]:
    return [Line(key.ljust(20, "0"), parts={"jpg": key.encode()}) for key in keys]


@pytest.fixture(params=["local", "memory"])
def store(request, tmp_path):
    if request.param == "local":
        yield open_store(tmp_path / "out")
    else:
        with memory_store("dataset") as store:
            yield store


def test_the_card_is_read_as_it_was_written(store: Store):
    dataset = Dataset(store)
    assert dataset.card() is None
    with pytest.raises(ConfigError, match=r"must hold a dataset, and has no dataset\.json.*onegen build"):
        dataset.require_card()
    store.write(CARD, CARD_OF_TEST.to_json())
    assert dataset.card() == dataset.require_card() == CARD_OF_TEST


def test_another_schema_version_names_both(store: Store):
    card = {**json.loads(CARD_OF_TEST.to_json()), "schema_version": 2}
    store.write(CARD, json.dumps(card).encode())
    with pytest.raises(ConfigError, match="schema version 1, got 2 in"):
        Dataset(store).card()


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"schema_version": 1}'])
def test_a_card_that_is_none_says_so(store: Store, data):
    store.write(CARD, data)
    with pytest.raises(ConfigError, match=re.escape(store.url)):
        Dataset(store).card()


def test_files_that_are_not_ours_are_named(store: Store):
    write_column(store, "image", 0, lines("a"))
    store.write(CARD, b"{}")
    assert Dataset(store).foreign_files() == []
    store.write("holiday/photo.jpg", b"x")
    store.write("notes.txt", b"x")
    assert Dataset(store).foreign_files() == ["holiday", "notes.txt"]


def test_shards_and_columns_are_those_with_manifests(store: Store):
    dataset = Dataset(store)
    assert (dataset.columns(), dataset.shards("image"), list(dataset.manifests("image"))) == ([], [], [])
    written = [write_column(store, "image", shard, lines("a")) for shard in (2, 0)]
    store.write("columns/image/000001-deadbeef.tar", b"orphan")
    assert dataset.columns() == ["image"]
    assert dataset.shards("image") == [0, 2]
    assert list(dataset.manifests("image")) == written[::-1]
    assert dataset.manifest("image", 1) is None
    assert dataset.manifest("hed", 0) is None


def test_a_manifest_that_is_none_names_the_way_out(store: Store):
    store.write(manifest_name("image", 0), b"{}")
    with pytest.raises(ConfigError, match=r"(?s)columns/image/000000\.json is not a manifest.*Delete it and run"):
        Dataset(store).manifest("image", 0)


def test_rows_are_those_of_the_index(store: Store):
    manifest = write_column(store, "image", 0, [*lines("a", "b"), Line(None, "failed", "source_gone")])
    rows = Dataset(store).rows(manifest)
    assert [(row.position, row.status, row.reason) for row in rows] == [
        (0, "ok", None),
        (1, "ok", None),
        (2, "failed", "source_gone"),
    ]


def test_a_commit_deletes_what_only_its_predecessor_named(store: Store):
    old = write_column(store, "image", 0, lines("a"))
    new = write_column(store, "image", 0, lines("b"))
    assert set(store.names("columns/image")) == {"000000.json", *new.files}
    assert not set(old.files) & set(new.files)


def test_committing_the_same_again_keeps_its_files(store: Store):
    first = write_column(store, "image", 0, lines("a"))
    assert write_column(store, "image", 0, lines("a")).files == first.files
    assert set(store.names("columns/image")) == {"000000.json", *first.files}


def test_a_packed_commit_gives_plain_names(store: Store):
    dataset = Dataset(store)
    content = {"000000.tar": "000000-aaaaaaaa.tar", "000000.parquet": "000000-bbbbbbbb.parquet"}
    for text in (b"old", b"new"):
        manifest = write_column(store, "image", 0, lines("a"))
        files = dict(zip(content, manifest.files.values(), strict=True))
        for name in content.values():
            store.write(f"shards/{name}", text)
        dataset.commit(manifest.model_copy(update={"column": PACKED, "files": files}), content)
        assert store.names("shards") == ["000000.json", "000000.parquet", "000000.tar"]
        assert store.read("shards/000000.tar") == text


def test_the_digest_is_of_columns_in_any_order_of_making(store: Store):
    dataset = Dataset(store)
    write_column(store, "image", 0, lines("a"))
    first = dataset.digest()
    write_column(store, "image", 1, lines("b"))
    write_column(store, "hed", 0, lines("a"))
    whole = dataset.digest()
    assert len({first, whole, dataset.digest(["image"])}) == 3
    with memory_store("other") as other:
        for column, shard, key in (("hed", 0, "a"), ("image", 1, "b"), ("image", 0, "a")):
            write_column(other, column, shard, lines(key))
        assert Dataset(other).digest() == whole
    # The packed view is made from the columns and changes nothing.
    store.write(manifest_name(PACKED, 0), store.read(manifest_name("image", 0)))
    assert dataset.digest() == whole


def test_counts_add_up_over_shards(store: Store):
    write_column(store, "image", 0, lines("a", "b"))
    write_column(store, "image", 1, [*lines("c"), Line(None, "failed", "x"), Line("d" * 20, "filtered", "too_small")])
    assert Dataset(store).counts("image") == Counts(rows=5, ok=3, filtered=1, failed=1)
    assert Dataset(store).counts("hed") == Counts(rows=0)


def test_names(store: Store):
    manifest = write_column(store, "image", 12, lines("a"))
    assert (folder("image"), folder(PACKED)) == ("columns/image", "shards")
    assert manifest_name("image", 12) == "columns/image/000012.json"
    assert file_of(manifest, ".tar").startswith("000012-")
    with pytest.raises(KeyError, match=r"image shard 000012 has no \.zip"):
        file_of(manifest, ".zip")
