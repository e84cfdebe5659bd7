"""Random histories of growth and takedowns on an object store: they end as a direct build in a folder does.

A catalogue is kept from the first shard on; at the end it says what the files say.
PYTHONPATH=. python -m pytest tests/end_to_end/test_store_histories.py
"""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import pytest

from onegen.shards import catalog
from onegen.shards.catalog import COMMITS
from onegen.shards.dataset import Dataset
from onegen.storage.objects import ObjectStore
from tests.broken_stores import CrashingObjects
from tests.bucket import fetched
from tests.end_to_end.test_growth_histories import live_through
from tests.end_to_end.test_histories import World, make_world


class Bucketed(World):
    """A world whose dataset lies on a store; `out` is a fresh copy of it in a folder, but for what is derived."""

    url: str
    missing: ClassVar[Sequence[str]] = [".lease"]

    @property
    def out(self) -> Path:
        copy = self.root / "out"
        shutil.rmtree(copy, ignore_errors=True)
        fetched(self.open(), copy)
        shutil.rmtree(copy / catalog.CATALOG, ignore_errors=True)
        return copy

    def open(self, at: int = 0) -> ObjectStore:
        return CrashingObjects(self.url, at) if at else ObjectStore(self.url)


@pytest.fixture(autouse=True)
def a_catalogue_for_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "LEAST_FILES", 1)


def live_on_a_store(root: Path, seed: int, url: str) -> None:
    plain = make_world(root, seed)
    world = Bucketed(plain.root, plain.rng)
    world.url = url
    live_through(world, is_real=False)
    trusting, plain_reader = Dataset(world.open()), Dataset(world.open(), trusts_catalog=False)
    for column in (*trusting.columns(), "shards"):
        facts = [one.commits(column, *COMMITS.names) for one in (trusting, plain_reader)]
        assert facts[0].equals(facts[1]), column
    assert trusting.plans().equals(plain_reader.plans())


def test_a_history_on_a_store_ends_as_a_direct_build_in_a_folder_does(tmp_path, bucket):
    live_on_a_store(tmp_path, 0, bucket)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(200, 204))
def test_many_histories_on_a_store_end_as_direct_builds_in_a_folder_do(tmp_path, bucket, seed):
    live_on_a_store(tmp_path, seed, bucket)
