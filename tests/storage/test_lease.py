"""PYTHONPATH=. python -m pytest tests/storage/test_lease.py"""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from onegen.errors import LeaseHeld
from onegen.storage import open_store
from onegen.storage.lease import lease
from tests.fabricated import memory_store

HOLDER = """
import sys
from onegen.storage.lease import lease
from onegen.storage import open_store
with lease(open_store(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lease until its input closes."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
        text=True,
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdin.close()
    process.stdout.close()


def test_a_second_driver_is_refused_and_told_who_has_it(tmp_path, holder):
    with pytest.raises(LeaseHeld, match=rf"process {holder.pid} on .* since 20\d\d-.*onegen status"):
        lease(open_store(tmp_path)).__enter__()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, None])
def test_a_lease_ends_with_its_process(tmp_path, holder, how):
    if how is None:
        holder.stdin.close()
    else:
        os.kill(holder.pid, how)
    holder.wait()
    with lease(open_store(tmp_path)):
        pass


def test_a_lease_may_be_taken_again_after_use_and_after_an_error(tmp_path):
    store = open_store(tmp_path / "new" / "out")
    with pytest.raises(ValueError, match="boom"), lease(store):
        raise ValueError("boom")
    with lease(store), pytest.raises(LeaseHeld, match=f"process {os.getpid()} on"):
        lease(store).__enter__()
    with lease(store):
        pass


def test_another_dataset_is_another_lease(tmp_path):
    with lease(open_store(tmp_path / "a")), lease(open_store(tmp_path / "b")):
        pass


def test_memory_has_one_process_and_needs_none():
    with memory_store("lease") as store, lease(store):
        assert store.names() == []
