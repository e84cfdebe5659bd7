"""PYTHONPATH=. python -m pytest tests/storage/test_lock.py"""

import os
import threading

import pytest

from onegen.storage.lock import lock, try_lock


@pytest.fixture
def descriptors(tmp_path):
    """Three looks at one file; each has locks of its own, as if each were another process's."""
    path = tmp_path / "file"
    path.touch()
    opened = [os.open(path, os.O_RDONLY) for _ in range(3)]
    yield opened
    for descriptor in opened:
        os.close(descriptor)


def test_a_lock_is_for_one_alone_until_its_file_is_closed(descriptors):
    first, second, _ = descriptors
    assert try_lock(first)
    assert try_lock(first), "to lock again what one holds is no conflict"
    assert not try_lock(second)
    assert not try_lock(second, shared=True)
    os.close(descriptors.pop(0))
    assert try_lock(second)


def test_a_shared_lock_keeps_out_only_those_who_want_it_alone(descriptors):
    first, second, third = descriptors
    lock(first, shared=True)
    assert try_lock(second, shared=True)
    assert not try_lock(third)


def test_lock_waits(descriptors):
    first, second, _ = descriptors
    lock(first)
    waiter = threading.Thread(target=lock, args=(second,))
    waiter.start()
    waiter.join(0.2)
    assert waiter.is_alive()
    os.close(descriptors.pop(0))
    waiter.join(60)
    assert not waiter.is_alive()
    assert not try_lock(descriptors[-1])
