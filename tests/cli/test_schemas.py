"""The files in schemas/ are as generated, and what a build writes is as they say.

PYTHONPATH=. python -m pytest tests/cli/test_schemas.py
"""

import copy
import json
import tarfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml
from jsonschema import Draft202012Validator, ValidationError
from referencing import Registry, Resource

from onegen.cli.schemas import main, out_of_date, schemas
from onegen.config.collection import shipped_collections, shipped_recipes
from onegen.config.shipped import shipped
from onegen.storage import open_store
from onegen.storage.store import Store
from tests.fabricated import build_here
from tests.pictures import jpeg, png

ROOT = Path(__file__).parents[2]
SCHEMAS = schemas()


def check(name: str, value: object, part: str = "") -> None:
    """Validate a value against a schema, or a part of one, that is registered under its id."""
    schema = SCHEMAS[name]
    registry = Registry().with_resource(schema["$id"], Resource.from_contents(schema))
    Draft202012Validator({"$ref": f"{schema['$id']}{part}"}, registry=registry).validate(value)


def test_the_files_are_as_generated():
    assert out_of_date(ROOT / "schemas") == []
    assert sorted(path.name for path in (ROOT / "schemas").iterdir()) == sorted(SCHEMAS)


def test_the_command_writes_and_checks(tmp_path, capsys):
    assert main(["--check", str(tmp_path)]) == 1
    assert len(capsys.readouterr().out.splitlines()) == len(SCHEMAS)
    assert main([str(tmp_path)]) == 0
    assert main(["--check", str(tmp_path)]) == 0
    (tmp_path / "key.json").write_text("{}")
    assert main(["--check", str(tmp_path)]) == 1
    assert "key.json must be as generated. Run `python -m onegen.cli.schemas" in capsys.readouterr().out


def test_they_are_the_same_every_time():
    assert json.dumps(schemas()) == json.dumps(SCHEMAS)


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_schema_is_one_and_teaches(name):
    schema = SCHEMAS[name]
    Draft202012Validator.check_schema(schema)
    assert schema["$id"] == f"urn:onegen:schema:1:{name.removesuffix('.json')}"
    assert schema["title"]
    assert schema["description"]
    records = [schema, *(schema.get("$defs", {}).values() if name in ("recipe.json", "manifest.json") else [])]
    for record in records:
        for field, described in record["properties"].items():
            assert described.get("description"), f"{name}: {record['title']}.{field} must say what it is"


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    """A dataset with rows of every status, and the packed view of it."""
    root = tmp_path_factory.mktemp("schemas")
    photos = root / "photos"
    photos.mkdir()
    for i in range(5):
        (photos / f"{i}.jpg").write_bytes(jpeg(i, 64, 48))
        (photos / f"{i}.txt").write_text(f"picture {i}")
    (photos / "copy.jpg").write_bytes(jpeg(0, 64, 48))
    (photos / "small.png").write_bytes(png(9, 8, 8))
    (photos / "text.jpg").write_text("no picture")
    recipe = {
        "name": "schemas",
        "source": {"folder": str(photos)},
        "samples_per_shard": 3,
        "image": {"min_side": 16, "licence": "CC0-1.0"},
        "stages": [{"name": "look", "annotators": {"scores": {}}, "where": "image.item <> '1.jpg'"}],
        "select": {"near_duplicates": {"distance": 0}},
        "limits": {"failure_rate": 1},
    }
    store = open_store(root / "out")
    summary = build_here(recipe, store)
    assert (summary.counts["image"].failed, summary.counts["image"].filtered) == (1, 1)
    assert summary.counts["scores"].skipped == 4
    return store


def test_the_card_fits(store):
    card = json.loads(store.read("dataset.json"))
    check("dataset.json", card)
    check("recipe.json", card["recipe"])


def test_manifests_fit(store):
    found = 0
    for column in [*(f"columns/{name}" for name in store.folders("columns")), "shards"]:
        for name in store.names(column):
            if name.endswith(".json"):
                check("manifest.json", json.loads(store.read(f"{column}/{name}")))
                found += 1
    assert found == 3 * 4


def rows(store: Store, folder: str) -> list[dict]:
    found: list[dict] = []
    for name in store.names(folder):
        if name.endswith(".parquet"):
            with store.open(f"{folder}/{name}") as file:
                found += pq.read_table(file).to_pylist()
    assert found
    return found


def test_rows_of_the_plan_fit(store):
    for row in rows(store, "plan"):
        check("plan.json", row)


@pytest.mark.parametrize("column", ["image", "select", "scores", "shards"])
def test_rows_of_the_index_fit(store, column):
    statuses = set()
    for row in rows(store, column if column == "shards" else f"columns/{column}"):
        check("index.json", row)
        check("index.json", row, f"#/$defs/{column}")
        statuses.add(row["status"])
    assert len(statuses) > 1


def test_every_field_of_an_index_is_described(store):
    for column in ("image", "select", "scores", "shards"):
        known = {**SCHEMAS["index.json"]["properties"], **SCHEMAS["index.json"]["$defs"][column]["properties"]}
        folder = column if column == "shards" else f"columns/{column}"
        assert set(rows(store, folder)[0]) <= set(known)


def key_files(store: Store) -> list[dict]:
    found = []
    for name in store.names("shards"):
        if name.endswith(".tar"):
            with store.open(f"shards/{name}") as file, tarfile.open(fileobj=file) as archive:
                found += [json.loads(archive.extractfile(m).read()) for m in archive if m.name.endswith(".json")]
    return found


def test_key_files_fit(store):
    found = key_files(store)
    assert len(found) == 5
    for about in found:
        check("key.json", about)
    assert sum("missing" in about for about in found) == 1
    assert {about["caption"] for about in found} == {f"picture {i}" for i in range(5)}


def test_recipes_that_ship_fit():
    training = {path.stem: path for path in (shipped() / "train").glob("*.yaml")}
    for schema, found in (
        ("recipe.json", shipped_recipes()),
        ("collection.json", shipped_collections()),
        ("training.json", training),
    ):
        assert found
        for path in found.values():
            check(schema, yaml.safe_load(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("dataset.json", {"schema_version": 2}),
        ("dataset.json", {"state": "half"}),
        ("dataset.json", {"more": 1}),
        ("recipe.json", {"samples_per_shard": 0}),
        ("recipe.json", {"sampels_per_shard": 5}),
        ("key.json", {"phash": 5}),
        ("key.json", {"annotations": {"scores": {"sharpness": "very"}}}),
        ("key.json", {"missing": []}),
    ],
)
def test_what_breaks_a_rule_does_not_fit(store, name, change):
    card = json.loads(store.read("dataset.json"))
    good = {"dataset.json": card, "recipe.json": card["recipe"], "key.json": key_files(store)[0]}[name]
    check(name, good)
    with pytest.raises(ValidationError):
        check(name, {**copy.deepcopy(good), **change})
