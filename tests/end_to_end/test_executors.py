"""Any number of workers of either kind makes the same dataset, and a dataset has one driver at a time."""

import json
import multiprocessing
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from onegen.build.build import Summary
from onegen.config.recipe import Recipe
from onegen.errors import LeaseHeld
from onegen.shards.manifest import Manifest
from tests.tiny import Ears, make_recipe, packed, run, strays, write_photos


@dataclass(frozen=True)
class Reference:
    """A build in this process, and what it was made from."""

    out: Path
    recipe: Recipe
    summary: Summary


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Reference:
    root = tmp_path_factory.mktemp("executors")
    photos = write_photos(root / "photos", 32, {7: "raise", 20: "a caption"})
    photos[3].write_text("no image")
    stages = [
        {
            "name": "look",
            "annotators": {"tests.plugins.tone": {}, "tests.plugins.poison": {"cure": str(root / "cure")}},
            "batch_size": 3,
        },
        {"name": "again", "annotators": {"tests.plugins.echo": {}}, "where": "tone.mean > 128"},
    ]
    recipe = make_recipe(root / "photos", stages)
    return Reference(root / "out", recipe, run(recipe, root / "out"))


@pytest.mark.parametrize(
    ("workers", "stages"),
    [
        (2, ["image", "select", "look", "again", "pack"]),
        (1, ["look", "pack"]),
        (4, ["look"]),
    ],
)
def test_local_workers_make_the_bytes_of_a_build_in_process(
    reference: Reference, tmp_path: Path, workers: int, stages: list[str]
) -> None:
    """Starting processes is what takes the time, so only one case makes every stage with them."""
    for stage in ("image", "select", "look", "again", "pack"):
        summary = run(reference.recipe, tmp_path / "out", only=(stage,), workers=workers if stage in stages else 0)
    assert summary == reference.summary
    assert packed(tmp_path / "out") == packed(reference.out)
    assert strays(tmp_path / "out") == []


@pytest.mark.usefixtures("ray_session")
def test_ray_actors_make_the_bytes_of_a_build_in_process(reference: Reference, tmp_path: Path) -> None:
    run(reference.recipe, tmp_path / "out", executor="ray", workers=2, only=("image", "select", "look"))
    run(reference.recipe, tmp_path / "out", only=("again",))
    assert run(reference.recipe, tmp_path / "out", executor="ray", workers=2) == reference.summary
    assert packed(tmp_path / "out") == packed(reference.out)
    assert strays(tmp_path / "out") == []


def test_ctrl_c_ends_the_workers_and_the_next_run_goes_on(reference: Reference, tmp_path: Path) -> None:
    class Interrupted(Ears):
        def committed(self, step: str, manifest: Manifest) -> None:
            if step == "look":
                raise KeyboardInterrupt

    run(reference.recipe, tmp_path / "out", only=("image", "select"))
    with pytest.raises(KeyboardInterrupt):
        run(reference.recipe, tmp_path / "out", Interrupted(), workers=2)
    assert multiprocessing.active_children() == []
    assert run(reference.recipe, tmp_path / "out") == reference.summary
    assert strays(tmp_path / "out") == []


def test_a_second_driver_is_refused_while_the_first_works(reference: Reference, tmp_path: Path) -> None:
    out = tmp_path / "out"

    class Rival(Ears):
        def committed(self, step: str, manifest: Manifest) -> None:
            super().committed(step, manifest)
            if manifest.shard != 1:
                return
            with pytest.raises(LeaseHeld, match=r"one driver at a time, and .* is being built by process \d+ on .+"):
                run(reference.recipe, out)
            if step == "image":
                orders = json.dumps({"recipe": reference.recipe.model_dump(mode="json"), "store": str(out)})
                command = [sys.executable, "-m", "tests.driver"]
                ended = subprocess.run(command, input=orders, text=True, capture_output=True)
                assert ended.returncode == 1
                assert "LeaseHeld: dataset must have one driver at a time" in ended.stderr

    rival = Rival()
    assert run(reference.recipe, out, rival) == reference.summary
    assert len(rival.commits) == len(set(rival.commits)) == 4 * 6
    assert strays(out) == []
    assert run(reference.recipe, out) == reference.summary


@pytest.mark.parametrize(("workers", "is_capped"), [(99_999, True), (1, False)])
def test_more_workers_than_a_machine_can_take_are_not_started(tmp_path: Path, workers: int, is_capped: bool) -> None:
    write_photos(tmp_path / "photos", 2)
    ears = Ears()
    recipe = make_recipe(tmp_path / "photos", [], pack=None)
    run(recipe, tmp_path / "out", ears, workers=workers, only=("image",))
    assert any("99,999 workers were asked for; this machine gets" in note for note in ears.notes) is is_capped
