"""Random histories of growth and takedowns: what is left in the end is what a direct build makes of the same plan.

The direct build has the plan that the history pinned, and from the start the takedowns that it ended with; files that
changed under a pinned plan are no part of these histories, since no build could read them any more.
PYTHONPATH=. python -m pytest tests/end_to_end/test_growth_histories.py
"""

import os
import shutil
from pathlib import Path

import pytest

from onegen.audit.verify import verify
from onegen.build.purge import purge
from onegen.build.takedown import take_down
from onegen.errors import ConfigError
from onegen.executor.contract import Retry
from onegen.sample import PACKED
from onegen.shards.dataset import Card, Dataset
from onegen.shards.index import canonical_row
from onegen.shards.takedowns import Entry, read_takedowns
from tests.broken_stores import Crash
from tests.end_to_end.test_histories import COLUMNS, World, build, kill, lose_a_file, make_world
from tests.tiny import dataset, encoded, picture, rows, run, strays

STEPS = (
    "full",
    "extend",
    "extend",
    "less",
    "recompute",
    "retry",
    "lose",
    "cure",
    "takedown",
    "takedown",
    "purge",
    "kill",
)
FIRST_NEW = 20


def grow(world: World) -> None:
    """Add photos, some of them again a picture that is there, and extend."""
    folder = world.root / "photos"
    number = FIRST_NEW + len(world.done)
    for extra in range(world.rng.randint(1, 3)):
        source = picture(number * 10 + extra) if world.rng.random() < 0.8 else picture(world.rng.randint(0, 5))
        (folder / f"{number:05d}-{extra}.png").write_bytes(encoded(source))
    world.done.append(f"photos from {number:05d}")
    build(world, world.recipe(), extend=True)


def take_something_down(world: World) -> None:
    """Take down a stored picture, a file that is planned or is not, or what nobody knows."""
    if not (world.out / "dataset.json").exists():
        return
    try:
        known = [row for row in rows(world.out, "image") if row.key is not None]
    except FileNotFoundError:
        return  # it was lost, and nothing made it again yet
    choices: list[Entry] = [("key", "0" * 20), ("uri", f"{world.rng.choice([3, 7, 9]):05d}.png")]
    if known:
        row = world.rng.choice(known)
        choices += [("key", str(row.key)), ("digest", row.values["sha256"]), ("uri", str(row.values["uri"]))] * 2
    entry = world.rng.choice(choices)
    world.done.append(f"takedown {entry}")
    take_down(Dataset(world.open()), [entry])


def purge_or_crash(world: World) -> None:
    """Purge, half the time with a crash on the way."""
    if not (world.out / "dataset.json").exists():
        return
    at = world.rng.choice([0, world.rng.randint(1, 40)])
    world.done.append(f"purge crash at {at}")
    try:
        purge(Dataset(world.open(at)))
    except Crash:
        world.done.append("  crashed")


def take_a_step(world: World, is_real: bool) -> None:
    """Do something that users do, or that happens to them."""
    match world.rng.choice(STEPS):
        case "full":
            build(world, world.recipe())
        case "extend":
            grow(world)
        case "less":
            build(world, world.recipe(has_echo=False))
        case "recompute":
            build(world, world.recipe(), recompute=(world.rng.choice(COLUMNS),))
        case "retry":
            build(world, world.recipe(), retry=Retry())
        case "lose":
            lose_a_file(world)
        case "cure":
            world.cure.touch()
            world.done.append("cured")
        case "takedown":
            take_something_down(world)
        case "purge":
            purge_or_crash(world)
        case "kill" if is_real:
            kill(world)


def finish(world: World) -> str | None:
    """Extend, retry, purge and build, in an order that chance says: the end is the same."""
    world.cure.touch()
    try:
        run(world.recipe(), world.open(), extend=True)
    except ConfigError:
        run(world.recipe(), world.open(), extend=True, recompute=("tone", "poison", "echo"))
    last = [lambda: purge(Dataset(world.open())), lambda: run(world.recipe(), world.open(), retry=Retry())]
    world.rng.shuffle(last)
    for do in last:
        do()
    return run(world.recipe(), world.open()).digest


def direct_of(world: World) -> Path:
    """Return a dataset built at once: the plan and the takedowns of a history, and nothing else of it."""
    direct, card = world.root / "direct", dataset(world.out).require_card()
    shutil.copytree(world.out / "plan", direct / "plan")
    if (world.out / "takedowns").exists():
        shutil.copytree(world.out / "takedowns", direct / "takedowns")
    pinned = {"columns": {}, "digest": None, "state": "building", "purged": None}
    (direct / "dataset.json").write_bytes(Card.to_json(card.model_copy(update=pinned)))
    return direct


def rows_of(out: Path) -> dict[str, list[bytes]]:
    """Return what every row says, by column; in the packed view, which has no digest of its own, too."""
    return {column: [canonical_row(row) for row in rows(out, column)] for column in (*COLUMNS, PACKED)}


def live_through(world: World, is_real: bool) -> None:
    try:
        for _ in range(world.rng.randint(3, 8)):
            take_a_step(world, is_real)
        digest = finish(world)
        assert digest is not None
        direct = direct_of(world)
        assert run(world.recipe(), direct).digest == digest
        assert rows_of(world.out) == rows_of(direct)
        assert strays(world.out) == world.missing
        assert [str(finding) for finding in verify(Dataset(world.open()), full=True)] == []
        _check_bytes(world)
    except BaseException as error:
        error.add_note("\n".join(world.done))
        raise


def _check_bytes(world: World) -> None:
    """Assert that no file holds a picture whose row is a tombstone."""
    gone = {str(row.values["item"]) for row in rows(world.out, "image") if row.reason == "takedown"}
    kept = {
        (world.root / "photos" / str(row.values["item"])).read_bytes() for row in rows(world.out, "image") if row.key
    }
    pictures = [data for item in gone if (data := (world.root / "photos" / item).read_bytes()) not in kept]
    stored = [path for path in world.out.rglob("*") if path.is_file()]
    assert [str(path) for path in stored if any(one in path.read_bytes() for one in pictures)] == []
    assert all(entry not in ("", None) for entry in read_takedowns(dataset(world.out).store).entries)
    assert not os.path.exists(world.out / "log")


@pytest.mark.parametrize("seed", range(4))
def test_a_history_ends_as_a_direct_build_of_its_plan_does(tmp_path, seed):
    live_through(make_world(tmp_path, seed), is_real=False)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 108))
def test_a_history_with_real_kills_ends_as_a_direct_build_of_its_plan_does(tmp_path, seed):
    live_through(make_world(tmp_path, seed), is_real=True)
