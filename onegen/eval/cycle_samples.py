"""Samples of a dataset of ours as the cycle metrics need them: image, caption, and conditions drawn from columns."""

import contextlib
import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from onegen.annotators.depth import PROVIDES as DEPTH
from onegen.annotators.hed import PROVIDES as HED
from onegen.audit.readable import readable
from onegen.errors import ConfigError
from onegen.pixels.codec import decode_image
from onegen.sample import IMAGE, SELECT, Annotation, Provides
from onegen.shards.column import ColumnReader
from onegen.shards.dataset import Dataset
from onegen.shards.key import seed_of
from onegen.shards.takedowns import read_takedowns, taken_positions
from onegen.storage import open_store
from onegen.tasks.conditions import VERSION, condition, grey_map
from onegen.tasks.table import TASKS

_STORED = {"hed": ("hed", "hed.png", HED), "depth": ("depth", "depth.png", DEPTH)}
"""Conditions that lie in a column of their own: column, part, and what it stores."""


@dataclass(frozen=True)
class Sample:
    """A sample of an image dataset: where it lies, its key and caption."""

    root: Path
    shard: int
    position: int
    key: str
    caption: str

    def pixels(self) -> np.ndarray:
        """Return the image, RGB uint8 (H,W,3)."""
        _, parts = _read(self.root, IMAGE, self.shard, self.position)
        (data,) = parts.values()
        return decode_image(data)

    def has(self, task: str) -> bool:
        """Say whether the dataset has what the condition of a task is drawn from."""
        role = TASKS[task].views[1]
        column = _STORED[role][0] if role in _STORED else ("entities" if role == "boxes" else IMAGE)
        return column in Dataset(open_store(self.root)).columns()

    def condition(self, task: str) -> np.ndarray:
        """Return the condition of a task, RGB uint8 (H,W,3) of the image's size."""
        role = TASKS[task].views[1]
        if role in _STORED:
            column, part, provides = _STORED[role]
            return grey_map(np.asarray(_annotation(self.root, column, self.shard, self.position, provides).parts[part]))
        columns = {"entities": Annotation({"entities": self.entities()})} if role == "boxes" else {}
        return condition(role, self.pixels(), columns, self.seed(role))

    def entities(self) -> list[dict[str, Any]]:
        """Return the named things of column `entities`."""
        values, _ = _read(self.root, "entities", self.shard, self.position)
        return list(values.get("entities") or ())

    def seed(self, role: str) -> int:
        """Return the seed by which a condition is drawn for this sample."""
        return seed_of(self.key, role, VERSION)


@functools.lru_cache(maxsize=4)
def read_samples(root: Path, count: int) -> list[Sample]:
    """Return the first samples that every column has; raises ConfigError for no dataset of images, or fewer than 2."""
    dataset = Dataset(open_store(root))
    if dataset.require_card().kind != "image":
        raise ConfigError(f"--data must be a dataset of images, got one of {dataset.require_card().kind}s.")
    samples: list[Sample] = []
    takedowns = read_takedowns(dataset.store)
    for manifest in dataset.manifests(IMAGE):
        taken = taken_positions(dataset, takedowns, manifest)
        reads = {c: dataset.manifest(c, manifest.shard) for c in dataset.columns()}
        with readable(f"shard {manifest.shard:06d} of {root}"):
            rows = {column: dataset.rows(found) for column, found in reads.items() if found is not None}
        needed = [column for column in (IMAGE, SELECT, "caption", "hed", "depth", "entities") if column in rows]
        for row in rows[IMAGE]:
            if (
                row.key
                and row.position not in taken
                and all(rows[column][row.position].status == "ok" for column in needed)
            ):
                caption = rows["caption"][row.position].values.get("caption") if "caption" in rows else None
                samples.append(Sample(root, manifest.shard, row.position, row.key, str(caption or "")))
    if len(samples) < 2:
        raise ConfigError(f"{root} must have 2 samples or more that all columns have, got {len(samples)}.")
    return samples[:count]


def _read(root: Path, column: str, shard: int, position: int) -> tuple[dict[str, Any], dict[str, bytes]]:
    dataset = Dataset(open_store(root))
    manifest = dataset.require_manifest(column, shard)
    with readable(f"shard {shard:06d} of {column}"), contextlib.closing(ColumnReader(dataset, manifest)) as reader:
        row = reader.rows[position]
        return dict(row.values), reader.parts(row)


def _annotation(root: Path, column: str, shard: int, position: int, provides: Provides) -> Annotation:
    dataset = Dataset(open_store(root))
    manifest = dataset.require_manifest(column, shard)
    with readable(f"shard {shard:06d} of {column}"), contextlib.closing(ColumnReader(dataset, manifest)) as reader:
        return reader.annotation(reader.rows[position], 0, provides)
