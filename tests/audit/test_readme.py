"""The card of a dataset: true after every build, the same text for the same dataset, and nobody else's file.

PYTHONPATH=. python -m pytest tests/audit/test_readme.py
"""

import shutil

from onegen.audit.readme import README, write_readme
from onegen.audit.verify import verify
from onegen.config.recipe import Recipe
from tests.handed import bytes_of
from tests.tiny import dataset, make_recipe, run, write_photos


def text_of(out):
    return (out / README).read_text(encoding="utf-8")


def test_it_says_what_the_dataset_is_and_asks_for(handed):
    text, card = text_of(handed), dataset(handed).require_card()
    assert card.digest in text
    assert "12 items of kind image in 3 shards, 12 images." in text
    assert "| CC0-1.0 | 12 |" in text
    # What a source wrote is text there, and neither HTML nor a table of its own.
    assert "| A &lt;b&gt;\\|Person\\| | 12 |" in text
    for column, summary in card.columns.items():
        assert f"| {column} | {summary.counts.ok} | 0 | 0 | 0 | {summary.producer} |" in text
    assert "shards/{000000..000002}.tar" in text


def test_a_build_that_changes_something_writes_it_again_and_another_does_not(handed, tmp_path):
    out = shutil.copytree(handed, tmp_path / "out")
    recipe = dataset(out).require_card().recipe
    before = (out / README).stat().st_mtime_ns
    run(Recipe.model_validate(recipe), out)
    assert (out / README).stat().st_mtime_ns == before
    more = {**recipe, "stages": [*recipe["stages"], {"name": "more", "annotators": {"tests.plugins.tone": {}}}]}
    run(Recipe.model_validate(more), out)
    assert "| tone | 12 |" in text_of(out)
    assert dataset(out).require_card().digest in text_of(out)
    # Of a build of some steps alone it says that something is missing.
    less = {**more, "stages": [*more["stages"], {"name": "last", "annotators": {"tests.plugins.echo": {}}}]}
    run(Recipe.model_validate(less), out, only=("look",))
    assert "Not finished" in text_of(out)
    run(Recipe.model_validate(less), out)
    assert "Not finished" not in text_of(out)
    assert list(verify(dataset(out), full=True)) == []


def test_the_same_dataset_has_the_same_text(tmp_path):
    write_photos(tmp_path / "photos", 3)
    recipe = make_recipe(tmp_path / "photos", [])
    texts = []
    for name in ("a", "b"):
        run(recipe, tmp_path / name)
        texts.append(bytes_of(tmp_path / name)[README])
    assert texts[0] == texts[1]
    assert "nobody to attribute" not in texts[0]


def test_a_readme_of_a_person_stays(handed, tmp_path):
    out = shutil.copytree(handed, tmp_path / "out")
    (out / README).write_text("# Mine\n", encoding="utf-8")
    run(Recipe.model_validate(dataset(out).require_card().recipe), out)
    assert text_of(out) == "# Mine\n"
    (out / README).write_text("", encoding="utf-8")
    assert not write_readme(dataset(out))
    (out / README).unlink()
    assert write_readme(dataset(out))
    assert text_of(out) == text_of(handed)
