"""Small generated photos, the recipes that build them, and what tests ask of a built dataset."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from onegen.build.build import Summary, build
from onegen.build.work import Options
from onegen.config.recipe import Recipe
from onegen.sample import PACKED
from onegen.shards.dataset import Dataset, folder
from onegen.shards.index import Row
from onegen.shards.manifest import Manifest
from onegen.shards.takedowns import FOLDER, takedown_files
from onegen.storage.local import LocalStore
from onegen.storage.store import Store

SIZE = (40, 48)


def picture(seed: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Return an RGB gradient with noise; no two seeds have near perceptual hashes."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)
    smooth = cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_CUBIC).astype(np.int16)
    return np.clip(smooth + rng.integers(-9, 10, (*size, 3)), 0, 255).astype(np.uint8)


def encoded(pixels: np.ndarray, extension: str = ".png") -> bytes:
    """Return RGB pixels as the bytes of a file."""
    ok, data = cv2.imencode(extension, pixels[:, :, ::-1])
    assert ok
    return bytes(data.tobytes())


def write_photos(root: Path, count: int, captions: Mapping[int, str] | None = None) -> list[Path]:
    """Write `count` photos named by their number, PNG and JPEG by turns, some with a caption beside them."""
    root.mkdir(parents=True, exist_ok=True)
    written = []
    for number in range(count):
        path = root / f"{number:05d}{('.png', '.jpg')[number % 2]}"
        path.write_bytes(encoded(picture(number), path.suffix))
        written.append(path)
    for number, caption in (captions or {}).items():
        (root / f"{number:05d}.txt").write_text(caption, encoding="utf-8")
    return written


def make_recipe(photos: Path, stages: list[dict[str, Any]], **changes: Any) -> Recipe:
    """Return a recipe of 8 images a shard; `changes` replace its other parts."""
    base: dict[str, Any] = {
        "name": "tiny",
        "source": {"folder": str(photos)},
        "samples_per_shard": 8,
        "stages": stages,
    }
    return Recipe.model_validate({**base, **changes})


@dataclass
class Ears:
    """A listener that remembers what it heard, and does `on_commit` at every commit."""

    notes: list[str] = field(default_factory=list)
    commits: list[tuple[str, int]] = field(default_factory=list)
    begun: dict[str, tuple[int, int]] = field(default_factory=dict)

    def note(self, text: str) -> None:
        self.notes.append(text)

    def plan(self, steps: Sequence[str], shards: int) -> None:
        pass

    def begin(self, step: str, shards: int, done: int) -> None:
        self.begun[step] = shards, done

    def committed(self, step: str, manifest: Manifest) -> None:
        self.commits.append((manifest.column, manifest.shard))

    def waiting(self, step: str, workers: Mapping[int, str]) -> None:
        pass

    def end(self, step: str) -> None:
        pass


def run(recipe: Recipe, out: Path | Store, ears: Ears | None = None, **options: Any) -> Summary:
    """Build, in this process unless `workers` says otherwise."""
    store = out if isinstance(out, Store) else LocalStore(str(out))
    return build(recipe, store, Options(**{"workers": 0, **options}), ears or Ears())


def dataset(out: Path) -> Dataset:
    """Return the dataset in a folder."""
    return Dataset(LocalStore(str(out)))


def rows(out: Path, column: str) -> list[Row]:
    """Return the rows of a column over all its shards, in order."""
    found = dataset(out)
    return [row for manifest in found.manifests(column) for row in found.rows(manifest)]


def statuses(out: Path, column: str) -> list[str]:
    """Return status, and reason where there is one, of each row of a column."""
    return [row.status + (f" {row.reason}" if row.reason else "") for row in rows(out, column)]


def failures(out: Path, column: str) -> list[tuple[str, str]]:
    """Return (item, reason) of the failures the manifests of a column name."""
    return [(f.item, f.reason) for m in dataset(out).manifests(column) for f in m.run.failures]


def committed(out: Path) -> dict[str, tuple[str, int]]:
    """Return SHA-256 and modification time of every committed manifest."""
    found = dataset(out)
    names = [
        f"{folder(column)}/{shard:06d}.json" for column in (*found.columns(), PACKED) for shard in found.shards(column)
    ]
    return {name: (_sha256(out / name), os.stat(out / name).st_mtime_ns) for name in names}


def damaged(out: Path) -> list[str]:
    """Return files that a committed manifest names and that are not there with the bytes it says."""
    found = dataset(out)
    named = {
        f"{folder(column)}/{name}": record.sha256
        for column in (*found.columns(), PACKED)
        for manifest in found.manifests(column)
        for name, record in manifest.files.items()
    }
    return [name for name, sha256 in named.items() if not (out / name).is_file() or _sha256(out / name) != sha256]


def packed(out: Path) -> dict[str, str]:
    """Return SHA-256 of the packed view's tars and indexes, by name."""
    return {path.name: _sha256(path) for path in sorted((out / PACKED).iterdir()) if path.suffix != ".json"}


def column_files(out: Path, column: str) -> dict[str, str]:
    """Return SHA-256 of the files of a column but for its manifests, by name."""
    return {path.name: _sha256(path) for path in sorted((out / folder(column)).iterdir()) if path.suffix != ".json"}


def strays(out: Path) -> list[str]:
    """Return files that no manifest, plan or card accounts for."""
    found = dataset(out)
    card = found.require_card()
    expected = {
        "dataset.json",
        "README.md",
        ".lease",
        *(f"plan/{shard:06d}.parquet" for shard in range(card.plan.shards)),
        *(f"{FOLDER}/{name}" for name in takedown_files(found.store)),
    }
    for column in (*found.columns(), PACKED):
        for manifest in found.manifests(column):
            expected |= {f"{folder(column)}/{name}" for name in manifest.files}
            expected.add(f"{folder(column)}/{manifest.shard:06d}.json")
    there = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    return sorted(there ^ expected)


def manifest_json(out: Path, column: str, shard: int) -> dict[str, Any]:
    """Return a manifest as plain JSON."""
    loaded: dict[str, Any] = json.loads((out / folder(column) / f"{shard:06d}.json").read_text(encoding="utf-8"))
    return loaded


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
