"""PYTHONPATH=. python -m pytest tests/config/test_recipe.py"""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from onegen.config.collection import shipped_recipes
from onegen.config.parse import Config, parse
from onegen.config.recipe import RESERVED, ImageConfig, Recipe, load_recipe, make_annotator, make_source
from onegen.config.shipped import recipe_path, shipped
from onegen.errors import ConfigError

SMALL = {"name": "street", "source": {"folder": "photos"}}
FULL = """
name: street
source: {folder: ./photos}
samples_per_shard: 1000
image: {min_side: 256, max_side: 1024, licence: CC-BY-4.0}
stages:
  - {name: look, annotators: {scores: {}, nsfw: }, workers: 2}
  - {name: edges, annotators: {hed: {}}, where: "nsfw < 0.5", batch_size: 4}
select: {exact_duplicates: drop, near_duplicates: {distance: 4}, keep: {sharp: scores.sharpness > 10}}
pack: {columns: [image, hed]}
"""


def load(tmp_path, text: str) -> Recipe:
    path = tmp_path / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    return load_recipe(path)


def refused(data: dict) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(Recipe, data, "recipe.yaml")
    assert str(caught.value).startswith("recipe.yaml must be mended:\n")
    return str(caught.value)


def test_a_small_recipe_has_every_default():
    recipe = parse(Recipe, SMALL, "recipe.yaml")
    assert (recipe.kind, recipe.samples_per_shard, recipe.stages, recipe.where) == ("image", 1000, [], None)
    assert recipe.image == ImageConfig()
    assert (recipe.image.max_side, recipe.image.max_pixels) == (1024, 100_000_000)
    assert recipe.select.near_duplicates is None
    assert recipe.pack.require == ["image"]


def test_a_full_recipe_is_read_as_it_says(tmp_path):
    recipe = load(tmp_path, FULL)
    assert [(stage.name, dict(stage.annotators)) for stage in recipe.stages] == [
        ("look", {"scores": {}, "nsfw": {}}),
        ("edges", {"hed": {}}),
    ]
    assert recipe.stages[1].where == "nsfw < 0.5"
    assert recipe.select.near_duplicates.distance == 4
    assert recipe.pack.columns == ["image", "hed"]


@pytest.mark.parametrize(
    ("text", "key", "lines"),
    [
        ("name: a\nsource: {folder: x}\nname: b\n", "name", (1, 3)),
        ("name: a\nsource:\n  folder: x\n  sidecars: true\n  folder: y\n", "folder", (3, 5)),
        ("name: a\nimage: {min_side: 1,\n  min_side: 2}\n", "min_side", (2, 3)),
        ("name: a\nimage: {min_side: 1, min_side: 1}\n", "min_side", (2, 2)),
    ],
)
def test_a_key_given_twice_is_refused_with_its_lines(tmp_path, text, key, lines):
    message = rf"recipe.yaml: keys must be unique, got '{key}' in line {lines[0]} and again in line {lines[1]}\."
    with pytest.raises(ConfigError, match=message):
        load(tmp_path, text)


def test_what_is_merged_may_be_overridden(tmp_path):
    text = "name: a\nsource: {folder: x}\nlimits: {<<: {load_seconds: 5}}\n"
    recipe = load(tmp_path, f"{text}select: {{near_duplicates: {{<<: {{distance: 2}}, distance: 3}}}}\n")
    assert (recipe.select.near_duplicates.distance, recipe.limits.load_seconds) == (3, 5)


def test_what_is_printed_can_be_built(tmp_path):
    recipe = load(tmp_path, FULL)
    assert load(tmp_path, yaml.safe_dump(recipe.model_dump(mode="json"))) == recipe


def test_no_two_files_that_ship_have_one_name():
    names = [path.stem for path in shipped().glob("**/*.yaml")]
    assert len(names) == len(set(names))


def test_recipes_that_ship_are_valid():
    # Those of the paper want weights of a hub: tests/end_to_end/test_paper_recipes.py.
    names = {name for name in shipped_recipes() if not name.endswith("_paper")}
    assert {"quickstart", "text_to_image", "editing", "subject_driven"} <= names
    for name in names:
        recipe = load_recipe(recipe_path(name))
        assert make_source(recipe.source).kind == recipe.kind
        for stage in recipe.stages:
            for annotator, options in stage.annotators.items():
                make_annotator(annotator, options)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sampels_per_shard": 5}, "sampels_per_shard: unknown key; did you mean 'samples_per_shard'?"),
        ({"image": {"max_sied": 5}}, "image.max_sied: unknown key; did you mean 'max_side'?"),
        ({"select": {"near_duplicates": {"distanc": 5}}}, "unknown key; did you mean 'distance'?"),
        ({"stages": [{"name": "a", "annotators": {"hed": {}}, "batchsize": 1}]}, "did you mean 'batch_size'?"),
        ({"zzz": 5}, "zzz: unknown key; choose from collected, image, incomplete"),
        ({"name": "my dataset"}, "such as my-dataset, got 'my dataset'"),
        ({"name": None}, "name: must be text, such as my-dataset, got None"),
        ({"source": "./photos"}, "source: must be a mapping, such as {folder: ./photos}, got './photos'"),
        (
            {"source": ["a.tar", "b.tar"]},
            "source: must be a mapping, such as {folder: ./photos}, got ['a.tar', 'b.tar']",
        ),
        ({"samples_per_shard": 0}, "samples_per_shard: must be at least 1, got 0"),
        ({"samples_per_shard": "many"}, "samples_per_shard: must be a whole number, got 'many'"),
        ({"image": {"max_side": 4}}, "image.max_side: must be at least 16, got 4"),
        ({"image": {"max_side": 64.5}}, "image.max_side: must be a whole number, got 64.5"),
        ({"image": 5}, "image: must be a mapping, got 5"),
        (
            {"select": {"near_duplicates": {"distance": 17}}},
            "select.near_duplicates.distance: must be at most 8, got 17",
        ),
        ({"select": {"near_duplicates": 4}}, "near_duplicates: must be a mapping, such as {distance: 4}, got 4"),
        ({"select": {"exact_duplicates": "keep"}}, "select.exact_duplicates: must be 'drop', got 'keep'"),
        ({"select": {"keep": "scores.sharpness > 10"}}, "a mapping, such as {sharp: scores.sharpness > 10}, got "),
        ({"pack": {"columns": "image"}}, "pack.columns: must be a list, such as [image, depth], got 'image'"),
        ({"limits": {"failure_rate": 1.5}}, "limits.failure_rate: must be at most 1, got 1.5"),
        ({"limits": {"batch_seconds": 0}}, "limits.batch_seconds: must be above 0, got 0"),
        ({"stages": [{"name": "A", "annotators": {"hed": {}}}]}, "stages.0.name: must be text of the form ^[a-z]"),
        (
            {"stages": [{"name": "a", "annotators": {}}]},
            "annotators: must be at least 1 long, such as {scores: {}, nsfw: {}}",
        ),
        ({"stages": [{"name": "a", "annotators": ["x", "y"]}]}, "such as {scores: {}, nsfw: {}}, got ['x', 'y']"),
        ({"stages": [{"name": "a", "annotators": {"x": True}}]}, "stages.0.annotators.x: must be a mapping, got True"),
        (
            {"stages": ["scores"]},
            "stages.0: must be a mapping, such as {name: look, annotators: {scores: {}, nsfw: {}}}",
        ),
        ({"stages": {"name": "a"}}, "stages: must be a list, such as [{name: look, "),
        ({"kind": "scene", "select": {"near_duplicates": {}}}, "near_duplicates must be null for kind 'scene'"),
        ({"kind": "identity"}, "collected must say how the subjects were collected"),
        ({"kind": "identity", "collected": "asked"}, "image.licence must name the licence of the source"),
        ({"incomplete": "fail"}, "must stand with kind identity or scene, got kind 'image'"),
        ({"kind": "pair", "select": {"near_duplicates": {}}}, "near_duplicates must be null for kind 'pair'"),
        ({"kind": "film"}, "kind: "),
    ],
)
def test_a_mistake_names_its_place_and_the_way_out(change, message):
    assert message in refused({**SMALL, **change})


WRONG = ("x y", 5, 5.5, None, True, [], ["a"], {}, {"a": "b"}, "\x00", float("nan"))
"""Values of every kind that YAML gives."""


def places(kind: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield where the fields of a model and of the models in it are."""
    for name, field in kind.model_fields.items():
        yield (*path, name)
        for inner in (field.annotation, *getattr(field.annotation, "__args__", ())):
            if isinstance(inner, type) and issubclass(inner, Config) and "annotators" not in inner.model_fields:
                yield from places(inner, (*path, name))


@pytest.mark.parametrize("path", [*places(Recipe), ("stages", "name"), ("stages", "annotators")], ids=".".join)
@pytest.mark.parametrize("wrong", WRONG, ids=repr)
def test_no_word_of_the_library_reaches_a_user(path, wrong):
    data: Any = wrong
    for name in reversed(path):
        data = {name: data}
    if path[0] == "stages" and len(path) > 1:
        data = {"stages": [{"name": "look", "annotators": {"hed": {}}, **data["stages"]}]}
    message = ""
    try:
        parse(Recipe, {**SMALL, **data}, "recipe.yaml")
    except ConfigError as error:
        message = str(error)
    assert not re.search("Input|should|dictionary|string|Value error|pydantic|instance", message)


def test_every_mistake_is_told_at_once():
    text = refused({"source": [], "samples_per_shard": 0, "imgae": {}})
    assert len(text.splitlines()) == 5
    for key in ("name", "source", "samples_per_shard", "imgae"):
        assert f"  {key}: " in text


def stage(name: str, *annotators: str) -> dict:
    return {"name": name, "annotators": {annotator: {} for annotator in annotators}}


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ([stage("a", "hed"), stage("a", "nsfw")], "stage names must be unique, got 'a' twice"),
        ([stage("a", "hed"), stage("b", "hed")], "annotator names must be unique, got 'hed' twice"),
        *[([stage(name, "hed")], f"must not be {', '.join(RESERVED)}, got '{name}'") for name in RESERVED],
        ([stage("a", "image")], "got 'image'"),
    ],
)
def test_names_are_taken_once(stages, message):
    assert message in refused({**SMALL, "stages": stages})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must be a YAML mapping with name, source and stages, got NoneType"),
        ("- a\n- b", "got list"),
        ("a: [1, 2", "must be readable YAML: "),
        ("name: \x00", "must be readable YAML: "),
    ],
)
def test_a_file_that_is_no_recipe_says_so(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message):
        load(tmp_path, text)


def test_a_recipe_that_is_not_there_or_not_text(tmp_path):
    with pytest.raises(ConfigError, match=r"must be a file, got .*none\.yaml.*pipelines/"):
        load_recipe(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="must be readable YAML"):
        load_recipe(tmp_path)
    (tmp_path / "latin.yaml").write_bytes("name: é".encode("latin-1"))
    with pytest.raises(ConfigError, match="must be readable YAML"):
        load_recipe(tmp_path / "latin.yaml")


def test_a_source_is_named_by_its_key():
    source = make_source({"folder": "photos", "sidecars": False})
    assert (source.name, source.folder, source.sidecars) == ("folder", "photos", False)


@pytest.mark.parametrize(
    ("described", "message"),
    [
        ({"foldr": "x"}, "source must name one of .*folder.*did you mean 'folder'"),
        ({}, "source must name one of"),
        ({"folder": "x", "sidecar": False}, "source 'folder' has no option 'sidecar'; did you mean 'sidecars'"),
        ({"folder": "x", "sidecars": "perhaps"}, "options of 'folder' must be mended:\n  sidecars: "),
        ({"folder": None}, "options of 'folder' must be mended:\n  folder: "),
        ({"webdataset": ["a.tar", "b.tar"]}, r"must be one path or URL, got \['a.tar', 'b.tar'\]. .*'data/\*.tar'"),
        ({"nowhere.module": "x"}, "'nowhere.module' is unknown"),
    ],
)
def test_a_wrong_source_names_the_nearest(described, message):
    with pytest.raises(ConfigError, match=message):
        make_source(described)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("hedd", {}, "annotators 'hedd' is unknown; did you mean 'hed'"),
        ("scores", {"longer": 5}, "annotator 'scores' has no option 'longer'"),
    ],
)
def test_a_wrong_annotator_names_the_nearest(name, options, message):
    with pytest.raises(ConfigError, match=message):
        make_annotator(name, options)


def test_a_folder_of_its_name_hides_no_shipped_recipe(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "quickstart").mkdir()
    assert recipe_path("quickstart").suffix == ".yaml"
