"""What every export keeps: the same bytes twice, nothing half made, the dataset as it was, whatever goes wrong.

PYTHONPATH=. python -m pytest tests/audit/export
"""

import os
import shutil

import pytest

from onegen.audit.export import FORMATS, Wishes, export, find_format
from onegen.audit.export.formats import split_of
from onegen.errors import ConfigError
from onegen.sample import IMAGE
from tests.handed import bytes_of, samples
from tests.tiny import dataset, rows

OF_IMAGES = [name for name in FORMATS if name != "nerfstudio"]
"""Formats that take images; scenes have a test of their own."""


@pytest.mark.parametrize("name", OF_IMAGES)
def test_twice_gives_the_same_bytes_and_leaves_the_dataset_alone(handed, tmp_path, name):
    before = bytes_of(handed)
    told = [export(samples(handed), tmp_path / out, FORMATS[name], Wishes(0.3)) for out in ("a", "b")]
    assert told[0] == told[1]
    assert told[0].samples == told[0].images == 12
    assert bytes_of(tmp_path / "a") == bytes_of(tmp_path / "b")
    assert bytes_of(handed) == before


@pytest.mark.parametrize("name", OF_IMAGES)
def test_a_key_that_is_left_out_is_in_no_file(handed, tmp_path, name):
    gone, kept = (rows(handed, IMAGE)[position].key for position in (5, 6))
    assert export(samples(handed, gone), tmp_path / "a", FORMATS[name], Wishes()).samples == 11
    text = b"".join(path.read_bytes() + path.name.encode() for path in (tmp_path / "a").rglob("*") if path.is_file())
    # Parquet compresses its text; names of files and JSON do not.
    if name not in ("huggingface", "croissant"):
        assert kept.encode() in text
    assert gone.encode() not in text


@pytest.mark.parametrize("name", OF_IMAGES)
def test_damage_is_told_and_leaves_no_folder(handed, tmp_path, name):
    out = shutil.copytree(handed, tmp_path / "out")
    folder = "shards" if name == "webdataset" else "columns/image"
    (tar,) = (out / folder).glob("000001*.tar")
    data = bytearray(tar.read_bytes())
    place = data.index(b"\xff\xd8\xff") + 40 if b"\xff\xd8\xff" in data else data.index(b"IHDR") + 200
    data[place] ^= 255
    tar.write_bytes(bytes(data))
    with pytest.raises(ConfigError, match=r"shard 000001 must have SHA-256"):
        export(samples(out), tmp_path / "made", FORMATS[name], Wishes())
    tar.write_bytes(bytes(data[:600]))
    with pytest.raises(ConfigError, match="verify"):
        export(samples(out), tmp_path / "made", FORMATS[name], Wishes())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]


def test_what_a_killed_export_left_is_removed_and_a_name_that_is_there_refused(handed, tmp_path):
    (tmp_path / ".part-made" / "data").mkdir(parents=True)
    (tmp_path / ".part-made" / "data" / "half.parquet").write_bytes(b"half")
    export(samples(handed), tmp_path / "made", FORMATS["huggingface"], Wishes())
    assert os.listdir(tmp_path) == ["made"]
    assert "data/half.parquet" not in bytes_of(tmp_path / "made")
    before = bytes_of(tmp_path / "made")
    with pytest.raises(ConfigError, match="which is there"):
        export(samples(handed), tmp_path / "made", FORMATS["coco"], Wishes())
    assert bytes_of(tmp_path / "made") == before


def test_of_a_dataset_being_built_the_whole_shards_are_handed_on_and_counted(handed, tmp_path):
    out = shutil.copytree(handed, tmp_path / "out")
    (out / "columns/scores/000001.json").unlink()
    found = samples(out)
    assert found.shards == (0, 2)
    assert "2 of 3 shards" in found.told()
    assert export(found, tmp_path / "made", FORMATS["coco"], Wishes()).samples == 8
    for shard in (0, 2):
        (out / f"columns/scores/{shard:06d}.json").unlink()
    with pytest.raises(ConfigError, match="got none of 3"):
        samples(out)


def test_a_folder_of_something_else_an_unknown_format_and_a_bad_share_are_refused(handed, tmp_path):
    with pytest.raises(ConfigError, match=r"must hold a dataset"):
        samples(tmp_path)
    with pytest.raises(ConfigError, match="did you mean 'coco'"):
        find_format("cocoo")
    assert find_format("energon") is find_format("wids") is FORMATS["webdataset"]
    with pytest.raises(ConfigError, match=r"in \[0, 1\)"):
        export(samples(handed), tmp_path / "made", FORMATS["coco"], Wishes(1.0))


def test_no_sample_left_is_refused(handed, tmp_path):
    keys = [row.key for row in rows(handed, IMAGE)]
    with pytest.raises(ConfigError, match="got none"):
        export(samples(handed, *keys), tmp_path / "made", FORMATS["huggingface"], Wishes())
    assert not list(tmp_path.iterdir())


def test_a_split_is_a_function_of_the_key_and_of_its_share():
    keys = [f"{number:020x}" for number in range(2000)]
    chosen = [{key for key in keys if split_of(key, share) == "validation"} for share in (0.0, 0.1, 0.2)]
    assert not chosen[0]
    # A larger share only adds.
    assert chosen[1] < chosen[2]
    assert 150 < len(chosen[1]) < 250


def test_the_dataset_of_these_tests_has_every_kind_of_column(handed):
    assert {"depth", "masks", "detection", "pose", "entities", "caption_human"} <= set(dataset(handed).columns())
