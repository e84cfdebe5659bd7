"""One driver per dataset: an OS lock on local files, gone with the process that held it; on object stores an object
that its holder renews. docs/contract.md, rule 8.
"""

import contextlib
import json
import os
import socket
import time
from collections.abc import Iterator

from onegen.errors import LeaseHeld
from onegen.storage.local import LocalStore
from onegen.storage.lock import try_lock
from onegen.storage.objects import ObjectStore
from onegen.storage.remote_lease import remote_holder, remote_lease
from onegen.storage.store import Store

LEASE = ".lease"
PATIENCE_SECONDS = 0.5


@contextlib.contextmanager
def lease(store: Store) -> Iterator[None]:
    """Hold the dataset's lease for the block; raises LeaseHeld where another process has it.

    Other stores of fsspec have none; only one process sees a `memory://` dataset anyway.
    """
    if isinstance(store, ObjectStore):
        with remote_lease(store):
            yield
        return
    if not isinstance(store, LocalStore):
        yield
        return
    path = os.path.join(store.root, LEASE)
    os.makedirs(store.root, exist_ok=True)
    # Never deleted: unlinking a locked file would let a second driver lock a new one of the same name.
    with open(path, "a+", encoding="utf-8") as file:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not try_lock(file.fileno()) and time.monotonic() < deadline:
            # `onegen status` looks at the lock for a moment; a driver holds it for good.
            time.sleep(PATIENCE_SECONDS / 10)
        if not try_lock(file.fileno()):
            file.seek(0)
            raise LeaseHeld(
                f"dataset must have one driver at a time, and {store.url} is being built by {_holder(file.read())}. "
                f"Wait for it, or stop it; `onegen status {store.url}` shows its progress."
            )
        file.truncate(0)
        file.write(json.dumps({"host": socket.gethostname(), "pid": os.getpid(), "since": time.strftime("%F %T%z")}))
        file.flush()
        yield


def holder(store: Store) -> str | None:
    """Return who builds a dataset right now, or None."""
    if isinstance(store, ObjectStore):
        return remote_holder(store)
    if not isinstance(store, LocalStore):
        return None
    path = os.path.join(store.root, LEASE)
    if not os.path.exists(path):
        return None
    with open(path, encoding="utf-8") as file:
        return None if try_lock(file.fileno(), shared=True) else _holder(file.read())


def _holder(text: str) -> str:
    try:
        driver = json.loads(text)
    except ValueError:
        return "another process"
    return f"process {driver['pid']} on {driver['host']} since {driver['since']}"
