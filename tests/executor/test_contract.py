"""Anything with load() and perform() runs on the executor: here a job that is no stage of a build.

PYTHONPATH=. python -m pytest tests/executor/test_contract.py
"""

import os
from pathlib import Path

import pytest

from onegen.config.recipe import LimitsConfig
from onegen.errors import ConfigError, Stopped
from onegen.executor.contract import Pool, Retry, ShardResult, Task
from onegen.executor.local import InProcessPool, LocalPool
from onegen.executor.supervisor import Supervisor
from onegen.sample import Resources
from onegen.shards.index import Row
from onegen.storage.local import LocalStore
from tests.plugins.counting import CountingJob


def job(folder: Path, *texts: str, is_loadable: bool = True) -> CountingJob:
    store = LocalStore(str(folder))
    for shard, text in enumerate(texts):
        store.write(f"texts/{shard}.txt", text.encode())
    return CountingJob(store, is_loadable)


def perform(pool: Pool, shards: int) -> list[ShardResult]:
    results: list[ShardResult] = []
    tasks = [Task(shard, ("counts",)) for shard in range(shards)]
    workers = 1 if isinstance(pool, InProcessPool) else 2
    Supervisor(pool, LimitsConfig(), workers, results.append).run(tasks)
    return results


def counts(folder: Path) -> dict[str, list[int]]:
    return {path.stem: [int(n) for n in path.read_text().split()] for path in sorted((folder / "counts").iterdir())}


def test_in_this_process(tmp_path):
    assert len(perform(InProcessPool(job(tmp_path, "a", "four")), 2)) == 2
    assert counts(tmp_path) == {"0": [1, os.getpid()], "1": [4, os.getpid()]}


def test_in_processes_of_its_own(tmp_path):
    assert len(perform(LocalPool(job(tmp_path, "a", "four", "")), 3)) == 3
    assert {name: count for name, (count, _) in counts(tmp_path).items()} == {"0": 1, "1": 4, "2": 0}
    assert os.getpid() not in {pid for _, pid in counts(tmp_path).values()}


def test_on_ray(tmp_path, ray_session):
    from onegen.executor.ray import RayPool

    assert len(perform(RayPool(job(tmp_path, "a", "four"), Resources()), 2)) == 2
    assert {name: count for name, (count, _) in counts(tmp_path).items()} == {"0": 1, "1": 4}


def test_a_row_that_kills_its_worker_is_blamed_and_the_others_are_done(tmp_path):
    assert len(perform(LocalPool(job(tmp_path, "a", "die", "abc")), 3)) == 3
    assert {name: count for name, (count, _) in counts(tmp_path).items()} == {"0": 1, "1": 0, "2": 3}


@pytest.mark.parametrize("pool", [InProcessPool, LocalPool])
def test_a_job_that_cannot_load_is_a_configuration_error(tmp_path, pool):
    with pytest.raises(ConfigError, match="weights of counting must be there"):
        perform(pool(job(tmp_path, "a", is_loadable=False)), 1)


@pytest.mark.parametrize("pool", [InProcessPool, LocalPool])
def test_a_broken_job_stops_and_says_why(tmp_path, pool):
    with pytest.raises(Stopped, match="a stage must not fail most of a shard"):
        perform(pool(job(tmp_path, "break")), 1)


@pytest.mark.parametrize(
    ("pattern", "row", "is_matched"),
    [
        ("*", Row(0, "k", "failed", "crash"), True),
        ("crash*", Row(0, "k", "failed", "crash"), True),
        ("Crash", Row(0, "k", "failed", "crash"), False),
        ("*", Row(0, "k", "filtered", "crash"), False),
        ("dead", Row(0, "k", "failed", "deadline"), False),
    ],
)
def test_a_retry_is_a_shell_pattern_over_the_reasons_of_failed_rows(pattern, row, is_matched):
    assert Retry(pattern).matches(row) is is_matched


def test_a_retry_of_keys_leaves_other_failed_rows_as_they_are():
    retry = Retry("crash", frozenset({"k"}))
    assert retry.matches(Row(0, "k", "failed", "crash"))
    assert not retry.matches(Row(0, "k", "failed", "deadline"))
    assert not retry.matches(Row(0, "other", "failed", "crash"))
    assert not retry.matches(Row(0, None, "failed", "crash"))
