"""Every recipe that ships runs as it stands, from what the demo leaves (see docs/build.md).

PYTHONPATH=. python -m pytest tests/end_to_end/test_recipes.py -m slow
"""

import re
from pathlib import Path

import pytest

from onegen.audit.show import show
from onegen.audit.verify import verify
from onegen.config.collection import shipped_collections, shipped_recipes
from onegen.config.recipe import load_recipe
from onegen.config.shipped import shipped
from onegen.demo import photos, rooms, scenes
from tests.packaged import bring_models
from tests.tiny import dataset, run

RECIPES = sorted(shipped_recipes())
RUNNABLE = [name for name in RECIPES if not name.endswith("_paper")]
"""Those of the paper want weights of a hub: test_paper_recipes.py."""
FEW = 5
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the demo's photos where recipes look for them."""
    bring_models()
    root = tmp_path_factory.mktemp("home")
    assert photos.main([str(root / "demo" / "photos"), "--pairs", "--people", "--objects"]) == 0
    assert rooms.main([str(root / "demo" / "hypersim")]) == 0
    assert scenes.main([str(root / "demo" / "solids"), "--count", "8"]) == 0
    assert scenes.main([str(root / "demo" / "solids_unseen"), "--count", "4", "--seed", "1"]) == 0
    return root


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNNABLE)
def test_it_builds_what_it_says(name: str, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)
    recipe = load_recipe(shipped() / f"{name}.yaml")
    summary = run(recipe, tmp_path, limit=FEW)
    columns = {column for stage in recipe.stages for column in stage.annotators}
    assert columns <= set(summary.counts)
    for column, counts in summary.counts.items():
        assert counts.failed == 0, column
        assert counts.ok >= 2, column
    assert not list(verify(dataset(tmp_path), full=True))
    assert show(dataset(tmp_path)).width > 1000


def test_those_that_ship_are_those_the_documents_list() -> None:
    tables = re.findall(r"^\| recipe \|.*\n(?:\|.*\n)+", documents(), re.MULTILINE)
    listed = [name for table in tables for name in re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)]
    assert sorted(listed) == RECIPES


def test_recipes_that_documents_name_are_there() -> None:
    assert set(re.findall(r"`pipelines/(\w+)\.yaml`", documents())) <= {*RECIPES, *shipped_collections()}


def documents() -> str:
    """Return the README and everything in docs/ as one text."""
    paths = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    return "\n".join(path.read_text(encoding="utf-8") for path in paths)
