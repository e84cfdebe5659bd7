"""A subset is a dataset in its own right: sound, in order, with its rights, and built on without computing again.

PYTHONPATH=. python -m pytest tests/audit/test_subset.py
"""

import shutil

import pytest

from onegen.audit.compare import compare_datasets
from onegen.audit.show import show
from onegen.audit.status import read_status
from onegen.audit.subset import subset
from onegen.audit.verify import verify
from onegen.config.recipe import Recipe
from onegen.errors import ConfigError
from onegen.sample import IMAGE, PACKED, SELECT
from onegen.shards.column import ColumnReader
from tests.cli.test_app import invoke
from tests.handed import build, bytes_of
from tests.tiny import Ears, dataset, rows, run, statuses

WHERE = "image.item <> '003.jpg' AND image.height > 30"


@pytest.fixture(scope="module")
def made(handed, tmp_path_factory):
    """A subset of the dataset, in shards that are cut anew."""
    out = tmp_path_factory.mktemp("subset") / "out"
    subset(dataset(handed), out, WHERE, {rows(handed, IMAGE)[0].key})
    return out


def content(out, column):
    """Return (key, status, values, parts as bytes) of every row of a column."""
    found = dataset(out)
    told = []
    for manifest in found.manifests(column):
        reader = ColumnReader(found, manifest)
        told += [(row.key, row.status, row.values, reader.parts(row)) for row in reader.rows]
        reader.close()
    return told


def test_rows_and_bytes_are_those_of_the_dataset_in_its_order(handed, made):
    kept = [row.key for row in rows(made, IMAGE)]
    expected = [r for r in rows(handed, IMAGE)[1:] if r.values["item"] != "003.jpg" and r.values["height"] > 30]
    assert kept == [row.key for row in expected]
    assert 4 < len(kept) < 12
    for column in (*dataset(handed).columns(), PACKED):
        assert content(made, column) == [row for row in content(handed, column) if row[0] in kept], column
    assert all(row.values["licence"] == "CC0-1.0" for row in rows(made, IMAGE))


def test_it_is_sound_and_says_what_was_left_out(handed, made):
    assert list(verify(dataset(made), full=True)) == []
    status = read_status(dataset(made))
    assert (status.card.plan.items, status.card.state) == (len(rows(made, IMAGE)), "complete")
    assert status.card.digest not in (None, dataset(handed).require_card().digest)
    left = 12 - status.card.plan.items
    assert status.card.plan.omissions() == [f"{left} files passed over, because not in the subset ({WHERE})"]
    assert show(dataset(made)).size[0] > 100
    assert dataset(made).shards(IMAGE) == list(range(status.card.plan.shards))


def test_its_recipe_finds_all_of_it_current_and_adds_a_column(handed, made, tmp_path):
    out = shutil.copytree(made, tmp_path / "out")
    told = dataset(out).require_card().recipe
    ears = Ears()
    assert run(Recipe.model_validate(told), out, ears).digest == dataset(made).require_card().digest
    assert ears.commits == []
    more = {**told, "stages": [*told["stages"], {"name": "more", "annotators": {"tests.plugins.tone": {}}}]}
    run(Recipe.model_validate(more), out, ears, only=("more",))
    assert {column for column, _ in ears.commits} == {"tone"}
    assert set(statuses(out, "tone")) == {"ok"}
    run(Recipe.model_validate(more), out)
    assert list(verify(dataset(out), full=True)) == []


def test_rules_of_select_are_current_in_a_subset_and_what_they_left_out_is_out(tmp_path):
    out = build(tmp_path, select={"keep": {"tall": "image.height > 41"}})
    left = statuses(out, SELECT).count("filtered rule:tall")
    assert left
    made = subset(dataset(out), tmp_path / "made", "image.width > 0")
    assert (made.kept, made.left) == (12 - left, left)
    assert list(verify(dataset(tmp_path / "made"), full=True)) == []
    ears = Ears()
    run(Recipe.model_validate(dataset(out).require_card().recipe), tmp_path / "made", ears)
    assert ears.commits == []


def test_twice_gives_the_same_bytes_and_leaves_the_dataset_alone(handed, tmp_path):
    before = bytes_of(handed)
    for name in ("a", "b"):
        subset(dataset(handed), tmp_path / name, WHERE)
    assert bytes_of(tmp_path / "a") == bytes_of(tmp_path / "b")
    assert bytes_of(handed) == before
    assert not list((tmp_path / "a").glob(".*"))


def test_a_subset_of_all_is_the_dataset(handed, tmp_path):
    subset(dataset(handed), tmp_path / "all", "image.width > 0")
    assert dataset(tmp_path / "all").require_card().digest == dataset(handed).require_card().digest


def test_bad_words_and_half_built_datasets_are_refused_and_leave_nothing(handed, tmp_path):
    for where, match in (
        ("image.heigth > 1", "did you mean 'height'"),
        ("imag.height > 1", "did you mean 'image'"),
        ("image.height >", "must be a duckdb boolean"),
        ("image.height > 100000", "none of 12"),
        ("image.height > (SELECT 1)", "its own row alone"),
    ):
        with pytest.raises(ConfigError, match=match):
            subset(dataset(handed), tmp_path / "made", where)
    half = shutil.copytree(handed, tmp_path / "half")
    card = dataset(half).require_card()
    (half / "dataset.json").write_bytes(card.model_copy(update={"state": "building", "digest": None}).to_json())
    with pytest.raises(ConfigError, match=r"3 of 3 shards have images"):
        subset(dataset(half), tmp_path / "made", WHERE)
    damaged = shutil.copytree(handed, tmp_path / "damaged")
    next((damaged / "columns/depth").glob("000002-*.tar")).write_bytes(b"")
    with pytest.raises(ConfigError, match="depth of .* in shard 000002 must be readable"):
        subset(dataset(damaged), tmp_path / "made", WHERE)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["damaged", "half"]


def test_compared_with_its_dataset_only_keys_are_gone(handed, made):
    for entry in compare_datasets(dataset(handed), dataset(made)):
        assert (entry.added, entry.changed) == (0, {})
        assert entry.gone == 12 - len(rows(made, IMAGE))
        assert entry.producers[0] == entry.producers[1]


def test_a_list_of_keys_makes_a_subset_of_them(handed, tmp_path):
    kept = [str(row.key) for row in rows(handed, SELECT) if row.status == "ok"]
    marks = tmp_path / "keys.txt"
    marks.write_text("\n".join(["# marked by hand", kept[5], "", kept[2]]) + "\n")
    done = invoke("subset", handed, tmp_path / "made", "--keys", marks)
    assert done.exit_code == 0, done.output
    assert [row.key for row in rows(tmp_path / "made", IMAGE)] == [kept[2], kept[5]]
    assert list(verify(dataset(tmp_path / "made"), full=True)) == []
    where = f"image.item = '{item_of(handed, kept[5])}'"
    narrowed = invoke("subset", handed, tmp_path / "one", "--keys", marks, "--where", where)
    assert narrowed.exit_code == 0, narrowed.output
    assert [row.key for row in rows(tmp_path / "one", IMAGE)] == [kept[5]]


def item_of(out, key):
    return next(row.values["item"] for row in rows(out, IMAGE) if row.key == key)


def test_keys_that_are_not_there_are_named_and_nothing_is_left(handed, tmp_path):
    marks = tmp_path / "keys.txt"
    marks.write_text("no_such_key\n")
    for words, told in (
        (("--keys", marks), "no_such_key"),
        (("--keys", tmp_path / "no"), "must be a text file"),
        ((), "needs --where or --keys"),
    ):
        done = invoke("subset", handed, tmp_path / "made", *words)
        assert (done.exit_code, done.stdout) == (2, ""), done.output
        assert told in done.stderr
    assert not (tmp_path / "made").exists()
