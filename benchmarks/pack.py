"""Pack samples into one shard: ours, with SHA-256 and a Parquet index, beside webdataset's and Python's tar writers.

    python -m benchmarks pack

A sample is about 100 KB in 8 parts: a unique 60 KB blob as a JPEG would be, three of 12 KB as maps would be, four
small texts. All lie in memory; every arm writes a file on the same disk through the page cache, and none calls fsync.
Before anything is timed each arm's file is read back by `tarfile`: the multiset of (name, SHA-256) must be the input's,
or the arm is void.
"""

import gc
import hashlib
import io
import os
import platform
import statistics
import tarfile
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import webdataset

from benchmarks.measure import Timing, interleave, time_here
from benchmarks.table import Row, Table, version
from onegen.build.pack import PackJob
from onegen.executor.worker import load_for_good
from onegen.sample import PACKED
from onegen.shards.canonical import canonical, sha256
from onegen.shards.column import ColumnWriter
from onegen.shards.dataset import folder
from onegen.shards.index import IMAGE_FIELDS
from onegen.storage.local import LocalStore

BAR = 2.0
BLOBS = {"jpg": 60_000, "depth.png": 12_000, "hed.png": 12_000, "masks.png": 12_000}
FIELDS: dict[str, pa.DataType] = {
    "image": pa.struct(list(IMAGE_FIELDS.items())),
    "scores": pa.struct([("sharpness", pa.float64())]),
}
TUNED = "webdataset TarWriter, mtime=0"


@dataclass(frozen=True)
class Size:
    """How many samples a shard has, how many shards a timing writes, and how many rounds are timed."""

    samples: int = 1000
    shards: int = 5
    rounds: int = 7


TINY = Size(samples=4, shards=1, rounds=1)


@dataclass(frozen=True)
class Sample:
    """A sample as pack has it in its hands: key, parts, the digests its columns committed, and its index values."""

    key: str
    parts: dict[str, bytes]
    known: dict[str, str]
    values: dict[str, Any]


class UnflushedStore(LocalStore):
    """A local store that leaves flushing to the kernel, as the other arms do."""

    @staticmethod
    def _flush(file: Any) -> None:
        file.flush()

    def _move(self, old: str, name: str) -> None:
        os.makedirs(os.path.dirname(self._path(name)), exist_ok=True)
        os.replace(old, self._path(name))


def run(size: Size = Size()) -> list[Table]:
    """Verify every arm, time them, and return the table."""
    with tempfile.TemporaryDirectory(prefix="onegen-bench-") as scratch:
        # As a worker starts, and before there is a payload: in every arm the collector skips the packages imported
        # here and walks the samples.
        load_for_good(PackJob(UnflushedStore(scratch), "image", (), (), {}))
        try:
            timings = _measure(size, Path(scratch))
        finally:
            gc.unfreeze()
    return [_table(size, timings)]


def _measure(size: Size, scratch: Path) -> dict[str, list[Timing]]:
    samples = make_samples(size.samples)
    expected = Counter((f"{s.key}.{name}", sha256(data)) for s in samples for name, data in s.parts.items())
    arms = {name: _writer(name, samples, scratch) for name in ARMS}
    sound = {name: write for name, write in arms.items() if read_back(write()) == expected}
    return interleave({name: _timed(write, size.shards) for name, write in sound.items()}, size.rounds)


def make_samples(count: int) -> list[Sample]:
    """Return samples whose large parts are unique random bytes, which nothing can compress or share."""
    random = np.random.default_rng(0)
    made = []
    for number in range(count):
        parts = {name: random.bytes(length) for name, length in BLOBS.items()}
        digest = sha256(parts["jpg"])
        image = {
            "item": f"photos/{number:06d}.jpg",
            "uri": f"photos/{number:06d}.jpg",
            "sha256": digest,
            "members": [digest],
            "width": 512,
            "height": 384,
            "phash": int.from_bytes(random.bytes(8)),
            "caption": f"photo number {number}",
            "licence": "CC-BY-4.0",
            "attribution": None,
        }
        parts["txt"] = f"photo number {number}".encode()
        parts["caption.txt"] = f"a longer caption of photo {number}, as a captioner would write it. ".encode() * 4
        parts["boxes.json"] = canonical([[number % 7, 8, 90, 120, 0.75]] * 5)
        known = {name: sha256(data) for name, data in parts.items()}
        parts["json"] = canonical({"key": digest[:20], **image})
        made.append(Sample(digest[:20], parts, known, {"image": image, "scores": {"sharpness": number / count}}))
    return made


def read_back(path: Path) -> Counter[tuple[str, str]]:
    """Return the multiset of (member name, SHA-256) of a tar, read by Python's own reader; check an index beside it."""
    found: Counter[tuple[str, str]] = Counter()
    with tarfile.open(path) as archive:
        for member in archive:
            file = archive.extractfile(member)
            assert file is not None
            found[member.name, sha256(file.read())] += 1
    for index in path.parent.glob(f"{path.name[:6]}-*.parquet"):
        data = path.read_bytes()
        for row in pq.ParquetFile(index).read(use_threads=False).to_pylist():
            for part in row["parts"]:
                start, end = part["offset"], part["offset"] + part["size"]
                assert sha256(data[start:end]) == part["sha256"], "the index must tell the truth"
    return found


def write_ours(samples: list[Sample], scratch: Path, has_digests: bool) -> Path:
    """Write with our writer, as `onegen.build.pack` does; return the tar."""
    store = UnflushedStore(str(scratch / "ours"))
    with ColumnWriter(store, PACKED, 0, FIELDS, "image", "pack@1") as writer:
        for position, sample in enumerate(samples):
            known = {**sample.known, "json": sha256(sample.parts["json"])} if has_digests else None
            writer.add(position, sample.key, "ok", None, "", sample.values, sample.parts, known)
        files, _, _ = writer.finish()
    return scratch / "ours" / folder(PACKED) / next(name for name in files if name.endswith(".tar"))


def write_webdataset(samples: list[Sample], scratch: Path, options: Mapping[str, Any]) -> Path:
    """Write with webdataset's TarWriter."""
    path = scratch / "webdataset.tar"
    with open(path, "wb") as file, webdataset.TarWriter(file, **options) as writer:
        for sample in samples:
            writer.write({"__key__": sample.key, **sample.parts})
    return path


def write_tarfile(samples: list[Sample], scratch: Path) -> Path:
    """Write with Python's tarfile, USTAR, mtime 0."""
    path = scratch / "tarfile.tar"
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
        for sample in samples:
            for name, data in sample.parts.items():
                member = tarfile.TarInfo(f"{sample.key}.{name}")
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
    return path


ARMS: dict[str, Callable[[list[Sample], Path], Path]] = {
    "ours, as pack runs (digests known)": lambda samples, scratch: write_ours(samples, scratch, True),
    "ours, hashing every part too": lambda samples, scratch: write_ours(samples, scratch, False),
    TUNED: lambda samples, scratch: write_webdataset(samples, scratch, {"mtime": 0}),
    "webdataset TarWriter, mtime=0, encoder=False": lambda samples, scratch: write_webdataset(
        samples, scratch, {"mtime": 0, "encoder": False}
    ),
    "webdataset TarWriter, defaults": lambda samples, scratch: write_webdataset(samples, scratch, {}),
    "tarfile, USTAR": write_tarfile,
}


def _writer(name: str, samples: list[Sample], scratch: Path) -> Callable[[], Path]:
    (scratch / hashlib.sha256(name.encode()).hexdigest()[:8]).mkdir()
    return lambda: ARMS[name](samples, scratch / hashlib.sha256(name.encode()).hexdigest()[:8])


def _timed(write: Callable[[], Path], shards: int) -> Callable[[], Timing]:
    def once() -> Timing:
        def several() -> None:
            for _ in range(shards):
                # Outside the page cache's way: each shard is a new file, as in a build.
                write().unlink()

        return time_here(several)

    return once


def _table(size: Size, timings: Mapping[str, list[Timing]]) -> Table:
    written = size.samples * size.shards
    rates = {name: [written / timing.cpu for timing in found] for name, found in timings.items()}
    reference = statistics.median(rates[TUNED]) if TUNED in rates else None
    rows = []
    for name in ARMS:
        values = rates.get(name, [])
        ratio = statistics.median(values) / reference if values and reference else None
        is_bar = name.startswith("ours, as pack")
        rows.append(
            Row(
                arm=name if values else f"{name} (void: read-back differs)",
                values=values,
                ratio=ratio,
                bar=f">= {BAR:g}x" if is_bar else "",
                is_met=(ratio is not None and ratio >= BAR) if is_bar else None,
                versions=_versions(name),
                wall=f"{statistics.median(written / t.wall for t in timings[name]):,.0f}/s" if values else "",
            )
        )
    payload = sum(BLOBS.values()) // 1000
    notes = [
        f"{size.samples:,} samples of {payload}+ KB in 8 parts a shard, {size.shards} shards a timing, no fsync in any "
        f"arm; every arm read back first",
        "the garbage collector is on in every arm, and in every arm as workers set it: imported packages frozen out of "
        "its walk, the samples not",
        "ours writes SHA-256 of every part and of the file, and a Parquet index; the others write a tar alone",
    ]
    return Table(
        title="pack: samples into one shard",
        unit="samples per CPU-second",
        reference="webdataset mtime=0",
        rows=rows,
        notes=notes,
        loads=[timing.load for found in timings.values() for timing in found],
    )


def _versions(arm: str) -> str:
    if arm.startswith("ours"):
        return version("onegen", "pyarrow")
    return version("webdataset") if arm.startswith("webdataset") else f"python {platform.python_version()}"
