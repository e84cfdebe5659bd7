"""How a shard was made: the part of a manifest that no digest covers."""

import contextlib
import importlib.metadata
import os
import resource
import socket
import time
from collections.abc import Iterable
from functools import cache

from onegen.shards.manifest import FailureRecord, Run

_LIBRARIES = ("onegen", "numpy", "pillow", "opencv-python-headless", "pyarrow", "onnxruntime", "torch")


def describe_run(started: float, computed: int, failures: Iterable[FailureRecord] = (), where_errors: int = 0) -> Run:
    """Return the run part of a manifest; `started` is in seconds since the epoch, `computed` counts rows not copied."""
    return Run(
        started=time.strftime("%FT%TZ", time.gmtime(started)),
        seconds=round(time.time() - started, 3),
        host=f"{socket.gethostname()}:{os.getpid()}",
        peak_rss=_peak_rss(),
        computed=computed,
        libraries=_libraries(),
        failures=sorted(failures, key=lambda failure: failure.position),
        where_errors=where_errors,
    )


def _peak_rss() -> int:
    """Return this process's peak resident memory in bytes.

    Linux keeps it per program; `ru_maxrss`, the fallback elsewhere, is inherited from the driver a worker came from.
    """
    with (
        contextlib.suppress(FileNotFoundError),
        open("/proc/self/status", encoding="ascii", errors="replace") as status,
    ):
        for line in status:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@cache
def _libraries() -> dict[str, str]:
    versions: dict[str, str] = {}
    for name in _LIBRARIES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return versions
