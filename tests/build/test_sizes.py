"""What more of the same would take is a straight line through what manifests say.

PYTHONPATH=. python -m pytest tests/build/test_sizes.py
"""

import pytest

from onegen.build.sizes import read_facts, size_of
from onegen.errors import ConfigError
from tests.tiny import dataset, make_recipe, run, write_photos

STAGES = [{"name": "look", "annotators": {"tests.plugins.tone": {}, "tests.plugins.dawdle": {"seconds": 0.0}}}]


@pytest.fixture
def built(tmp_path):
    write_photos(tmp_path / "photos", 12)
    run(make_recipe(tmp_path / "photos", STAGES, samples_per_shard=4), tmp_path / "out")
    return tmp_path / "out"


def test_the_size_it_has_is_the_size_it_is_said_to_have(built):
    facts = read_facts(dataset(built))
    size = size_of(facts, 12)
    assert (size.shards, size.manifests) == (3, 3 * 5)
    folders = [*(built / "columns").iterdir(), built / "shards", built / "plan"]
    stored = sum(path.stat().st_size for folder in folders for path in folder.iterdir())
    assert size.stored_bytes == stored
    assert size_of(facts, 12, 1000).shards == 1
    double = size_of(facts, 24)
    assert double.shards == 6
    assert double.stored_bytes == pytest.approx(2 * stored, abs=2)


def test_columns_of_a_stage_cost_their_time_once(built):
    facts = read_facts(dataset(built))
    assert [(rate.step, rate.columns) for rate in facts.rates] == [
        ("image", ("image",)),
        ("look", ("dawdle", "tone")),
        ("shards", ("shards",)),
    ]
    manifests = list(dataset(built).manifests("tone"))
    hours = sum(manifest.run.seconds for manifest in manifests) / 3600
    assert size_of(facts, 12).worker_hours["look"] == pytest.approx(hours, rel=0.5)
    assert size_of(facts, 1200).worker_hours["look"] == pytest.approx(100 * size_of(facts, 12).worker_hours["look"])


def test_the_driver_holds_some_hundred_bytes_a_shard(built):
    assert 100 < read_facts(dataset(built)).shard_bytes < 5_000


def test_of_nothing_there_is_nothing_to_reckon(tmp_path):
    with pytest.raises(ConfigError, match="must hold a dataset"):
        read_facts(dataset(tmp_path))
