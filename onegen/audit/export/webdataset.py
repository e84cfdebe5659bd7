"""The packed shards with what Megatron-Energon and wids want to know of them beside them.

Members are copied as raw bytes: a shard from which nothing is left out is the dataset's own, byte for byte. Energon
reads `.nv-meta/` and the offsets in `*.tar.idx`; wids reads `wids-SPLIT.json`; any WebDataset reader the tars alone.
"""

import contextlib
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import yaml

from onegen.audit.export.formats import Format, Handed, Wishes, split_of
from onegen.audit.export.samples import Samples, part_of
from onegen.audit.readable import readable
from onegen.errors import ConfigError
from onegen.sample import IMAGE, PACKED
from onegen.shards.column import ColumnReader
from onegen.shards.index import Row
from onegen.shards.takedowns import taken_positions
from onegen.shards.tar import TarWriter
from onegen.shards.views import PICTURES, split_name

_NAMES = {"train": "train", "validation": "val"}
"""What Energon calls the splits."""


class _Shard:
    """One tar on its way, with the offsets at which its samples start."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self.path = path
        self._tar = TarWriter(file)
        self.offsets: list[int] = []

    def add(self, key: str, parts: dict[str, bytes], known: dict[str, str]) -> None:
        self.offsets.append(self._tar.size)
        self._tar.add(key, parts, known)

    def close(self) -> dict[str, Any]:
        """Close the tar, write its offsets beside it, and return what wids says of it."""
        offsets = [*self.offsets, self._tar.size]
        self._tar.close()
        self.path.with_suffix(".tar.idx").write_bytes(struct.pack(f"<{len(offsets)}Q", *offsets))
        name = f"{self.path.parent.name}/{self.path.name}"
        return {"url": name, "nsamples": len(self.offsets), "filesize": self._tar.size}


def write(samples: Samples, out: Path, wishes: Wishes) -> Handed:
    """Write `SPLIT/SHARD.tar` and the indexes; raises ConfigError for a dataset without a packed view."""
    handed = Handed()
    shards: dict[str, list[dict[str, Any]]] = {}
    parts: dict[str, None] = {}
    packed = set(samples.dataset.shards(PACKED))
    if not packed & set(samples.shards):
        raise ConfigError(
            f"{samples.dataset.store.url} must have packed shards for this format, and has none. Give its recipe a "
            f"`pack`, and run `onegen build`."
        )
    for shard in (shard for shard in samples.shards if shard in packed):
        with contextlib.ExitStack() as stack:
            writers: dict[str, _Shard] = {}
            for row, data in _rows(samples, shard):
                key = str(row.key)
                split = split_of(key, wishes.validation, row.values.get(IMAGE))
                if split not in writers:
                    path = out / split / f"{shard:06d}.tar"
                    path.parent.mkdir(exist_ok=True)
                    writers[split] = _Shard(path, stack.enter_context(open(path, "wb")))
                writers[split].add(key, data, {part.name: part.sha256 for part in row.parts})
                parts |= dict.fromkeys(data)
                handed.samples += 1
                handed.images += sum(split_name(part.name)[1] in PICTURES for part in row.parts)
                handed.count(split)
            for split, writer in sorted(writers.items()):
                shards.setdefault(split, []).append(writer.close())
    _write_wids(samples, out, shards)
    _write_energon(out, shards, sorted(parts))
    return handed


def _rows(samples: Samples, shard: int) -> Iterator[tuple[Row, dict[str, bytes]]]:
    """Yield the packed rows of a shard with their members; raises ConfigError for a damaged shard."""
    with contextlib.ExitStack() as stack:
        with readable(f"packed shard {shard:06d}"):
            reader = ColumnReader(samples.dataset, samples.dataset.require_manifest(PACKED, shard))
        stack.callback(reader.close)
        taken = taken_positions(samples.dataset, samples.takedowns, reader.manifest)
        for row in reader.rows:
            if row.status == "ok" and row.key not in samples.leave_out and row.position not in taken:
                yield row, {member.name: part_of(reader, row, member) for member in row.parts}


def _write_wids(samples: Samples, out: Path, shards: dict[str, list[dict[str, Any]]]) -> None:
    for split, entries in shards.items():
        index = {
            "__kind__": "wids-shard-index-v1",
            "wids_version": 1,
            "name": f"{samples.card.name}-{split}",
            "description": f"{samples.card.name}, {samples.told()}, version {samples.version or 'none yet'}",
            "shardlist": entries,
        }
        (out / f"wids-{split}.json").write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")


def _write_energon(out: Path, shards: dict[str, list[dict[str, Any]]], parts: list[str]) -> None:
    """Write `.nv-meta`: how many samples each tar has, which tars are of which split, and what a sample is."""
    folder = out / ".nv-meta"
    folder.mkdir()
    counts = {entry["url"]: entry["nsamples"] for entries in shards.values() for entry in entries}
    info = {"energon_version": "7.0.0", "shard_counts": counts}
    (folder / ".info.json").write_text(json.dumps(info, indent=1) + "\n", encoding="utf-8")
    splits: dict[str, list[str]] = {name: [] for name in ("train", "val", "test")}
    for split, entries in shards.items():
        splits[_NAMES[split]] = [entry["url"] for entry in entries]
    told = {"exclude": [], "split_parts": splits}
    (folder / "split.yaml").write_text(yaml.safe_dump(told, sort_keys=True), encoding="utf-8")
    # Crude: a sample is its members by name, for the cooker of whoever trains.
    kind = {"__module__": "megatron.energon", "__class__": "CrudeWebdataset"}
    text = f"# members of a sample: {', '.join(parts)}\n" + yaml.safe_dump(kind, sort_keys=True)
    (folder / "dataset.yaml").write_text(text, encoding="utf-8")


FORMAT = Format(
    "webdataset",
    "the packed tars, with Energon's .nv-meta and a wids index beside them",
    write,
    'megatron.energon.get_train_dataset("{out}", ...), wids.ShardListDataset("{out}/wids-train.json")',
)
