"""Whatever stops a build of identities or scenes: the same command again ends with the bytes of one never stopped.

PYTHONPATH=. python -m pytest tests/end_to_end/test_crash_sets.py
"""

import shutil
from pathlib import Path

import pytest

from onegen.audit.verify import verify
from onegen.config.recipe import Recipe
from tests.broken_stores import Crash, CrashingStore
from tests.end_to_end import test_identities as identities
from tests.end_to_end import test_scenes as scenes
from tests.tiny import committed, damaged, dataset, packed, run, statuses, strays


def of_identities(root: Path) -> Recipe:
    """Subjects in two shards: an image that is none, one that is rejected, a repetition, a subject with one image."""
    people = identities.write(root / "people", {"ada": 5, "bob": 4, "cyd": 1})
    (people / "ada/1.png").write_bytes(b"no picture")
    shutil.copy(people / "bob/0.png", people / "bob/9.png")
    then = {"name": "then", "annotators": {"tests.plugins.shade": {}}}
    return identities.recipe(people, identities.TONE, then, samples_per_shard=6)


def of_scenes(root: Path) -> Recipe:
    """Scenes in two shards, one with a view that is none."""
    captures = scenes.write(root / "captures")
    (captures / "1K/aaa/images/001.png").write_bytes(b"no picture")
    return scenes.recipe(captures, scenes.TONE, samples_per_shard=8)


@pytest.mark.parametrize(
    ("make", "step"),
    [
        (of_scenes, 7),
        pytest.param(of_identities, 1, marks=pytest.mark.slow),
        pytest.param(of_scenes, 1, marks=pytest.mark.slow),
    ],
)
def test_a_crash_at_every_change_loses_and_repeats_nothing(make, step, tmp_path, monkeypatch):
    monkeypatch.setattr("os.fsync", lambda descriptor: None)
    recipe = make(tmp_path)
    whole = CrashingStore(str(tmp_path / "whole"))
    summary = run(recipe, whole)
    assert len(dataset(tmp_path / "whole").shards("image")) == 2
    assert "ok" in statuses(tmp_path / "whole", "shards")
    for at in range(1, len(whole.changes) + 1, step):
        out = tmp_path / str(at)
        with pytest.raises(Crash):
            run(recipe, CrashingStore(str(out), at))
        where = f"crash at change {at}, {' '.join(whole.changes[at - 1])}"
        assert damaged(out) == [], where
        before = committed(out)
        assert run(recipe, out).digest == summary.digest, where
        assert packed(out) == packed(tmp_path / "whole"), where
        after = committed(out)
        assert {name: after[name] for name in before} == before, f"{where}: committed work was done again"
        assert strays(out) == [], where
        shutil.rmtree(out)
    assert list(verify(dataset(tmp_path / "whole"), full=True)) == []
