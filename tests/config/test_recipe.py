"""PYTHONPATH=. python -m pytest tests/config/test_recipe.py"""

import pytest
import yaml

from onegen.config.parse import parse
from onegen.config.recipe import RESERVED, ImageConfig, Recipe, load_recipe, make_annotator, make_source
from onegen.config.shipped import recipe_path, shipped_folder
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


def test_recipes_that_ship_are_valid():
    names = {path.stem for path in shipped_folder().glob("*.yaml")}
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
        ({"zzz": 5}, "zzz: unknown key; choose from image, kind, limits"),
        ({"name": "a b"}, "name: "),
        ({"name": None}, "name: "),
        ({"samples_per_shard": 0}, "samples_per_shard: Input should be greater than or equal to 1, got 0"),
        ({"samples_per_shard": "many"}, "got 'many'"),
        ({"image": {"max_side": 4}}, "image.max_side: "),
        ({"select": {"near_duplicates": {"distance": 17}}}, "select.near_duplicates.distance: "),
        ({"select": {"exact_duplicates": "keep"}}, "select.exact_duplicates: Input should be 'drop', got 'keep'"),
        ({"limits": {"failure_rate": 1.5}}, "limits.failure_rate: "),
        ({"stages": [{"name": "A", "annotators": {"hed": {}}}]}, "stages.0.name: "),
        ({"stages": [{"name": "a", "annotators": {}}]}, "stages.0.annotators: "),
        ({"kind": "scene"}, "kind must be 'image' or 'pair' in this version, got 'scene'"),
        ({"kind": "pair", "select": {"near_duplicates": {}}}, "near_duplicates must be null for kind 'pair'"),
        ({"kind": "film"}, "kind: "),
    ],
)
def test_a_mistake_names_its_place_and_the_way_out(change, message):
    assert message in refused({**SMALL, **change})


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
