"""From a recipe to steps: order, and columns that are called otherwise than their annotators.

PYTHONPATH=. python -m pytest tests/build/test_assemble.py
"""

import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from onegen.build.assemble import make_steps
from onegen.config.recipe import Recipe, make_source
from onegen.errors import ConfigError
from onegen.storage.local import LocalStore
from tests.tiny import Ears, make_recipe, packed, rows, run, statuses, write_photos

TONE = "tests.plugins.tone"


def steps(recipe: Recipe) -> list[tuple[str, tuple[str, ...]]]:
    """Return name and columns of each step of a recipe."""
    made = make_steps(recipe, make_source(recipe.source), LocalStore("nowhere"))
    return [(step.name, step.columns) for step in made]


def two_of_one(photos: Path, **changes: Any) -> Recipe:
    """Return a recipe with two columns by one annotator, each with options of its own."""
    stages = [{"name": "look", "annotators": {TONE: {}, "tone_b": {"use": TONE, "gain": 1.5}}}]
    return make_recipe(photos, stages, **changes)


@pytest.fixture
def photos(tmp_path):
    write_photos(tmp_path / "photos", 6)
    return tmp_path / "photos"


def test_steps_go_ingest_what_select_needs_select_the_rest_pack(photos):
    stages = [
        {"name": "late", "annotators": {"tests.plugins.echo": {}}},
        {"name": "early", "annotators": {TONE: {}}},
    ]
    recipe = make_recipe(photos, stages, select={"keep": {"light": "tone.mean > 1"}})
    assert steps(recipe) == [
        ("image", ("image",)),
        ("early", ("tone",)),
        ("select", ("select",)),
        ("late", ("echo",)),
        ("pack", ("shards",)),
    ]


def test_two_columns_of_one_annotator_live_in_one_dataset(photos, tmp_path):
    out = tmp_path / "out"
    summary = run(two_of_one(photos, where="tone_b.mean > tone.mean"), out)
    assert {"tone", "tone_b"} <= set(summary.counts)
    plain, lifted = rows(out, "tone"), rows(out, "tone_b")
    assert all(b.values["mean"] > a.values["mean"] for a, b in zip(plain, lifted, strict=True))
    # A part of a renamed column carries its name, so that both fit into one packed sample.
    assert {member.name for row in plain for member in row.parts} == {"tone.png"}
    assert {member.name for row in lifted for member in row.parts} == {"tone_b.png"}
    with tarfile.open(out / "shards/000000.tar") as archive:
        names = [name.partition(".")[2] for name in archive.getnames()]
        about = json.loads(archive.extractfile(next(n for n in archive.getnames() if n.endswith(".json"))).read())
    assert names.count("tone.png") == names.count("tone_b.png") == 6
    assert set(about["annotations"]) == {"tone", "tone_b"}


def test_what_requires_a_column_reads_the_one_of_its_name(photos, tmp_path):
    recipe = two_of_one(photos)
    stage = {"name": "again", "annotators": {"tests.plugins.echo": {}, "echo_b": {"use": "tests.plugins.echo"}}}
    both = recipe.model_copy(update={"stages": [*recipe.stages, type(recipe.stages[0]).model_validate(stage)]})
    run(both, tmp_path / "out")
    for column in ("echo", "echo_b"):
        expected = [row.values["mean"] for row in rows(tmp_path / "out", "tone")]
        assert [row.values["mean"] for row in rows(tmp_path / "out", column)] == expected


def test_another_name_is_another_column_and_leaves_the_first_alone(photos, tmp_path):
    out = tmp_path / "out"
    run(make_recipe(photos, [{"name": "look", "annotators": {TONE: {}}}]), out)
    before = sorted(path.name for path in (out / "columns/tone").iterdir())
    ears = Ears()
    run(two_of_one(photos), out, ears)
    assert {column for column, _ in ears.commits} == {"tone_b", "shards"}
    assert sorted(path.name for path in (out / "columns/tone").iterdir()) == before
    assert statuses(out, "tone_b") == ["ok"] * 6
    assert packed(out)


@pytest.mark.parametrize(
    ("annotators", "message"),
    [
        ({"Tone B": {"use": TONE}}, "lower-case letters, digits and _, got 'Tone B'"),
        ({"depth": {"use": "hed"}}, "column 'depth' must be made by the annotator of its name"),
        ({"shards": {"use": TONE}}, "must not be image, source, select, pack, shards"),
    ],
)
def test_a_name_that_would_mislead_is_refused(photos, annotators, message):
    with pytest.raises(ValueError, match=message):
        make_recipe(photos, [{"name": "look", "annotators": annotators}])


def test_an_unknown_annotator_behind_a_name_is_named(photos):
    with pytest.raises(ConfigError, match="annotators 'hde' is unknown; did you mean 'hed'"):
        steps(make_recipe(photos, [{"name": "look", "annotators": {"edges": {"use": "hde"}}}]))


def test_a_name_of_a_column_is_no_option(photos):
    with pytest.raises(ConfigError, match="'hed' has no option 'max_sid'; did you mean 'max_side'"):
        steps(make_recipe(photos, [{"name": "look", "annotators": {"edges": {"use": "hed", "max_sid": 3}}}]))
