"""A collection of two datasets, from the command line: built, stopped, looked at, checked.

PYTHONPATH=. python -m pytest tests/end_to_end/test_collection.py
"""

from pathlib import Path

import pytest
import yaml

from onegen.config.collection import load_collection
from onegen.config.shipped import recipe_path
from onegen.shards.dataset import Dataset
from onegen.storage.local import LocalStore
from tests.cli.test_app import invoke
from tests.one_gen import write_sources
from tests.packaged import bring_models
from tests.tiny import write_photos

STAGES = [{"name": "look", "annotators": {"tests.plugins.tone": {}}}]


@pytest.fixture
def ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of a collection of two datasets of three and two photos, run from its folder."""
    monkeypatch.chdir(tmp_path)
    write_photos(tmp_path / "few", 2)
    write_photos(tmp_path / "more", 3)
    recipe = {"name": "any", "source": {"folder": "more"}, "samples_per_shard": 2, "stages": STAGES}
    (tmp_path / "photos.yaml").write_text(yaml.safe_dump(recipe))
    more = {"recipe": "photos.yaml", "group": "all", "target": 4, "rate": 3}
    few = {"recipe": "photos.yaml", "group": "all", "change": {"source": {"folder": "few"}}}
    path = tmp_path / "ours.yaml"
    described = {"name": "ours", "groups": {"all": 1}, "datasets": {"more": more, "few": few}}
    path.write_text(yaml.safe_dump(described, sort_keys=False))
    return path


def digest(folder: Path) -> str | None:
    return Dataset(LocalStore(str(folder))).require_card().digest


def test_it_builds_each_dataset_as_its_recipe_alone_would(ours: Path, tmp_path: Path) -> None:
    built = invoke("build", ours, "out", "--workers", 0)
    assert built.exit_code == 0, built.output
    assert "more (1 of 2)" in built.stderr
    alone = yaml.safe_load((tmp_path / "photos.yaml").read_text()) | {"name": "more"}
    (tmp_path / "alone.yaml").write_text(yaml.safe_dump(alone))
    assert invoke("build", "alone.yaml", "alone", "--workers", 0).exit_code == 0
    assert digest(tmp_path / "out/more") == digest(tmp_path / "alone")
    again = invoke("build", ours, "out", "--workers", 0)
    assert again.exit_code == 0
    assert digest(tmp_path / "out/more") == digest(tmp_path / "alone")


def test_its_status_tells_each_dataset_beside_its_target(ours: Path) -> None:
    assert invoke("build", ours, "out", "--workers", 0, "--dataset", "more").exit_code == 0
    shown = invoke("status", "out")
    assert shown.exit_code == 0
    lines = {line.split("│")[1].strip(): line for line in shown.stdout.splitlines() if line.startswith("│")}
    assert [word in lines["more"] for word in ("75.0%", "complete", "4", "3")] == [True] * 4
    assert [word in lines["few"] for word in ("25.0%", "absent")] == [True] * 2
    checked = invoke("verify", "out", "--full")
    assert checked.exit_code == 0
    assert "out/more is sound" in checked.stdout
    assert "not built yet: few" in checked.stdout
    (next(Path("out/more/shards").glob("*.tar"))).write_bytes(b"")
    assert invoke("verify", "out").exit_code == 1


def test_what_cannot_be_built_is_named_before_anything_is(ours: Path, tmp_path: Path) -> None:
    described = yaml.safe_load(ours.read_text())
    described["datasets"]["few"]["change"]["stages"] = [{"name": "look", "annotators": {"hedd": {}}}]
    ours.write_text(yaml.safe_dump(described))
    refused = invoke("build", ours, "out", "--workers", 0)
    assert refused.exit_code == 2
    assert "1 dataset(s) cannot be built:\n  few:" in refused.stderr
    assert "--dataset more" in refused.stderr
    assert not (tmp_path / "out").exists()
    assert invoke("build", ours, "out", "--workers", 0, "--dataset", "more").exit_code == 0


def test_a_source_that_is_not_there_costs_its_dataset_alone(ours: Path, tmp_path: Path) -> None:
    described = yaml.safe_load(ours.read_text())
    described["datasets"]["more"]["change"] = {"source": {"folder": "nowhere"}}
    ours.write_text(yaml.safe_dump(described))
    dry = invoke("build", ours, "out", "--dry-run")
    assert dry.exit_code == 2
    assert "error: more: source folder must exist" in dry.stderr
    assert "plan: 2 items" in dry.stdout
    built = invoke("build", ours, "out", "--workers", 0)
    assert built.exit_code == 2
    assert "error: more: source folder must exist" in built.stderr
    assert digest(tmp_path / "out/few") is not None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--dataset", "fewer"], "--dataset must be one of the collection ours, got 'fewer'; did you mean 'few'"),
        (["--only", "look"], "--only must be told of one dataset, got 2. Add --dataset NAME."),
        (["--recompute", "look"], "--recompute must be told of one dataset, got 2"),
    ],
)
def test_what_fits_no_collection_is_refused(ours: Path, words: list[str], message: str) -> None:
    refused = invoke("build", ours, "out", *words)
    assert refused.exit_code == 2
    assert message in refused.stderr


def test_a_recipe_has_no_datasets_and_another_collection_another_folder(ours: Path, tmp_path: Path) -> None:
    refused = invoke("build", "photos.yaml", "out", "--dataset", "few")
    assert (refused.exit_code, "--dataset must be told of a collection" in refused.stderr) == (2, True)
    assert invoke("build", ours, "out", "--workers", 0, "--limit", 1).exit_code == 0
    ours.write_text(ours.read_text().replace("name: ours", "name: theirs"))
    other = invoke("build", ours, "out", "--workers", 0)
    assert (other.exit_code, "it holds 'ours'" in other.stderr) == (2, True)
    inside = invoke("build", ours, "out/few", "--workers", 0)
    assert (inside.exit_code, "must hold no dataset itself" in inside.stderr) == (2, True)


def test_verbs_of_one_dataset_name_those_of_a_collection(ours: Path) -> None:
    assert invoke("build", ours, "out", "--workers", 0, "--dataset", "more").exit_code == 0
    for words in (["show", "out", "--out", "sheet.png"], ["query", "out", "SELECT 1"], ["retry", "out"]):
        refused = invoke(*words)
        assert refused.exit_code == 2
        assert "is a collection of them. Name one: out/more." in refused.stderr


def test_a_damaged_collection_is_one_line(ours: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/collection.json").write_text('{"name": "ours"}')
    shown = invoke("status", "out")
    assert shown.exit_code == 2
    assert "out/collection.json must be what `onegen build COLLECTION OUT` writes" in shown.stderr


def test_the_doctor_asks_dataset_by_dataset(ours: Path) -> None:
    asked = invoke("doctor", ours, "out")
    assert asked.exit_code == 0, asked.output
    assert "more:" in asked.stdout
    assert "few:" in asked.stdout


def test_a_dry_run_of_the_embedded_one_gen_shows_every_dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bring_models()
    monkeypatch.chdir(tmp_path)
    write_sources(tmp_path / "data")
    shown = invoke("build", "one_gen_embedded", "out", "--dry-run")
    assert shown.exit_code == 0, shown.output
    datasets = load_collection(recipe_path("one_gen_embedded")).datasets
    assert shown.stdout.count("nothing is done yet") == len(datasets)
    for name in datasets:
        assert f"# {name}: " in shown.stdout
