"""How a shard was made: the part of a manifest that no digest covers."""

import contextlib
import importlib.metadata
import os
import re
import resource
import socket
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from functools import cache
from typing import Any

from onegen.shards.manifest import FailureRecord, Run

_LIBRARIES = ("onegen", "numpy", "pillow", "opencv-python-headless", "pyarrow", "onnxruntime", "torch")


@dataclass(frozen=True, slots=True)
class Device:
    """What a shard asked of the device its annotator ran on: seconds at work, bytes of GPU memory, halved batches."""

    busy_seconds: float = 0.0
    peak_gpu: int = 0
    halvings: int = 0
    smallest_batch: int = 0


def describe_run(
    started: float,
    computed: int,
    failures: Iterable[FailureRecord] = (),
    where_errors: int = 0,
    device: Device | None = None,
) -> Run:
    """Return the run part of a manifest; `started` is in seconds since the epoch, `computed` counts rows not copied."""
    device = device or Device()
    return Run(
        started=time.strftime("%FT%TZ", time.gmtime(started)),
        seconds=round(time.time() - started, 3),
        host=f"{socket.gethostname()}:{os.getpid()}",
        peak_rss=own_peak_rss(),
        computed=computed,
        libraries=_libraries(),
        failures=sorted(failures, key=lambda failure: failure.position),
        where_errors=where_errors,
        busy_seconds=round(device.busy_seconds, 6),
        peak_gpu=device.peak_gpu,
        halvings=device.halvings,
        smallest_batch=device.smallest_batch,
    )


@dataclass
class Pace:
    """How the shards of a column came about, added up: rows of one worker a second, how busy its device was, memory."""

    computed: int = 0
    seconds: float = 0.0
    busy_seconds: float = 0.0
    peak_rss: int = 0
    peak_gpu: int = 0
    halvings: int = 0
    smallest_batch: int = 0

    def add(self, run: Run | Mapping[str, Any]) -> None:
        """Add a shard in which rows were computed; of a mapping, the fields of a run by name."""
        said = run if isinstance(run, Mapping) else {entry.name: getattr(run, entry.name) for entry in fields(self)}
        if not said["computed"]:
            return
        for name in ("computed", "seconds", "busy_seconds", "halvings"):
            setattr(self, name, getattr(self, name) + said[name])
        for name in ("peak_rss", "peak_gpu"):
            setattr(self, name, max(getattr(self, name), said[name]))
        if said["smallest_batch"]:
            self.smallest_batch = min(self.smallest_batch or said["smallest_batch"], said["smallest_batch"])

    @property
    def busy_share(self) -> float:
        """The part of the time in which the annotator was at work, in [0, 1]."""
        return self.busy_seconds / self.seconds if self.seconds > 0 else 0.0

    def memory(self) -> str:
        """Return the most that a worker held, for people."""
        gpu = f" + {self.peak_gpu / 1e9:.1f} GPU" if self.peak_gpu else ""
        return f"{self.peak_rss / 1e9:.1f}{gpu} GB"

    def trouble(self, column: str) -> str | None:
        """Return what people are told where a device was too full for the batches it was given."""
        if not self.halvings:
            return None
        return (
            f"{column}: the device's memory was full {self.halvings:,} time(s), batches were halved to as few as "
            f"{self.smallest_batch:,}; a smaller batch_size asks for less"
        )


def peak_gpu() -> int:
    """Return the most bytes that this process held on its GPU since this was last asked; 0 without one."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available() or not torch.cuda.is_initialized():
        return 0
    peak = int(torch.cuda.max_memory_reserved())
    torch.cuda.reset_peak_memory_stats()
    return peak


def own_peak_rss() -> int:
    """Return this process's peak resident memory in bytes.

    Linux keeps it per program; `ru_maxrss`, the fallback elsewhere, is inherited from the driver a worker came from.
    """
    with contextlib.suppress(FileNotFoundError), open("/proc/self/status", "rb") as status:
        if found := re.search(rb"VmHWM:\s+(\d+)", status.read()):
            return int(found[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@cache
def _libraries() -> dict[str, str]:
    versions: dict[str, str] = {}
    for name in _LIBRARIES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return versions
