"""PYTHONPATH=. python -m pytest tests/config/test_collection.py"""

from pathlib import Path
from typing import Any

import pytest

from onegen.config.collection import (
    Collection,
    is_collection,
    load_collection,
    recipe_of,
    recipes_in,
    shipped_collections,
    shipped_recipes,
)
from onegen.config.parse import parse
from onegen.errors import ConfigError

GROUPS = {"text_to_image": 2, "image_to_image": 1, "multiview": 1}
PHOTOS = {"recipe": "text_to_image", "group": "text_to_image"}


def collection(groups: dict[str, float] = GROUPS, **datasets: dict[str, Any]) -> Collection:
    return parse(Collection, {"name": "ours", "groups": groups, "datasets": datasets}, "ours.yaml")


def test_budgets_are_shared_by_groups_then_by_rates():
    shares = collection(
        a=PHOTOS, b=PHOTOS | {"rate": 3}, c={"recipe": "image_to_image", "group": "image_to_image"}
    ).shares()
    # No dataset is of multiview: its part goes to the others.
    assert shares == pytest.approx({"a": 2 / 3 / 4, "b": 2 / 3 * 3 / 4, "c": 1 / 3})


@pytest.mark.parametrize(
    ("datasets", "message"),
    [
        ({"a": PHOTOS | {"group": "text2image"}}, "datasets.a.group must be one of groups, got 'text2image'; did you"),
        ({"a": PHOTOS | {"tasks": ["depth2img"]}}, "task must be one of the table's, got 'depth2img'; did you mean"),
        ({"a": PHOTOS | {"tasks": []}}, "at least 1 long"),
        ({"a": PHOTOS | {"rate": 0}}, "datasets.a.rate: must be above 0, got 0"),
        ({"a": PHOTOS | {"target": 0}}, "datasets.a.target: must be at least 1, got 0"),
        ({"a": PHOTOS | {"targets": 5}}, "datasets.a.targets: unknown key"),
        ({"a/b": PHOTOS}, "a dataset must be called by letters, digits, - and _, got 'a/b'"),
        ({"..": PHOTOS}, "a dataset must be called by"),
        ({"ä": PHOTOS}, "a dataset must be called by"),
        ({}, "at least 1 long"),
    ],
)
def test_mistakes_are_named_with_their_place(datasets, message):
    with pytest.raises(ConfigError) as caught:
        collection(**datasets)
    assert message in str(caught.value)


def test_a_group_without_weight_is_refused():
    with pytest.raises(ConfigError, match=r"weight must be above 0, got multiview: 0"):
        collection(groups=GROUPS | {"multiview": 0}, a=PHOTOS)


def test_a_recipe_is_that_of_its_name_with_its_changes():
    ours = collection(a=PHOTOS | {"change": {"source": {"folder": "x"}, "select": {"keep": {"safe": "nsfw < 0.1"}}}})
    recipe = recipe_of(ours, "a", Path())
    assert (recipe.name, recipe.source) == ("a", {"folder": "x"})
    assert recipe.select.keep == {"safe": "nsfw < 0.1"}
    assert [stage.name for stage in recipe.stages] == ["look"]


def test_a_recipe_may_lie_beside_its_collection(tmp_path):
    (tmp_path / "own.yaml").write_text("name: own\nsource: {folder: y}\n")
    (tmp_path / "ours.yaml").write_text(
        "name: ours\ngroups: {all: 1}\ndatasets: {a: {recipe: own.yaml, group: all}, b: {recipe: own.yaml, group: all}}"
    )
    assert {name: recipe.name for name, recipe in recipes_in(tmp_path / "ours.yaml").items()} == {"a": "a", "b": "b"}
    assert list(recipes_in(tmp_path / "own.yaml")) == ["own"]


def test_a_change_to_a_key_that_no_recipe_has_is_named_with_its_dataset():
    ours = collection(a=PHOTOS | {"change": {"sorce": {}}})
    with pytest.raises(ConfigError, match=r"(?s)datasets\.a \(text_to_image with its changes\).*sorce: unknown key"):
        recipe_of(ours, "a", Path())


def test_an_unknown_dataset_is_named_with_the_nearest():
    with pytest.raises(ConfigError, match="got 'pixelprosa'; did you mean 'pixelprose'"):
        collection(pixelprose=PHOTOS).pick(("pixelprosa",))


def test_recipes_and_collections_are_told_apart(tmp_path):
    assert set(shipped_collections()) == {"one_gen", "one_gen_embedded"}
    assert "quickstart" in shipped_recipes()
    assert not set(shipped_recipes()) & set(shipped_collections())
    (tmp_path / "list.yaml").write_text("- a")
    with pytest.raises(ConfigError, match="must be a YAML mapping with name, source and stages, got list"):
        is_collection(tmp_path / "list.yaml")


def test_the_two_one_gens_differ_in_recipes_alone():
    paper, embedded = (load_collection(path) for path in shipped_collections().values())
    assert paper.groups == embedded.groups
    assert list(paper.datasets) == list(embedded.datasets)
    for name, member in paper.datasets.items():
        other = embedded.datasets[name]
        # What has no annotator with weights of a hub has no recipe of the paper's either.
        has_own = f"{other.recipe}_paper" in shipped_recipes()
        assert member.recipe == (f"{other.recipe}_paper" if has_own else other.recipe), name
        assert member.model_copy(update={"recipe": other.recipe}) == other


def test_one_gen_has_the_paper_s_targets_and_equal_budgets():
    one_gen = load_collection(shipped_collections()["one_gen"])
    targets = {name: member.target for name, member in one_gen.datasets.items() if member.target}
    # Paper, sections 4 and 10.
    facts = {"coyo": 11_000_000, "laion_aesthetic": 6_000_000, "degraded": 1_000_000, "things": 350_000}
    facts |= {"depth": 500_000, "people": 50_000, "hypersim": 40_000, "identities": 60_000, "objaverse": 80_000}
    assert targets.items() >= facts.items()
    assert {member.group for member in one_gen.datasets.values()} == set(one_gen.groups)
    assert len(set(one_gen.groups.values())) == 1
    assert sum(one_gen.shares().values()) == pytest.approx(1)
