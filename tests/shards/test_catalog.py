"""PYTHONPATH=. python -m pytest tests/shards/test_catalog.py"""

import dataclasses
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from onegen.audit.status import read_status
from onegen.audit.verify import verify
from onegen.build.build import build
from onegen.build.work import Options
from onegen.config.recipe import Recipe
from onegen.sample import IMAGE, SELECT
from onegen.shards import catalog
from onegen.shards.catalog import COMMITS, catalog_name
from onegen.shards.dataset import Dataset, manifest_name
from onegen.shards.plan import PlannedItem, plan_file, plan_name
from onegen.storage import open_store
from onegen.storage import store as store_module
from onegen.storage.local import LocalStore
from onegen.storage.store import Store
from tests.fabricated import TINY_CARD, Line, Silent, build_here, memory_store, write_column
from tests.tiny import write_photos

SHARDS = 6


@pytest.fixture(autouse=True)
def small_and_settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let few manifests have a catalogue, and let new files count as settled."""
    monkeypatch.setattr(catalog, "LEAST_FILES", 1)
    monkeypatch.setattr(store_module, "SETTLED_SECONDS", -3600.0)


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """A committed column of six shards, some rows of which failed, with a catalogue."""
    return make(open_store(tmp_path / "set"))


def make(store: Store) -> Dataset:
    dataset = Dataset(store)
    store.write("dataset.json", TINY_CARD.to_json())
    for shard in range(SHARDS):
        lines = [Line(f"{shard}{row}".zfill(20)) for row in range(3)]
        if shard % 2:
            lines += [Line(None, "failed", f"broken_{shard}"), Line(None, "failed", "source_gone")]
        items = [PlannedItem(row, f"{shard}-{row}", (), ()) for row in range(len(lines))]
        store.write(plan_name(shard), plan_file(items))
        write_column(store, IMAGE, shard, lines)
    dataset.write_catalog()
    return dataset


class Counting(LocalStore):
    """A local store that remembers what was read of it."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.reads: list[str] = []

    def read(self, name: str) -> bytes:
        self.reads.append(name)
        return super().read(name)


def counting(dataset: Dataset) -> tuple[Dataset, Counting]:
    store = Counting(dataset.store.url)
    return Dataset(store), store


def everything(dataset: Dataset) -> list[dict[str, object]]:
    """Return all facts of all manifests, read from the files alone."""
    plain = Dataset(dataset.store, trusts_catalog=False)
    return plain.commits(IMAGE, *COMMITS.names).to_pylist()


def test_facts_come_from_the_catalogue_without_a_manifest_being_opened(dataset):
    watched, store = counting(dataset)
    assert watched.commits(IMAGE, *COMMITS.names).to_pylist() == everything(dataset)
    assert watched.plans().num_rows == SHARDS
    assert watched.counts(IMAGE).failed == 6
    assert store.reads == []
    assert watched.digest() == Dataset(dataset.store, trusts_catalog=False).digest()


def test_it_is_the_same_on_a_store_that_is_no_folder():
    with memory_store("catalog") as store:
        dataset = make(store)
        assert store.exists(catalog_name("columns/image"))
        assert dataset.commits(IMAGE, *COMMITS.names).to_pylist() == everything(dataset)


def test_a_manifest_that_was_written_again_is_read_and_nothing_else(dataset):
    write_column(dataset.store, IMAGE, 2, [Line("new".zfill(20))])
    watched, store = counting(dataset)
    assert watched.commits(IMAGE, *COMMITS.names).to_pylist() == everything(dataset)
    assert store.reads == [manifest_name(IMAGE, 2)]


def test_a_manifest_put_back_from_a_backup_is_read_although_the_catalogue_is_newer(dataset):
    backup = Path(dataset.store.root, manifest_name(IMAGE, 2))
    before, when = backup.read_bytes(), backup.stat()
    write_column(dataset.store, IMAGE, 2, [Line("new".zfill(20))])
    dataset.write_catalog()
    backup.write_bytes(before)
    os.utime(backup, ns=(when.st_atime_ns, when.st_mtime_ns))
    watched, store = counting(dataset)
    assert watched.commits(IMAGE, "rows").column("rows").to_pylist() == [3, 5, 3, 5, 3, 5]
    assert store.reads == [manifest_name(IMAGE, 2)]


def test_deleted_manifests_are_gone_at_once(dataset):
    dataset.store.delete(manifest_name(IMAGE, 0))
    dataset.store.delete(manifest_name(IMAGE, 4))
    assert dataset.commits(IMAGE, "rows").column("shard").to_pylist() == [1, 2, 3, 5]
    dataset.write_catalog()
    assert pq.read_table(Path(dataset.store.root, catalog_name("columns/image"))).num_rows == 4


def test_a_dropped_column_leaves_no_catalogue(dataset):
    write_column(dataset.store, "extra", 0, [Line("a".zfill(20))])
    dataset.write_catalog()
    assert dataset.store.exists(catalog_name("columns/extra"))
    dataset.drop("extra")
    dataset.write_catalog()
    assert not dataset.store.exists(catalog_name("columns/extra"))


def test_a_small_folder_has_none(dataset, monkeypatch):
    monkeypatch.setattr(catalog, "LEAST_FILES", SHARDS + 1)
    dataset.write_catalog()
    assert not dataset.store.exists(catalog_name("columns/image"))


def test_what_was_written_this_moment_is_not_relied_on(tmp_path, monkeypatch):
    monkeypatch.setattr(store_module, "SETTLED_SECONDS", 3600.0)
    dataset = make(open_store(tmp_path / "set"))
    assert not dataset.store.exists(catalog_name("columns/image"))
    watched, store = counting(dataset)
    assert watched.counts(IMAGE).rows == 24
    assert len(store.reads) == SHARDS


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def flipped(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[60] ^= 0xFF
    path.write_bytes(bytes(data))


def empty(path: Path) -> None:
    path.write_bytes(b"")


def other_version(path: Path) -> None:
    table = pq.read_table(path)
    pq.write_table(table.replace_schema_metadata({"onegen.catalog": "2"}), path)


def foreign(path: Path) -> None:
    pq.write_table(pa.table({"anything": [1, 2]}), path)


def other_types(path: Path) -> None:
    table = pq.read_table(path)
    pq.write_table(table.set_column(0, "shard", pa.array(["x"] * table.num_rows)), path)


def doubled(path: Path) -> None:
    table = pq.read_table(path)
    pq.write_table(pa.concat_tables([table, table]), path)


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGES = (truncated, flipped, empty, other_version, foreign, other_types, doubled, folder)


@pytest.mark.parametrize("damage", DAMAGES, ids=[damage.__name__ for damage in DAMAGES])
def test_one_that_is_no_catalogue_is_ignored_and_made_again(dataset, damage: Callable[[Path], None]):
    for name in ("columns/image", "plan"):
        damage(Path(dataset.store.root, catalog_name(name)))
    assert dataset.commits(IMAGE, *COMMITS.names).to_pylist() == everything(dataset)
    assert dataset.plans().num_rows == SHARDS
    if damage is folder:
        return
    dataset.write_catalog()
    watched, store = counting(dataset)
    assert watched.commits(IMAGE, *COMMITS.names).to_pylist() == everything(dataset)
    assert store.reads == []


def test_that_of_another_dataset_says_nothing(dataset, tmp_path):
    other = make(open_store(tmp_path / "other"))
    for shard in range(SHARDS):
        write_column(other.store, IMAGE, shard, [Line(f"{shard}".zfill(20))])
    other.write_catalog()
    shutil.copy(
        Path(other.store.root, catalog_name("columns/image")), Path(dataset.store.root, catalog_name("columns/image"))
    )
    assert dataset.commits(IMAGE, *COMMITS.names).to_pylist() == everything(dataset)


def test_status_is_the_same_with_and_without(dataset):
    known = read_status(dataset)
    (column,) = known.columns
    assert column.reasons == (("source_gone", 3), ("broken_1", 1), ("broken_3", 1))
    for name in ("columns/image", "plan"):
        dataset.store.delete(catalog_name(name))
    assert read_status(dataset) == known
    assert not dataset.store.exists(catalog_name("columns/image")), "a reader never writes"


def test_verify_reads_the_manifests_whatever_the_catalogue_says(dataset):
    path = Path(dataset.store.root, manifest_name(IMAGE, 1))
    when = path.stat()
    path.write_bytes(path.read_bytes().replace(b'"failed": 2', b'"failed": 3'))
    os.utime(path, ns=(when.st_atime_ns, when.st_mtime_ns))
    assert any(manifest_name(IMAGE, 1) in finding.file for finding in verify(dataset))


def recipe_over(folder: Path) -> Recipe:
    write_photos(folder, 6)
    described = {"name": "small", "source": {"folder": str(folder)}, "samples_per_shard": 2}
    return Recipe.model_validate({**described, "pack": {"columns": ["image"]}})


def test_a_build_writes_it_and_finds_nothing_to_do_by_it(tmp_path):
    recipe, out = recipe_over(tmp_path / "photos"), tmp_path / "set"
    first = build_here(recipe.model_dump(mode="json"), open_store(out))
    written = {path.relative_to(out / "catalog").as_posix() for path in (out / "catalog").rglob("*.parquet")}
    assert written == {"plan.parquet", "shards.parquet", "columns/image.parquet", "columns/select.parquet"}
    store = Counting(str(out))
    again = build(recipe, store, Options(workers=0), Silent())
    assert again == first
    # One of each column is read for its producer; nothing else is opened.
    assert {name for name in store.reads if name.startswith(("columns", "plan"))} <= {
        manifest_name(column, 0) for column in (IMAGE, SELECT)
    }


def test_each_step_finds_in_it_what_the_one_before_made(tmp_path):
    store = open_store(tmp_path / "set")
    known: dict[str, bool] = {}

    class Looking(Silent):
        """A listener that looks whether images are in the catalogue when a step begins."""

        def begin(self, step: str, shards: int, done: int) -> None:
            known[step] = store.exists(catalog_name("columns/image"))

    build(recipe_over(tmp_path / "photos"), store, Options(workers=0), Looking())
    assert known == {IMAGE: False, SELECT: True, "pack": True}


def test_a_build_makes_again_what_the_catalogue_knows_and_is_gone(tmp_path):
    recipe, out = recipe_over(tmp_path / "photos"), tmp_path / "set"
    first = build_here(recipe.model_dump(mode="json"), open_store(out))
    (out / manifest_name(SELECT, 1)).unlink()
    (out / manifest_name("shards", 2)).unlink()
    again = build_here(recipe.model_dump(mode="json"), open_store(out))
    assert dataclasses.asdict(again) == dataclasses.asdict(first)
    assert not list(verify(Dataset(open_store(out))))


class Dies(LocalStore):
    """A store whose process dies before it changes this file."""

    def _change(self, kind: str, name: str) -> None:
        if name.startswith("catalog"):
            raise KeyboardInterrupt


def test_killed_while_it_is_written_it_is_whole_or_not_there(dataset):
    before = Path(dataset.store.root, catalog_name("columns/image")).read_bytes()
    write_column(dataset.store, IMAGE, 0, [Line("new".zfill(20))])
    with pytest.raises(KeyboardInterrupt):
        Dataset(Dies(dataset.store.url)).write_catalog()
    assert Path(dataset.store.root, catalog_name("columns/image")).read_bytes() == before
    assert dataset.commits(IMAGE, *COMMITS.names).to_pylist() == everything(dataset)
