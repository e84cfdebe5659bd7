"""A long build whose whole process group is killed again and again loses nothing and makes nothing twice."""

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from onegen.config.recipe import Recipe
from tests.end_to_end import test_identities as identities
from tests.end_to_end import test_scenes as scenes
from tests.tiny import dataset, encoded, make_recipe, packed, picture, run, strays

IMAGES, PER_SHARD, KILLS = 4_000, 160, 20
DUPLICATES = 40
STAGES: list[dict[str, Any]] = [
    {"name": "look", "annotators": {"tests.plugins.tone": {}}},
    {"name": "again", "annotators": {"tests.plugins.echo": {}}, "where": "tone.mean > 128"},
]


def write_many(root: Path, images: int = IMAGES) -> Counter[str]:
    """Write the photos, some of them twice and some broken; return how often each good key comes."""
    keys: Counter[str] = Counter()
    for number in range(images):
        path = root / f"{number % 10}" / f"{number:05d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        is_broken = number % 500 == 7
        twin = number % 250 if number >= images - DUPLICATES else number
        data = b"broken" if is_broken else encoded(picture(twin, (32, 32)))
        path.write_bytes(data)
        if not is_broken:
            keys[hashlib.sha256(data).hexdigest()[:20]] += 1
    return keys


@pytest.fixture
def temporary() -> Iterator[str]:
    """A folder for what the killed leave, its name short: Ray puts sockets there."""
    with tempfile.TemporaryDirectory(dir="/tmp", ignore_cleanup_errors=True) as name:
        yield name


def kill_again_and_again(folder: Path, temporary: str, recipe: Recipe, kills: int, **options: object) -> Counter[str]:
    """Start the build of `folder/out` that often and kill its process group each time; return the commits heard of."""
    orders = {
        "recipe": recipe.model_dump(mode="json"),
        "store": str(folder / "out"),
        "options": {"workers": 2, **options},
        "ears": "tell",
    }
    rng = random.Random(20)
    commits: Counter[str] = Counter()
    for kill in range(kills):
        # In commits, so that every run gets further, plus a few looks at the workers, so that it dies in between.
        last, looks = rng.randint(1, 9), rng.randint(0, 3)
        with subprocess.Popen(
            [sys.executable, "-m", "tests.driver"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "TMPDIR": temporary},
            start_new_session=True,
        ) as driver:
            assert driver.stdin is not None
            assert driver.stdout is not None
            driver.stdin.write(json.dumps(orders))
            driver.stdin.close()
            for line in driver.stdout:
                assert not line.startswith("digest"), f"the build ended before kill {kill}"
                if line.startswith("commit"):
                    commits[line] += 1
                    last -= 1
                elif last <= 0:
                    looks -= 1
                if last <= 0 and looks <= 0:
                    break
            os.killpg(driver.pid, signal.SIGKILL)
    return commits


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_twenty_kills_of_the_process_group_lose_and_double_nothing(tmp_path: Path, temporary: str) -> None:
    expected = write_many(tmp_path / "photos")
    recipe = make_recipe(tmp_path / "photos", STAGES, samples_per_shard=PER_SHARD)
    undisturbed = run(recipe, tmp_path / "undisturbed", workers=2)
    commits = kill_again_and_again(tmp_path, temporary, recipe, KILLS)
    finished = run(recipe, tmp_path / "out", workers=2)
    assert finished == undisturbed
    assert packed(tmp_path / "out") == packed(tmp_path / "undisturbed")
    assert strays(tmp_path / "out") == []
    assert set(commits.values()) == {1}, "a commit that was heard of was made again"

    found = dataset(tmp_path / "out")
    assert len(found.shards("image")) == IMAGES // PER_SHARD
    keys = Counter(row.key for manifest in found.manifests("image") for row in found.rows(manifest) if row.key)
    broken = hashlib.sha256(b"broken").hexdigest()[:20]
    assert keys == expected + Counter({broken: IMAGES // 500})
    members: Counter[str] = Counter()
    for tar in sorted((tmp_path / "out" / "shards").glob("*.tar")):
        with tarfile.open(tar) as archive:
            members.update(name.partition(".")[0] for name in archive.getnames() if name.endswith(".json"))
    assert members == Counter(dict.fromkeys(expected, 1))


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", ["identities", "scenes"])
def test_kills_of_the_process_group_lose_and_double_no_set(kind: str, tmp_path: Path, temporary: str) -> None:
    if kind == "identities":
        names = {f"person{number:02d}": 4 for number in range(60)}
        for number, name in enumerate(names):
            (tmp_path / "people" / name).mkdir(parents=True)
            for photo in range(4):
                path = tmp_path / "people" / name / f"{photo}.png"
                path.write_bytes(encoded(picture(10 * number + photo, (32, 32))))
        recipe = identities.recipe(tmp_path / "people", STAGES[0], samples_per_shard=8)
    else:
        root = scenes.write(tmp_path / "captures", dict.fromkeys(scenes.SCENES, 2))
        for number in range(60):
            shutil.copytree(root / "1K/aaa", root / f"3K/{number:02d}")
            for view in range(2):
                path = root / f"3K/{number:02d}/images/{view:03d}.png"
                path.write_bytes(encoded(picture(10 * number + view, scenes.SIZE)))
        recipe = scenes.recipe(root, STAGES[0], samples_per_shard=4)
    undisturbed = run(recipe, tmp_path / "undisturbed", workers=2)
    assert len(dataset(tmp_path / "undisturbed").shards("image")) >= 30
    commits = kill_again_and_again(tmp_path, temporary, recipe, 3)
    assert run(recipe, tmp_path / "out", workers=2) == undisturbed
    assert packed(tmp_path / "out") == packed(tmp_path / "undisturbed")
    assert strays(tmp_path / "out") == []
    assert set(commits.values()) == {1}, "a commit that was heard of was made again"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_driver_of_ray_that_is_killed_loses_and_doubles_nothing(tmp_path: Path, temporary: str) -> None:
    write_many(tmp_path / "photos", 1_200)
    recipe = make_recipe(tmp_path / "photos", STAGES, samples_per_shard=100)
    undisturbed = run(recipe, tmp_path / "undisturbed")
    commits = kill_again_and_again(tmp_path, temporary, recipe, 3, executor="ray")
    # The next driver takes what the killed one left, whatever kind of workers it has itself.
    assert run(recipe, tmp_path / "out") == undisturbed
    assert packed(tmp_path / "out") == packed(tmp_path / "undisturbed")
    assert strays(tmp_path / "out") == []
    assert set(commits.values()) == {1}, "a commit that was heard of was made again"
