"""An annotator's answer that cannot be stored costs the sample it was given for, and no other."""

from pathlib import Path

import pytest

from onegen.build.assemble import make_steps
from onegen.config.recipe import Recipe, make_source
from onegen.errors import ConfigError
from onegen.storage.local import LocalStore
from tests.plugins.odd import ANSWERS
from tests.tiny import failures, make_recipe, rows, run, strays, write_photos


def test_each_odd_answer_costs_its_own_sample(tmp_path: Path) -> None:
    captions = dict(enumerate([*ANSWERS, "short"]))
    write_photos(tmp_path / "photos", 16, {**captions, 14: "rejected"})
    recipe = make_recipe(tmp_path / "photos", [{"name": "look", "annotators": {"tests.plugins.odd": {}}}])
    summary = run(recipe, tmp_path / "out")
    found = {row.position + 8 * shard: row for shard in range(2) for row in _shard(tmp_path / "out", shard)}
    for number, caption in captions.items():
        assert (found[number].status, found[number].reason) == ("failed", "bad_annotation"), caption
    assert (found[14].status, found[14].reason) == ("filtered", "not_wanted")
    assert [found[number].status for number in (11, 12, 13, 15)] == ["ok"] * 4
    assert summary.counts["odd"].model_dump() == {"rows": 16, "ok": 4, "skipped": 0, "filtered": 1, "failed": 11}
    assert {item for item, _ in failures(tmp_path / "out", "odd")} == {
        f"{number:05d}{('.png', '.jpg')[number % 2]}" for number in captions
    }
    assert summary.packed is not None
    assert summary.packed.ok == 16
    assert strays(tmp_path / "out") == []


def _shard(out: Path, shard: int) -> list:
    return rows(out, "odd")[8 * shard : 8 * shard + 8]


@pytest.mark.parametrize(
    ("annotators", "message"),
    [
        ({"tests.plugins.tone": {}, "tests.plugins.alias": {}}, "columns must be unique .* got 'tone'"),
        ({"tests.plugins.tone": {}, "tests.plugins.tone_too": {}}, "part names .* 'tone.png' in tone and tone_too"),
    ],
)
def test_columns_and_parts_that_would_be_one_are_refused(tmp_path: Path, annotators: dict, message: str) -> None:
    write_photos(tmp_path / "photos", 1)
    recipe: Recipe = make_recipe(tmp_path / "photos", [{"name": "look", "annotators": annotators}])
    with pytest.raises(ConfigError, match=message):
        make_steps(recipe, make_source(recipe.source), LocalStore(str(tmp_path / "out")))
