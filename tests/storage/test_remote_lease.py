"""The lease of a dataset on an object store, on moto's server. PYTHONPATH=. python -m pytest tests/storage"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from onegen.errors import LeaseHeld
from onegen.storage import open_store, remote_lease
from onegen.storage.lease import holder, lease
from tests.storage.test_lease import HOLDER


@pytest.fixture
def store(bucket):
    return open_store(f"{bucket}/dataset")


@pytest.fixture
def other(store):
    """Another process that holds the lease until its input closes."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, store.url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
        text=True,
    ) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(remote_lease.time, "monotonic", clock.monotonic)
    return clock


def held_elsewhere(store, **changes):
    """Leave the lease of a driver on another machine behind."""
    said = {"host": "far", "pid": 7, "since": "2026-11-27 10:00:00+0000", "machine": "another", "started": "1"}
    store.write_if(remote_lease.LEASE, json.dumps({**said, "token": "theirs", **changes}).encode(), None)


def test_a_second_driver_is_refused_and_told_who_has_it(store, other):
    with pytest.raises(LeaseHeld, match=rf"built by process {other.pid} on .* since 20\d\d-.*in \d+ s.*onegen status"):
        lease(store).__enter__()
    assert holder(store).startswith(f"process {other.pid} on ")


@pytest.mark.parametrize("how", [signal.SIGKILL, None])
def test_a_driver_that_died_on_this_machine_is_followed_at_once(store, other, how):
    if how is None:
        other.stdin.close()
    else:
        os.kill(other.pid, how)
    other.wait()
    with lease(store):
        assert str(os.getpid()) in holder(store)
    assert holder(store) is None


def test_a_driver_elsewhere_is_believed_until_it_is_stale_by_the_store_s_clock(store, monkeypatch):
    held_elsewhere(store)
    with pytest.raises(LeaseHeld, match=r"process 7 on far .* in (5\d|60) s"):
        lease(store).__enter__()
    # A minute later, as the store has it; what this machine's clocks say is never asked.
    now = remote_lease._now
    monkeypatch.setattr(remote_lease, "_now", lambda store: now(store) + 61)
    with lease(store):
        assert "process 7 " not in holder(store)


def test_of_two_that_follow_a_stale_lease_one_gets_it(store, monkeypatch):
    held_elsewhere(store)

    def late(of):
        # While this one looks at the clock, another takes the lease over.
        of.write_if(remote_lease.LEASE, b'{"token": "third"}', of.stamp(remote_lease.LEASE)[0])
        return 1e12

    monkeypatch.setattr(remote_lease, "_now", late)
    with pytest.raises(LeaseHeld, match="another driver"):
        lease(store).__enter__()
    assert json.loads(store.read(remote_lease.LEASE)) == {"token": "third"}


def test_a_driver_whose_lease_was_taken_over_writes_nothing_more(store):
    with lease(store):
        store.write("before", b"1")
        store.write_if(remote_lease.LEASE, b'{"token": "theirs"}', store.stamp(remote_lease.LEASE)[0])
        keeper = store.fence.__self__
        keeper._done.set()
        keeper._thread.join()
        keeper._done.clear()
        keeper_waits = iter([False, True])
        keeper._done.wait = lambda seconds: next(keeper_waits)
        keeper._keep()
        with pytest.raises(LeaseHeld, match="was taken over by another: it stops"):
            store.write("after", b"2")
        with pytest.raises(LeaseHeld):
            store.delete("before")
    assert store.names() == ["before", remote_lease.LEASE]
    assert json.loads(store.read(remote_lease.LEASE)) == {"token": "theirs"}


def test_a_driver_that_could_not_renew_stops_before_it_is_stale(store, clock):
    with lease(store):
        clock.now += remote_lease.STALE_SECONDS - remote_lease._MARGIN_SECONDS - 1
        store.write("in time", b"1")
        clock.now += 2
        with pytest.raises(LeaseHeld, match="could not be renewed in time"):
            store.write("late", b"2")


def test_a_renewal_whose_answer_was_lost_is_still_ours(store):
    with lease(store):
        keeper = store.fence.__self__
        keeper._done.set()
        keeper._thread.join()
        keeper._done.clear()
        # The store has a newer version than the one that this driver knows of: its own.
        store.write_if(remote_lease.LEASE, keeper._body(), store.stamp(remote_lease.LEASE)[0])
        waits = iter([False, False, True])
        keeper._done.wait = lambda seconds: next(waits)
        keeper._keep()
        store.write("still", b"1")
    assert store.names() == ["still"]
