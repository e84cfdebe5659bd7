"""What a sweep removes, and what it leaves. PYTHONPATH=. python -m pytest tests/shards/test_sweep.py"""

import pytest

from onegen.errors import ConfigError
from onegen.shards.dataset import Dataset
from onegen.shards.manifest import FileRecord
from onegen.shards.sweep import Swept, sweep
from onegen.storage.local import LocalStore
from tests.fabricated import Line, write_column

NOTHING = Swept((), ())


@pytest.fixture
def store(tmp_path):
    """A dataset of one committed shard of images."""
    store = LocalStore(str(tmp_path / "out"))
    write_column(store, "image", 0, [Line("a" * 20, parts={"jpg": b"bytes"})])
    return store


def test_it_takes_what_no_manifest_names(store):
    kept = set(store.names("columns/image"))
    orphans = ("columns/hed/000001-11111111.parquet", "columns/image/000000-00000000.tar", "shards/000000.tar")
    for name in (*orphans, "shards/000001-0123456789abcdef.tar"):
        store.write(name, b"orphan")
    assert set(sweep(Dataset(store)).orphans) == {*orphans, "shards/000001-0123456789abcdef.tar"}
    assert sweep(Dataset(store)) == NOTHING
    assert set(store.names("columns/image")) == kept


def test_what_users_put_beside_is_theirs(store):
    own = [
        "shards/README.md",
        "shards/000000.tar.idx",
        "shards/wids.json",
        "columns/image/notes.txt",
        "columns/image/000000-mine.tar",
        "plan/README.md",
        ".tmp/notes.txt",
        "README.md",
    ]
    for name in own:
        store.write(name, b"mine")
    assert sweep(Dataset(store)) == NOTHING
    assert all(store.read(name) == b"mine" for name in own)


def test_no_link_is_followed(store, tmp_path):
    behind = tmp_path / "elsewhere"
    behind.mkdir()
    for name in ("000000-00000000.tar", "0" * 32):
        (behind / name).write_bytes(b"mine")
    root = tmp_path / "out"
    (root / "columns" / "hed").symlink_to(behind)
    (root / ".tmp").rename(root / ".tmp-old")
    (root / ".tmp").symlink_to(behind)
    (root / "columns" / "image" / "000000-22222222.tar").symlink_to(behind / "000000-00000000.tar")
    assert sweep(Dataset(store)) == NOTHING
    assert sorted(path.name for path in behind.iterdir()) == ["000000-00000000.tar", "0" * 32]
    assert (root / "columns" / "image" / "000000-22222222.tar").is_symlink()


def test_half_written_files_and_journals_are_gone(store):
    for name in ("f" * 32, "journal-hed-000000-" + "e" * 32):
        store.write(f".tmp/{name}", b"half")
    sweep(Dataset(store))
    assert store.names(".tmp") == []


@pytest.mark.parametrize("extension", [".tar", ".parquet"])
def test_a_shard_that_lost_a_file_is_given_up_whole(store, extension):
    dataset = Dataset(store)
    manifest = dataset.require_manifest("image", 0)
    (name,) = (name for name in manifest.files if name.endswith(extension))
    store.delete(f"columns/image/{name}")
    swept = sweep(dataset)
    assert swept.lost == (f"columns/image/{name}",)
    assert dataset.manifest("image", 0) is None
    assert store.names("columns/image") == []
    assert sweep(dataset) == NOTHING


def test_a_commit_deletes_no_name_that_is_not_ours(store):
    dataset = Dataset(store)
    manifest = dataset.require_manifest("image", 0)
    store.write("columns/image/notes.txt", b"mine")
    named = {**manifest.files, "notes.txt": FileRecord(size=4, sha256="0" * 64)}
    store.write("columns/image/000000.json", manifest.model_copy(update={"files": named}).to_json())
    dataset.commit(manifest)
    assert store.read("columns/image/notes.txt") == b"mine"


def test_a_manifest_that_names_a_file_elsewhere_is_refused_before_anything_is_deleted(store, tmp_path):
    victim = tmp_path / "victim.txt"
    victim.write_text("mine")
    dataset = Dataset(store)
    manifest = dataset.require_manifest("image", 0)
    named = {**manifest.files, "../../../victim.txt": FileRecord(size=4, sha256="0" * 64)}
    store.write("columns/image/000000.json", manifest.model_copy(update={"files": named}).to_json())
    with pytest.raises(ConfigError, match="plain name"):
        dataset.commit(manifest)
    with pytest.raises(ConfigError, match="plain name"):
        sweep(dataset)
    assert victim.read_text() == "mine"
