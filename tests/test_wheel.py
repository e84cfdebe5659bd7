"""The wheel holds all that a build needs: install it beside nothing of this checkout, and build with it.

PYTHONPATH=. python -m pytest tests/test_wheel.py
"""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from onegen.cli.schemas import schemas
from tests.pictures import jpeg

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True, cwd=out)
    (found,) = out.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """A folder that holds the installed wheel and nothing else of onegen."""
    folder = tmp_path_factory.mktemp("installed")
    options = ["--no-deps", "--no-index", "--disable-pip-version-check", "--quiet", "--target", str(folder)]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, str(wheel)], check=True)
    return folder


def run(installed: Path, cwd: Path, *command: str) -> str:
    """Run Python on the installed wheel, far from the checkout, and return what it prints."""
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    done = subprocess.run(
        [sys.executable, *command], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_wheel_holds_code_recipes_and_schemas_and_no_tests(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {f"onegen/_shipped/schemas/{name}" for name in schemas()} <= set(names)
    assert "onegen/annotators/depth/depth_head.onnx" in names
    assert {f"onegen/_shipped/pipelines/{path.name}" for path in (ROOT / "pipelines").glob("*.yaml")} <= set(names)
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "onegen").rglob("*.py")}
    assert {name for name in names if name.endswith(".py")} == modules
    assert {name.split("/")[0].partition("-")[0] for name in names} == {"onegen"}


def test_recipes_and_schemas_are_found_in_the_package(installed, tmp_path):
    program = (
        "import json, onegen, onegen.cli.schemas\n"
        "from onegen.config.shipped import recipe_path, shipped\n"
        "recipe = json.loads((shipped('schemas') / 'recipe.json').read_text())\n"
        "print(json.dumps([onegen.__file__, str(shipped()), str(recipe_path('quickstart')), recipe['$id'],\n"
        "    onegen.cli.schemas.out_of_date(shipped('schemas'))]))"
    )
    module, folder, recipe, schema, stale = json.loads(run(installed, tmp_path, "-c", program))
    package = str(installed / "onegen")
    assert module.startswith(package)
    assert folder == f"{package}/_shipped/pipelines"
    assert recipe == f"{package}/_shipped/pipelines/quickstart.yaml"
    assert schema == "urn:onegen:schema:1:recipe"
    assert stale == []
    constraints = run(installed, tmp_path, "-m", "onegen", "constraints")
    assert constraints == (ROOT / "constraints.txt").read_text()


def test_a_dataset_is_built_from_it(installed, tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    for i in range(5):
        (photos / f"{i}.jpg").write_bytes(jpeg(i, 200, 150))
    (tmp_path / "recipe.yaml").write_text(
        "name: wheel\nsource: {folder: photos}\nsamples_per_shard: 3\n"
        "stages:\n  - {name: look, annotators: {scores: {}}}\n"
    )
    onegen = str(installed / "bin" / "onegen")
    run(installed, tmp_path, onegen, "build", "recipe.yaml", "out", "--workers", "1")
    card = json.loads((tmp_path / "out/dataset.json").read_text())
    assert card["state"] == "complete"
    assert card["columns"]["scores"]["counts"]["ok"] == 5
    assert sorted(path.name for path in (tmp_path / "out/shards").glob("*.tar")) == ["000000.tar", "000001.tar"]
    assert "is sound" in run(installed, tmp_path, onegen, "verify", "out", "--full")
