"""Every pair must be what it says; each is computed a second time here, in another way where there is one.

PYTHONPATH=. python -m pytest tests/demo/test_pairs.py
"""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from onegen.config.recipe import load_recipe
from onegen.demo import photos
from onegen.demo.pairs import write_pairs
from onegen.errors import ConfigError
from onegen.weights.fetch import models_folder
from tests.packaged import photo
from tests.pictures import decode
from tests.tiny import rows, run, statuses


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """The demo photos with the tables of pairs, as the command leaves them."""
    photo("bus.jpg")  # brings them all
    folder = shutil.copytree(
        models_folder().parent / "photos",
        tmp_path_factory.mktemp("demo") / "photos",
        ignore=shutil.ignore_patterns("*.parquet"),
    )
    assert photos.main([str(folder), "--pairs"]) == 0
    return folder


@pytest.fixture(scope="module")
def edits(folder) -> list[dict[str, Any]]:
    return pq.read_table(folder / "edits.parquet").to_pylist()


@pytest.fixture(scope="module")
def subjects(folder) -> list[dict[str, Any]]:
    return pq.read_table(folder / "subjects.parquet").to_pylist()


def sides(edit: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Return source and target as pixels."""
    source, target = (decode(edit[name]["bytes"]) for name in ("src_img", "edited_img"))
    return source, target


MENDS = {"colour", "unframe", "brighten", "fill", "deblur", "refine", "denoise", "remove_text"}


def test_one_side_of_every_edit_is_a_photo_as_it_came(folder, edits):
    assert len({edit["edit_id"] for edit in edits}) == len(edits) >= 25
    for edit in edits:
        whole, other = ("edited", "src") if edit["task"] in MENDS else ("src", "edited")
        assert edit[f"{whole}_img"]["bytes"] == (folder / edit[f"{whole}_img"]["path"]).read_bytes()
        path = folder / edit[f"{whole}_img"]["path"]
        assert edit[f"{whole}_caption"] == path.with_suffix(".txt").read_text().strip()
        assert edit[f"{other}_caption"] is None
        about = json.loads(path.with_suffix(".json").read_text())
        assert [edit["licence"], edit["attribution"], edit["origin"]] == [
            about["licence"], about["attribution"], about["source"],
        ]  # fmt: skip
        assert edit["edited_prompt_list"]
        assert (edit["height"], edit["width"]) == sides(edit)[1].shape[:2]


def is_grey(pixels: np.ndarray) -> bool:
    return bool((pixels.max(axis=2) == pixels.min(axis=2)).all())


def unframed(pixels: np.ndarray, inside: tuple[int, int]) -> np.ndarray:
    top, left = ((whole - part) // 2 for whole, part in zip(pixels.shape, inside, strict=False))
    return pixels[top : top + inside[0], left : left + inside[1]]


def roughness(pixels: np.ndarray) -> float:
    grey = pixels.astype(float).mean(axis=2)
    return float(np.abs(np.diff(grey, axis=0)).mean() + np.abs(np.diff(grey, axis=1)).mean())


TRUE = {
    "black_and_white": lambda source, target: is_grey(target),
    "turn": lambda source, target: (np.rot90(source, 2) == target).all(),
    "mirror": lambda source, target: (np.fliplr(source) == target).all(),
    "frame": lambda source, target: (unframed(target, source.shape[:2]) == source).all() and (target[0] == 255).all(),
    "zoom": lambda source, target: np.allclose(
        np.asarray(Image.fromarray(unframed(source, [n // 2 for n in source.shape[:2]])).resize((16, 16), Image.BOX)),
        np.asarray(Image.fromarray(target).resize((16, 16), Image.BOX)),
        atol=8,
    ),
    "colour": lambda source, target: is_grey(source) and not is_grey(target),
    "unframe": lambda source, target: (unframed(source, target.shape[:2]) == target).all() and (source[0] == 255).all(),
    "brighten": lambda source, target: source.mean() < 0.4 * target.mean(),
    "fill": lambda source, target: (source[(source != target).any(axis=2)] == 0).all(),
    "deblur": lambda source, target: roughness(source) < 0.8 * roughness(target),
    "refine": lambda source, target: roughness(source) < 0.8 * roughness(target),
    "denoise": lambda source, target: roughness(source) > 1.5 * roughness(target),
    "remove_text": lambda source, target: (
        (source >= target).all()
        and (source[(source != target).any(axis=2)] == 255).mean() > 0.5
        and (source[:, [0, -1]] == target[:, [0, -1]]).all()  # the whole word is there
    ),
}


def test_every_edit_does_what_its_words_say(edits):
    assert {edit["task"] for edit in edits} == set(TRUE)
    for edit in edits:
        assert TRUE[edit["task"]](*sides(edit)), edit["edit_id"]


def test_one_edit_changes_nothing_and_the_others_do(edits):
    still = {edit["edit_id"] for edit in edits if edit["change"] < 0.005}
    assert still == {"black_and_white_camera"}
    for edit in edits:
        source, target = sides(edit)
        if source.shape == target.shape:
            difference = np.abs(source.astype(float) - target.astype(float)).mean() / 255
            assert edit["change"] == pytest.approx(difference, abs=1e-4)


def test_subject_pairs_lie_side_by_side_in_white_margins(folder, subjects):
    assert len(subjects) >= 6
    for pair in subjects:
        whole = decode(pair["image"]["bytes"])
        assert whole.shape == (528, 1056, 3)
        for tile in (whole[:, :528], whole[:, 528:]):
            edge = np.ones((528, 528), bool)
            edge[8:520, 8:520] = False
            assert (tile[edge] == 255).all()
            assert tile[8:520, 8:520].std() > 20
        assert pair["description"]["item"]
        assert pair["quality_assessment"] is None, "nobody judged them"
        names = pair["image"]["path"].removesuffix(".png").split("-")
        assert (pair["views"] == "two crops") == (len(set(names)) == 1)
        for name in names:
            about = json.loads((folder / f"{name}.json").read_text())
            assert about["licence"] in pair["licence"]
            assert about["attribution"] in pair["attribution"]
            assert about["source"] in pair["origin"]


def test_a_second_run_leaves_the_tables_alone(folder):
    before = {path: path.stat().st_mtime_ns for path in folder.glob("*.parquet")}
    assert len(before) == 2
    assert write_pairs(folder) == {"edits.parquet": 27, "subjects.parquet": 6}
    assert {path: path.stat().st_mtime_ns for path in folder.glob("*.parquet")} == before


def test_a_users_own_table_is_never_overwritten(folder, tmp_path, capsys):
    own = shutil.copytree(folder, tmp_path / "own")
    (own / "edits.parquet").write_bytes(b"my own edits")
    assert photos.main([str(own), "--pairs"]) == 2
    assert "edits.parquet must be the one this version writes" in capsys.readouterr().err
    assert (own / "edits.parquet").read_bytes() == b"my own edits"


def test_a_photo_that_is_missing_is_named_with_the_command(folder, tmp_path):
    partial = shutil.copytree(folder, tmp_path / "partial")
    (partial / "lion.txt").unlink()
    with pytest.raises(ConfigError, match=r"lion\.txt must be there\. Write it with: python -m onegen\.demo\.photos "):
        write_pairs(partial)


@pytest.mark.parametrize(
    ("name", "verdicts"),
    [
        ("editing", ["ok"] * 2 + ["filtered rule:changed"] + ["ok"] * 24),
        ("subject_driven", ["ok"] * 4 + ["filtered rule:apart"] * 2),
    ],
)
def test_the_recipes_take_the_tables_as_they_are(folder, tmp_path, name, verdicts):
    recipe = load_recipe(Path(__file__).parents[2] / f"pipelines/{name}.yaml")
    source = {**recipe.source, "pairs": str(folder / Path(recipe.source["pairs"]).name)}
    rules = {name: rule for name, rule in recipe.select.keep.items() if rule.startswith("metadata.")}
    select = recipe.select.model_copy(update={"keep": rules})
    bare = recipe.model_copy(update={"source": source, "stages": [], "select": select, "pack": None})
    run(bare, tmp_path / "out")
    assert statuses(tmp_path / "out", "select") == verdicts
    for row in rows(tmp_path / "out", "image"):
        assert row.status == "ok"
        assert row.values["licence"]
        assert row.values["others"][0]["licence"] == row.values["licence"]
