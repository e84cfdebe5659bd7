"""Samples of a dataset of ours as the cycle metrics need them: image, caption, and conditions drawn from columns."""

import contextlib
import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from onegen.annotators.depth import PROVIDES as DEPTH
from onegen.annotators.entities import PROVIDES as ENTITIES
from onegen.annotators.hed import PROVIDES as HED
from onegen.annotators.pose import PROVIDES as POSE
from onegen.annotators.segmentation import PROVIDES as SEGMENTATION
from onegen.audit.readable import readable
from onegen.errors import ConfigError
from onegen.pixels.codec import decode_image
from onegen.sample import IMAGE, SELECT, Annotation, Provides
from onegen.shards.column import ColumnReader
from onegen.shards.dataset import Dataset
from onegen.shards.key import seed_of
from onegen.storage import open_store
from onegen.tasks.conditions import CONDITIONS, MIN_SCORE, VERSION, condition, grey_map
from onegen.tasks.table import TASKS

_STORED = {"hed": ("hed", "hed.png", HED), "depth": ("depth", "depth.png", DEPTH)}
"""Conditions that lie in a column of their own: column, part, and what it stores."""
_DRAWN_FROM = {"entities": ENTITIES, "segmentation": SEGMENTATION, "pose": POSE}
"""Columns that conditions are drawn from, and what they store."""


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
        columns = (_STORED[role][0],) if role in _STORED else CONDITIONS[role].columns
        return set(columns) <= set(Dataset(open_store(self.root)).columns())

    def shows(self, task: str) -> bool:
        """Say whether there is something in the condition of a task: nobody has no pose."""
        match TASKS[task].views[1]:
            case "boxes":
                return bool(self.entities())
            case "semantic_map":
                return bool(self.names().any())
            case "pose":
                return bool(self.people())
        return True

    def condition(self, task: str) -> np.ndarray:
        """Return the condition of a task, RGB uint8 (H,W,3) of the image's size."""
        role = TASKS[task].views[1]
        if role in _STORED:
            column, part, provides = _STORED[role]
            return grey_map(np.asarray(_annotation(self.root, column, self.shard, self.position, provides).parts[part]))
        columns = {column: self._of(column) for column in CONDITIONS[role].columns}
        return condition(role, self.pixels(), columns, self.seed(role))

    def entities(self) -> list[dict[str, Any]]:
        """Return the named things of column `entities`."""
        return list(self._of("entities").values.get("entities") or ())

    def people(self) -> list[dict[str, Any]]:
        """Return the people of column `pose` whose skeletons are drawn."""
        people = self._of("pose").values.get("people") or ()
        return [person for person in people if person["score"] >= MIN_SCORE]

    def names(self) -> np.ndarray:
        """Return what is where, names (H,W) of type str: columns `segmentation` and `entities`; empty for nothing."""
        return name_map(self._of("segmentation"), self._of("entities"))

    def _of(self, column: str) -> Annotation:
        return _annotation(self.root, column, self.shard, self.position, _DRAWN_FROM[column])

    def seed(self, role: str) -> int:
        """Return the seed by which a condition is drawn for this sample."""
        return seed_of(self.key, role, VERSION)


def name_map(segmentation: Annotation, entities: Annotation) -> np.ndarray:
    """Return names (H,W) of type str: the entity whose mask has the pixel; empty where none has."""
    labels = [entity["label"] for entity in entities.values.get("entities") or ()]
    names: np.ndarray = np.array(["", *labels])[np.asarray(segmentation.parts["masks.png"])]
    return names


@functools.lru_cache(maxsize=4)
def read_samples(root: Path, count: int) -> list[Sample]:
    """Return the first samples that every column has; raises ConfigError for no dataset of images, or fewer than 2."""
    dataset = Dataset(open_store(root))
    if dataset.require_card().kind != "image":
        raise ConfigError(f"--data must be a dataset of images, got one of {dataset.require_card().kind}s.")
    samples: list[Sample] = []
    for manifest in dataset.manifests(IMAGE):
        reads = {c: dataset.manifest(c, manifest.shard) for c in dataset.columns()}
        with readable(f"shard {manifest.shard:06d} of {root}"):
            rows = {column: dataset.rows(found) for column, found in reads.items() if found is not None}
        wanted = (IMAGE, SELECT, "caption", *(column for column, _, _ in _STORED.values()), *_DRAWN_FROM)
        needed = [column for column in wanted if column in rows]
        for row in rows[IMAGE]:
            if row.key and all(rows[column][row.position].status == "ok" for column in needed):
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
