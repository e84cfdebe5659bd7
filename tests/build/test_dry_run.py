"""What `onegen build --dry-run` says of a build to come, and that it writes nothing.

PYTHONPATH=. python -m pytest tests/build/test_dry_run.py
"""

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from onegen.build.dry_run import describe
from onegen.build.work import Options
from onegen.config.recipe import Recipe
from onegen.errors import ConfigError
from onegen.storage.local import LocalStore
from tests.tiny import Ears, make_recipe, run, write_photos

TONE: dict[str, Any] = {"name": "look", "annotators": {"tests.plugins.tone": {}}}
ECHO: dict[str, Any] = {"name": "again", "annotators": {"tests.plugins.echo": {}}}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Five photos: three shards of two."""
    write_photos(tmp_path / "photos", 5)
    return tmp_path / "photos"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def recipe(photos: Path, *stages: dict[str, Any], **changes: Any) -> Recipe:
    return make_recipe(photos, list(stages), **{"samples_per_shard": 2, **changes})


def described(recipe: Recipe, out: Path, **options: Any) -> tuple[str, str, dict[str, str]]:
    """Return the recipe as it is printed, the line about the plan, and what is said of each step."""
    text = describe(recipe, LocalStore(str(out)), Options(**options))
    head, plan, rest = text.partition("\nplan")
    first, *steps = (plan + rest).strip().splitlines()
    return head, first, {name.strip(): state.strip() for name, state in (line.split(":", 1) for line in steps)}


def files(out: Path) -> dict[str, tuple[bytes, int]]:
    """Return bytes and time of every file."""
    return {str(path): (path.read_bytes(), os.stat(path).st_mtime_ns) for path in out.rglob("*") if path.is_file()}


def test_a_recipe_is_printed_with_its_defaults(photos: Path, out: Path) -> None:
    asked = recipe(photos, TONE)
    head, _, _ = described(asked, out)
    printed = yaml.safe_load(head)
    assert printed == asked.model_dump(mode="json")
    assert Recipe.model_validate(printed) == asked
    assert list(printed)[:3] == ["name", "kind", "source"], "in the order in which one writes them"
    assert printed["limits"]["breaker_count"] == 20


def test_before_the_first_build_the_plan_is_counted(photos: Path, out: Path) -> None:
    _, plan, steps = described(recipe(photos, TONE, ECHO), out)
    assert plan == f"plan: 5 items from {photos}, about 3 shards; nothing is done yet"
    assert steps == {"image": "image", "select": "select", "look": "tone", "again": "echo", "pack": "shards"}
    assert not out.exists()


@pytest.mark.parametrize(("limit", "items"), [(3, "3 items"), (5, "5 items"), (99, "5 items")])
def test_a_limit_cuts_the_plan(photos: Path, out: Path, limit: int, items: str) -> None:
    _, plan, _ = described(recipe(photos), out, limit=limit)
    assert plan.startswith(f"plan: {items} from")


def test_what_is_done_is_counted_in_shards(photos: Path, out: Path) -> None:
    run(recipe(photos, TONE), out)
    before = files(out)
    _, plan, steps = described(recipe(photos, TONE), out)
    assert plan == f"plan (pinned): 5 items in 3 shards from {photos}"
    assert steps == dict.fromkeys(["image", "select", "look", "pack"], "3 of 3 shards done")
    assert files(out) == before


def test_a_build_that_was_stopped_has_something_left(photos: Path, out: Path) -> None:
    run(recipe(photos, TONE), out, only=("image",))
    before = files(out)
    _, _, steps = described(recipe(photos, TONE), out)
    waits = "waits for the columns it is made from"
    assert steps == {"image": "3 of 3 shards done", "select": "0 of 3 shards done", "look": waits, "pack": waits}
    assert files(out) == before


def test_a_stage_that_lacks_a_shard_says_so(photos: Path, out: Path) -> None:
    run(recipe(photos, TONE), out)
    (out / "columns/tone/000001.json").unlink()
    _, _, steps = described(recipe(photos, TONE), out)
    assert steps["look"] == "2 of 3 shards done"
    assert steps["pack"] == "waits for the columns it is made from"


def test_a_new_stage_is_not_done(photos: Path, out: Path) -> None:
    run(recipe(photos, TONE), out)
    _, _, steps = described(recipe(photos, TONE, ECHO), out)
    assert (steps["look"], steps["again"]) == ("3 of 3 shards done", "0 of 3 shards done")


def test_what_would_be_made_again_is_not_done(photos: Path, out: Path) -> None:
    run(recipe(photos, TONE, ECHO), out)
    _, _, steps = described(recipe(photos, TONE, ECHO), out, recompute=("echo",))
    assert (steps["look"], steps["again"]) == ("3 of 3 shards done", "0 of 3 shards done")


def test_what_a_build_would_refuse_is_refused(photos: Path, out: Path) -> None:
    run(recipe(photos, TONE), out)
    before = files(out)
    louder = {"name": "look", "annotators": {"tests.plugins.tone": {"gain": 2.0}}}
    with pytest.raises(ConfigError, match=r"(?s)options of committed work.*gain: 1.0 -> 2.0"):
        described(recipe(photos, louder), out)
    with pytest.raises(ConfigError, match="whose plan is pinned: samples_per_shard: 2 -> 3"):
        described(recipe(photos, TONE, samples_per_shard=3), out)
    with pytest.raises(ConfigError, match="--limit: None -> 2"):
        described(recipe(photos, TONE), out, limit=2)
    assert files(out) == before


def test_a_folder_of_something_else_is_refused(photos: Path, out: Path) -> None:
    out.mkdir()
    (out / "thesis.doc").touch()
    with pytest.raises(ConfigError, match="must be empty or an onegen dataset"):
        described(recipe(photos), out)


def test_an_allowed_change_is_told_as_work(photos: Path, out: Path) -> None:
    run(recipe(photos, TONE), out)
    louder = recipe(photos, {"name": "look", "annotators": {"tests.plugins.tone": {"gain": 2.0}}})
    _, _, steps = described(louder, out, recompute=("tone",))
    assert steps["look"] == "0 of 3 shards done"
    ears = Ears()
    run(louder, out, ears, recompute=("tone",))
    assert ears.begun["look"] == (3, 0), "the build does what was told"
