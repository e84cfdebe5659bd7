"""Random histories: whatever was run, refused, killed, lost and mended before, a full build ends as a direct one does.

Each seed is a history of its own; a failure names seed and steps. PYTHONPATH=. python -m pytest
tests/end_to_end/test_histories.py
"""

import hashlib
import json
import os
import random
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pytest

from onegen.audit.verify import verify
from onegen.config.recipe import Recipe
from onegen.errors import ConfigError, Stopped
from onegen.executor.contract import Retry
from onegen.sample import PACKED
from onegen.shards.dataset import folder, manifest_name
from onegen.storage.local import LocalStore
from onegen.storage.store import Store
from tests.broken_stores import Crash, CrashingStore
from tests.tiny import (
    column_files,
    committed,
    dataset,
    encoded,
    make_recipe,
    packed,
    picture,
    run,
    strays,
    write_photos,
)

IMAGES, COLUMNS = 10, ("image", "select", "tone", "poison", "echo")
CHANGES = 90
"""Changes of files that a whole build makes, about: a crash falls on any of them, or behind the last."""
REAL = ("publish", "write", "rename", "delete", "spool")

Direct = tuple[str | None, dict[str, dict[str, str]]]
"""Digest of a dataset, and SHA-256 of its files by column and name."""


@dataclass
class World:
    """Photos, the recipe that a history ends with, where it builds, and what was done so far."""

    root: Path
    rng: random.Random
    done: list[str] = field(default_factory=list)
    missing: ClassVar[Sequence[str]] = []
    """Files that a dataset in a folder has and one there has not."""

    @property
    def out(self) -> Path:
        return self.root / "out"

    @property
    def cure(self) -> Path:
        """A file in whose absence two samples fail."""
        return self.root / "cure"

    def open(self, at: int = 0) -> Store:
        """Return the store of `out`; one that crashes at its `at`-th change, counted from 1."""
        return CrashingStore(str(self.out), at) if at else LocalStore(str(self.out))

    def recipe(self, where: str = "tone.mean > 100", has_echo: bool = True) -> Recipe:
        stages: list[dict[str, Any]] = [
            {"name": "look", "annotators": {"tests.plugins.tone": {}}, "batch_size": 3},
            {"name": "dare", "annotators": {"tests.plugins.poison": {"cure": str(self.cure)}}},
            {"name": "again", "annotators": {"tests.plugins.echo": {}}, "where": where},
        ]
        chosen = stages if has_echo else stages[:2]
        return make_recipe(
            self.root / "photos", chosen, samples_per_shard=4, image={"min_side": 8}, limits={"failure_rate": 1.0}
        )


def make_world(root: Path, seed: int) -> World:
    """Write photos with a broken one, a small one, a twin, and two whose captions are poison."""
    photos = write_photos(root / "photos", IMAGES, {2: "sample", 7: "raise", 5: "a caption"})
    photos[3].write_text("no image")
    photos[9].write_bytes(encoded(picture(9, (5, 5)), photos[9].suffix))
    photos[8].write_bytes(photos[4].read_bytes())
    for file in (root / "photos").iterdir():
        os.utime(file, (10**9, 10**9))  # the plan's rows, and so the bytes of the image index, have these times
    return World(root, random.Random(seed))


def build(world: World, recipe: Recipe, **options: Any) -> None:
    """Build, often with a crash on the way; what is refused must have changed nothing."""
    at = world.rng.choice([0, world.rng.randint(1, CHANGES), world.rng.randint(1, 20)])
    workers = 2 if at == 0 and world.rng.random() < 0.1 else 0
    before = state(world.out)
    world.done.append(f"build {options} crash at {at} workers {workers}")
    try:
        run(recipe, world.open(at), workers=workers, **options)
    except Crash:
        world.done.append("  crashed")
    except Stopped as error:
        world.done.append(f"  stopped: {error}")
    except ConfigError as error:
        world.done.append(f"  refused: {str(error)[:90]}")
        if before is not None and at == 0:
            assert state(world.out) == before, "what is refused changes nothing"


def kill(world: World) -> None:
    """Build in a process that kills itself, or a worker of its, at a change."""
    kind, in_worker = world.rng.choice(REAL), world.rng.random() < 0.5
    part = world.rng.choice(["0000", "000001", "shards", "columns", ""])
    marker = world.root / f"killed{len(world.done)}"
    world.done.append(f"kill at {kind} of {part!r}, in a worker: {in_worker}")
    orders = {
        "recipe": world.recipe().model_dump(mode="json"),
        "store": [str(world.out), kind, part, str(marker), in_worker],
        "options": {"workers": 2 if in_worker else 0},
    }
    temporary = world.root / "temporary"
    temporary.mkdir(exist_ok=True)
    subprocess.run(
        [sys.executable, "-m", "tests.driver"],
        input=json.dumps(orders),
        text=True,
        capture_output=True,
        check=False,
        env={**os.environ, "TMPDIR": str(temporary)},
    )


def lose_a_file(world: World) -> None:
    """Delete a tar, an index or a manifest of a column or of the packed view."""
    files = [path for where in ("columns", PACKED) for path in sorted((world.out / where).rglob("*")) if path.is_file()]
    if files:
        lost = str(world.rng.choice(files).relative_to(world.out))
        world.open().delete(lost)
        world.done.append(f"lost {lost}")


def take_a_step(world: World, is_real: bool) -> None:
    """Do something that users do, or that happens to them."""
    match world.rng.choice(["full", "full", "only", "recompute", "retry", "other", "less", "lose", "cure", "kill"]):
        case "full":
            build(world, world.recipe())
        case "only":
            build(world, world.recipe(), only=(world.rng.choice([*COLUMNS, "pack"]),))
        case "recompute":
            build(world, world.recipe(), recompute=(world.rng.choice(COLUMNS),))
        case "retry":
            build(world, world.recipe(), retry=Retry(world.rng.choice(["*", "bad_*"])))
        case "other":
            build(world, world.recipe(where="tone.mean > 120"), recompute=world.rng.choice([(), ("echo",)]))
        case "less":
            drop = ("echo",) if world.rng.random() < 0.5 and (world.out / "columns/echo").exists() else ()
            build(world, world.recipe(has_echo=False), drop=drop)
        case "lose":
            lose_a_file(world)
        case "cure":
            world.cure.touch()
            world.done.append("cured")
        case "kill" if is_real:
            kill(world)


def finish(world: World) -> str | None:
    """Do what a user would to end up with the whole dataset; return its digest."""
    world.cure.touch()
    try:
        run(world.recipe(), world.open())
    except ConfigError:
        # Options, or inputs behind them, were other ones in a history; what is to be thrown away is said.
        run(world.recipe(), world.open(), recompute=("tone", "poison", "echo"))
    return run(world.recipe(), world.open(), retry=Retry()).digest


def state(out: Path) -> dict[str, str] | None:
    """Return SHA-256 of what a build that refuses may not touch: card, plan, and committed shards.

    None where a shard lost a file: it is swept, and until it is made again nobody knows what follows from it.
    """
    if not (out / "dataset.json").exists():
        return {}
    found, names = dataset(out), ["dataset.json", *(f"plan/{path.name}" for path in (out / "plan").iterdir())]
    for column in (*found.columns(), PACKED):
        for shard in range(found.require_card().plan.shards):
            manifest = found.manifest(column, shard)
            names += [] if manifest is None else [manifest_name(column, shard)]
            names += [] if manifest is None else [f"{folder(column)}/{name}" for name in manifest.files]
    if not all((out / name).exists() for name in names):
        return None
    return {name: hashlib.sha256((out / name).read_bytes()).hexdigest() for name in names}


@pytest.fixture(scope="module")
def direct(tmp_path_factory: pytest.TempPathFactory) -> Direct:
    """Digest and files of a build that nothing happened to."""
    world = make_world(tmp_path_factory.mktemp("direct"), 0)
    digest = finish(world)
    assert digest is not None
    return digest, bytes_of(world.out)


def bytes_of(out: Path) -> dict[str, dict[str, str]]:
    """Return SHA-256 of every file but manifests, by name, for each column and the packed view."""
    return {column: column_files(out, column) for column in COLUMNS} | {PACKED: packed(out)}


def live_through(root: Path, seed: int, direct: Direct, is_real: bool) -> None:
    world = make_world(root, seed)
    try:
        for _ in range(world.rng.randint(3, 8)):
            take_a_step(world, is_real)
        digest = finish(world)
        assert digest == direct[0]
        assert bytes_of(world.out) == direct[1]
        assert strays(world.out) == []
        assert [str(finding) for finding in verify(dataset(world.out), full=True)] == []
        before = committed(world.out)
        run(world.recipe(), world.out)
        assert committed(world.out) == before
    except BaseException as error:
        error.add_note(f"seed {seed}:\n" + "\n".join(world.done))
        raise


@pytest.mark.parametrize("seed", range(12))
def test_a_history_ends_as_a_direct_build_does(tmp_path, direct, seed):
    live_through(tmp_path, seed, direct, is_real=False)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 108))
def test_a_history_with_real_kills_ends_as_a_direct_build_does(tmp_path, direct, seed):
    live_through(tmp_path, seed, direct, is_real=True)
