"""A Ray cluster on this machine's loopback: nodes that are started and killed one by one. Linux only."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.conftest import ROOT

PATIENCE = 200.0
HEAD_TRIES = 3
"""Ray gives a head half a minute to start, which a busy machine may need to read its libraries."""


def environment(folder: Path) -> dict[str, str]:
    """Return the environment of what uses Ray with its files in a folder."""
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
        "RAY_AUTH_MODE": "disabled",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_TMPDIR": str(folder),
    }


def wait_until(answer: Callable[[], bool], what: str) -> None:
    """Wait until something is so; fails after a time that no working machine needs."""
    deadline = time.monotonic() + PATIENCE
    while not answer():
        assert time.monotonic() < deadline, f"waited too long for {what}"
        time.sleep(0.1)


class Cluster:
    """A head and further nodes, each the process group of a `ray start --block`.

    They know nothing of this checkout: code must travel.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{probe.getsockname()[1]}"
        self._nodes: list[subprocess.Popen[bytes]] = []

    def start(
        self, cores: int, *words: str, dashboard: int | None = None, variables: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a node with so many cores, somewhere else than where the build is started; the first is the head.

        It gets more `words` and `variables`, the head a `dashboard` on that port.
        """
        port = self.address.rpartition(":")[2]
        shown = ["--include-dashboard=true", f"--dashboard-port={dashboard}"] if dashboard else []
        role = ["--head", f"--port={port}", *(shown or ["--include-dashboard=false"])]
        role = ["--address", self.address] if self._nodes else role
        command = [str(Path(sys.executable).with_name("ray")), "start", *role, f"--num-cpus={cores}", "--block"]
        command += ["--object-store-memory=80000000", "--disable-usage-stats", *words]
        number = len(self._nodes)
        node = self._launch(command, number, variables or {})
        tries = 1
        while number == 0 and not self._has_started(node):
            assert tries < HEAD_TRIES, (self._folder / "node0.log").read_text()
            node, tries = self._launch(command, number, variables or {}), tries + 1
        self._nodes.append(node)
        return node

    def _has_started(self, head: subprocess.Popen[bytes]) -> bool:
        """Wait for the head, and say whether it has come up; what is left of one that has not is killed."""
        wait_until(lambda: self.has_joined(0) or head.poll() is not None, "the head")
        if head.poll() is not None:
            kill(head)
        return head.poll() is None

    def _launch(self, command: list[str], number: int, variables: Mapping[str, str]) -> subprocess.Popen[bytes]:
        with (self._folder / f"node{number}.log").open("wb") as log:
            return subprocess.Popen(
                command,
                cwd="/",
                env={**environment(self._folder), "PYTHONPATH": "", **variables},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def has_joined(self, number: int) -> bool:
        """Say whether a node says that it is part of the cluster."""
        return b"Ray runtime started" in (self._folder / f"node{number}.log").read_bytes()

    def kill_head(self) -> None:
        """Kill the process that answers at the address, and nothing else of its node."""
        for pid in group_of(self._nodes[0]):
            with contextlib.suppress(OSError):
                if b"gcs_server" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0]:
                    os.kill(pid, signal.SIGKILL)

    def close(self) -> None:
        """Kill every node."""
        for node in self._nodes:
            kill(node)


def group_of(node: subprocess.Popen[bytes]) -> list[int]:
    """Return the processes that a node is made of."""
    pids = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and os.getsid(int(entry.name)) == node.pid:
                pids.append(int(entry.name))
    return pids


def kill(node: subprocess.Popen[bytes]) -> None:
    """Kill a node as a power cut does."""
    for pid in group_of(node):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    node.wait()
