"""One driver per dataset on an object store: an object that its holder keeps renewing, and others may not replace.

No clock of this machine is compared with another's: how old a lease is, the store's own clock says. A holder that could
not renew in time writes nothing more, before anyone may take the lease over. docs/contract.md, rule 8.
"""

import contextlib
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from onegen.errors import LeaseHeld
from onegen.storage.objects import ObjectStore

LEASE = "lease.json"
CLOCK = "lease-clock"
"""An object written to read the store's clock off it."""
RENEW_SECONDS, STALE_SECONDS = 10.0, 60.0
_MARGIN_SECONDS = 15.0
"""So long before the lease is stale its holder gives it up: a change may be on its way."""


@contextlib.contextmanager
def remote_lease(store: ObjectStore) -> Iterator[None]:
    """Hold the dataset's lease for the block; raises LeaseHeld where another driver has it.

    Within the block every change of `store` in this process raises LeaseHeld as soon as the lease is lost.
    """
    keeper = _Keeper(store)
    store.fence = keeper.check
    keeper.start()
    try:
        yield
    finally:
        try:
            if keeper.is_held():
                store.flush()
        finally:
            store.fence = None
            keeper.stop()


def remote_holder(store: ObjectStore) -> str | None:
    """Return who holds the lease of a dataset, and when they last said so, or None."""
    try:
        said, (_, renewed) = _said(store), store.stamp(LEASE)
    except FileNotFoundError:
        return None
    return f"{_named(said)}, who last said so at {time.strftime('%F %T', time.gmtime(renewed))} UTC"


class _Keeper:
    """Takes the lease when it is made, and renews it on a thread of its own."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._about = {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "since": time.strftime("%F %T%z"),
            "machine": _machine(),
            "started": _started(os.getpid()),
            "token": uuid.uuid4().hex,
        }
        self._renewals = 0
        self._lost: str | None = None
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="onegen-lease", daemon=True)
        # Taken as of before it was asked for: then it is never thought fresher than it is.
        self._fresh = time.monotonic()
        self._version = self._taken()

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Give the lease back, unless it is another's by now."""
        self._done.set()
        self._thread.join()
        if self.is_held():
            self._store.delete(LEASE)

    def is_held(self) -> bool:
        """Say whether the lease is still this driver's."""
        if self._lost is None and time.monotonic() - self._fresh > STALE_SECONDS - _MARGIN_SECONDS:
            self._lost = "could not be renewed in time"
        return self._lost is None

    def check(self) -> None:
        """Raise LeaseHeld where the lease is lost."""
        if not self.is_held():
            raise LeaseHeld(
                f"{self._store.url} must have one driver at a time, and the lease of this one {self._lost}: it stops, "
                f"and what it committed stays. Run the same command again once no other driver works there."
            )

    def _body(self) -> bytes:
        self._renewals += 1
        return json.dumps({**self._about, "renewals": self._renewals}).encode()

    def _taken(self) -> str:
        with contextlib.suppress(FileExistsError):
            return self._store.write_if(LEASE, self._body(), None)
        try:
            # The version first: whoever renews in between is then not replaced.
            version, renewed = self._store.stamp(LEASE)
            said = _said(self._store)
            age = _now(self._store) - renewed
            if age > STALE_SECONDS or _is_dead(said):
                return self._store.write_if(LEASE, self._body(), version)
            left = max(1, round(STALE_SECONDS - age))
            way_out = f"Wait for it, or stop it; if it is gone, run the same command in {left} s"
            raise LeaseHeld(_held(self._store, _named(said), way_out))
        except (FileExistsError, FileNotFoundError) as error:
            # Given back or taken this very moment.
            raise LeaseHeld(_held(self._store, "another driver", "Run the same command again")) from error

    def _keep(self) -> None:
        while not self._done.wait(RENEW_SECONDS):
            asked = time.monotonic()
            try:
                self._version = self._store.write_if(LEASE, self._body(), self._version)
                self._fresh = asked
            except FileExistsError:
                if not self._is_ours():
                    self._lost = self._lost or "was taken over by another"
                    return
            except OSError:
                # The store is away: `check` says when that was too long.
                continue

    def _is_ours(self) -> bool:
        """Say whether what is there is this driver's: a renewal may have arrived whose answer did not."""
        try:
            version, _ = self._store.stamp(LEASE)
            if _said(self._store).get("token") != self._about["token"]:
                return False
        except OSError:
            return False
        self._version = version
        return True


def _held(store: ObjectStore, who: str, way_out: str) -> str:
    return (
        f"dataset must have one driver at a time, and {store.url} is being built by {who}. {way_out}; "
        f"`onegen status {store.url}` shows its progress."
    )


def _said(store: ObjectStore) -> Mapping[str, Any]:
    """Return what a lease says; nothing where it does not read."""
    try:
        said = json.loads(store.read(LEASE))
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


def _named(said: Mapping[str, Any]) -> str:
    if not {"pid", "host", "since"} <= set(said):
        return "another process"
    return f"process {said['pid']} on {said['host']} since {said['since']}"


def _now(store: ObjectStore) -> float:
    """Return the time by the store's own clock: when an object is written that says nothing."""
    store.write_if(f"{CLOCK}", uuid.uuid4().hex.encode(), _version_of(store, CLOCK))
    return store.stamp(CLOCK)[1]


def _version_of(store: ObjectStore, name: str) -> str | None:
    try:
        return store.stamp(name)[0]
    except FileNotFoundError:
        return None


def _is_dead(said: Mapping[str, Any]) -> bool:
    """Say whether a holder was a process of this very machine, as long as that is up, and is no more."""
    if not said.get("machine") or said["machine"] != _machine():
        return False
    return bool(said.get("started")) and _started(int(said["pid"])) != said["started"]


def _machine() -> str:
    """Return what no other machine, boot or container has: process numbers mean nothing elsewhere."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _started(pid: int) -> str:
    """Return when a process of this machine started, in ticks since boot; empty for one that is no more."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    fields = stat.rpartition(")")[2].split()
    return "" if fields[0] in "ZX" else fields[19]
