"""Every sample that may be drawn, as arrays: where it lies, how large its images are, which tasks it can serve.

Read once from the committed indexes, without opening a tar. About 30 bytes a sample stay in memory.
"""

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from onegen.errors import ConfigError
from onegen.loader.needs import NEEDS, ORDER
from onegen.loader.scan import ScannedShard, View, open_view
from onegen.shards.dataset import Dataset
from onegen.shards.split import held_out_below
from onegen.shards.takedowns import read_takedowns, version_of
from onegen.storage import open_store
from onegen.storage.store import Store
from onegen.tasks.table import find_task

SPLITS = ("train", "validation", "all")


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """One dataset to train on.

    `share` is its part of the mixture beside the others' (None: every key once an epoch); `tasks` those it is trained
    on (None: all that its columns allow); `name` what examples call it, by default the card's.
    """

    url: str
    share: float | None = None
    tasks: tuple[str, ...] | None = None
    name: str = ""


@dataclass(frozen=True, slots=True)
class OpenedSet:
    """A training set with its store, its view and its version."""

    spec: TrainingSet
    name: str
    store: Store
    view: View
    version: str


@dataclass(frozen=True)
class Inventory:
    """The samples of all training sets, an entry each.

    `set_of` is the number of the set; `keys` the first 64 bits of the keys; `tasks` a bit a task, in the order of the
    task table; `first` where the numbers and (height, width) of the images stand in `images` and `sizes`, up to the
    next sample's.
    """

    sets: tuple[OpenedSet, ...]
    set_of: np.ndarray
    shard: np.ndarray
    position: np.ndarray
    keys: np.ndarray
    tasks: np.ndarray
    first: np.ndarray
    images: np.ndarray
    sizes: np.ndarray

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def num_images(self) -> np.ndarray:
        """The number of images of each sample."""
        return np.diff(self.first)

    def digest(self) -> str:
        """Return the digest of everything that the order of examples is made of here."""
        total = hashlib.sha256()
        for array in (
            self.set_of,
            self.shard,
            self.position,
            self.keys,
            self.tasks,
            self.first,
            self.images,
            self.sizes,
        ):
            total.update(np.ascontiguousarray(array).tobytes())
        return total.hexdigest()


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which samples are taken: the split and its share, keys that were taken down, columns of captions, task bits."""

    split: str = "train"
    validation: float = 0.01
    takedowns: Collection[str] = frozenset()
    captions: tuple[str, ...] = ()
    tasks: int = (1 << len(ORDER)) - 1

    def __post_init__(self) -> None:
        if self.split not in SPLITS:
            raise ConfigError(f"split must be one of {', '.join(SPLITS)}, got {self.split!r}.")
        if not 0.0 <= self.validation < 1.0:
            raise ConfigError(f"validation must be a share in [0, 1), got {self.validation}.")


def open_set(spec: TrainingSet) -> OpenedSet:
    """Return a training set with its store opened; raises ConfigError where there is none."""
    for task in spec.tasks or ():
        find_task(task)
    if spec.share is not None and not spec.share > 0:
        raise ConfigError(f"share of {spec.url} must be above 0, got {spec.share}. Leave the dataset out instead.")
    store = open_store(spec.url)
    dataset = Dataset(store)
    card = dataset.require_card()
    version = version_of(card.digest, read_takedowns(store)) or ""
    return OpenedSet(spec, spec.name or card.name, store, open_view(dataset), version)


def take_inventory(specs: Sequence[TrainingSet], wanted: Wanted) -> tuple[Inventory, int]:
    """Return the samples of training sets, and how many serve none of the tasks.

    Raises ConfigError for none, a damaged shard, another schema version.
    """
    if not specs:
        raise ConfigError("datasets must name at least one, got none.")
    sets = tuple(open_set(spec) for spec in specs)
    names = [opened.name for opened in sets]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ConfigError(f"datasets must have different names, got {twice[0]!r} twice. Name them as TrainingSets.")
    pieces: list[tuple[int, ScannedShard]] = []
    unused = 0
    for number, opened in enumerate(sets):
        for scanned in opened.view.scan(wanted.captions):
            kept = scanned.keep(_chosen(scanned, opened.spec, wanted))
            serves = kept.tasks != 0
            unused += int((~serves).sum())
            pieces.append((number, kept.keep(serves)))
    return _joined(sets, pieces), unused


def _chosen(scanned: ScannedShard, spec: TrainingSet, wanted: Wanted) -> np.ndarray:
    """Return which rows of a shard are taken, bool, after its tasks are cut down to those of the set."""
    own = wanted.tasks if spec.tasks is None else sum(1 << ORDER.index(task) for task in spec.tasks)
    scanned.tasks &= np.uint32(own & wanted.tasks)
    chosen = is_in_split(scanned.groups, wanted)
    if wanted.takedowns:
        chosen &= np.array([key not in wanted.takedowns for key in scanned.key_texts], bool)
    return chosen


def is_in_split(groups: np.ndarray, wanted: Wanted) -> np.ndarray:
    """Return which samples are in the wanted split, bool (n,), given the numbers of their groups, uint64 (n,)."""
    if wanted.split == "all":
        return np.ones(len(groups), bool)
    in_validation = groups < np.uint64(held_out_below(wanted.validation))
    return np.asarray(in_validation if wanted.split == "validation" else ~in_validation)


def _joined(sets: tuple[OpenedSet, ...], pieces: Sequence[tuple[int, ScannedShard]]) -> Inventory:
    def flat(arrays: Iterable[np.ndarray], dtype: type) -> np.ndarray:
        return np.concatenate([np.empty(0, dtype), *arrays]).astype(dtype)

    counts = flat((piece.num_images for _, piece in pieces), np.int64)
    return Inventory(
        sets,
        flat((np.full(len(piece), number, np.uint16) for number, piece in pieces), np.uint16),
        flat((np.full(len(piece), piece.shard, np.int32) for _, piece in pieces), np.int32),
        flat((piece.positions for _, piece in pieces), np.int32),
        flat((piece.keys for _, piece in pieces), np.uint64),
        flat((piece.tasks for _, piece in pieces), np.uint32),
        np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)]),
        flat((piece.images for _, piece in pieces), np.uint16),
        np.concatenate([np.empty((0, 2), np.int32), *(piece.sizes for _, piece in pieces)]),
    )


def served_tasks(inventory: Inventory) -> list[str]:
    """Return the tasks that any sample can serve, in the order of the table."""
    served = int(np.bitwise_or.reduce(inventory.tasks)) if len(inventory) else 0
    return [name for number, name in enumerate(ORDER) if served >> number & 1]


def require_tasks(inventory: Inventory, names: Iterable[str]) -> None:
    """Raise ConfigError for a task that no sample can serve, saying what it needs and who lacks it."""
    served = served_tasks(inventory)
    for name in names:
        if name not in served:
            raise ConfigError(_unserved(inventory, name))


def _unserved(inventory: Inventory, name: str) -> str:
    needs = NEEDS[name]
    columns = " and ".join(repr(column) for column in needs.columns)
    field_ = f"the field {needs.field!r}" if needs.field else ""
    asked = [columns and f"column {columns}", field_, "a caption" if needs.is_captioned else ""]
    what = ", ".join(text for text in asked if text) or "its images"
    found = ", ".join(f"{opened.name} ({opened.view.describe()})" for opened in inventory.sets)
    return (
        f"task {name!r} must have samples of kind {needs.kind} with {what}, got none in {found}. Build that column, "
        f"add a dataset that has it, or leave the task out."
    )
