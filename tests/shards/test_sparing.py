"""A process that is ours never imports pandas for pyarrow's sake, and who wants tables as pandas' still gets them."""

import subprocess
import sys

import pytest

from tests.tiny import make_recipe, write_photos

BUILDS = """
import sys
from pathlib import Path
from onegen.config.recipe import Recipe
from tests.tiny import run
run(Recipe.model_validate_json(Path("recipe.json").read_text()), "out")
print("pandas" in sys.modules)
"""
ASKS = """
import sys
import pyarrow as pa
from onegen.shards.sparing import spare_pandas
spare_pandas()
table = pa.Table.from_pylist([{"a": 1}, {"a": None}])
assert "pandas" not in sys.modules
assert not any("sparing" in type(finder).__module__ for finder in sys.meta_path)
assert table.to_pandas().a.sum() == 1
import pandas as pd
assert pa.Table.from_pandas(pd.DataFrame({"x": [1, 2]})).to_pydict() == {"x": [1, 2]}
assert pa.array(pd.Series([1.0, 2.0])).to_pylist() == [1.0, 2.0]
spare_pandas()
assert pa.array(pd.Categorical(["a", "b"])).type.index_type is not None
print("asked")
"""


def answer(program: str, folder: object) -> str:
    done = subprocess.run([sys.executable, "-c", program], cwd=str(folder), capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[-1]


def test_a_build_imports_no_pandas(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", ":".join(path for path in sys.path if path))
    write_photos(tmp_path / "photos", 3)
    recipe = make_recipe(tmp_path / "photos", [{"name": "look", "annotators": {"tests.plugins.tone": {}}}])
    (tmp_path / "recipe.json").write_text(recipe.model_dump_json())
    assert answer(BUILDS, tmp_path) == "False"


def test_who_asks_for_pandas_gets_it(tmp_path):
    pytest.importorskip("pandas")
    assert answer(ASKS, tmp_path) == "asked"
