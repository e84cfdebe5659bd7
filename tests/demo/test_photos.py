import json
import shutil

import pytest
from PIL import Image

from onegen.demo import photos
from onegen.errors import ConfigError
from onegen.weights.fetch import models_folder
from tests.packaged import photo


@pytest.fixture
def folder(tmp_path):
    """A copy of the demo photos, as one run left them."""
    photo("bus.jpg")  # brings them all
    return shutil.copytree(models_folder().parent / "photos", tmp_path / "photos")


@pytest.fixture
def no_download(monkeypatch):
    monkeypatch.setattr(photos, "download", lambda *_: pytest.fail("went to the registry"))


def test_every_photo_opens_and_says_where_it_is_from(folder):
    every = [packaged for package in photos.PHOTOS.values() for packaged in package]
    assert len({packaged.sha256 for packaged in every}) >= 24
    assert len({packaged.stem for packaged in every}) == len(every)
    for packaged in every:
        with Image.open(folder / packaged.member.rpartition("/")[2]) as picture:
            picture.load()
            assert min(picture.size) >= 256
        assert 5 <= len((folder / f"{packaged.stem}.txt").read_text().split()) <= 30
        described = json.loads((folder / f"{packaged.stem}.json").read_text())
        assert described["licence"]
        assert described["attribution"]
        assert packaged.member in described["source"]


def test_one_photo_is_there_twice(folder):
    assert (folder / "cheetah1.jpg").read_bytes() == (folder / "cheetah1-copy.jpg").read_bytes()


def test_a_second_run_writes_nothing(folder, no_download):
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert photos.main([str(folder)]) == 0
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_a_half_written_photo_is_written_again(folder, monkeypatch, tmp_path):
    (folder / "china.json").unlink()
    asked = []
    monkeypatch.setattr(photos, "download", lambda package, _: asked.append(package.name))
    monkeypatch.setattr(photos, "read_member", lambda *_: (folder / "china.jpg").read_bytes())
    assert photos.write_photos(folder) == 1
    assert asked == ["scikit-learn"]
    assert json.loads((folder / "china.json").read_text())["licence"] == "CC-BY-2.0"


def test_a_users_own_file_is_never_overwritten(folder, no_download, capsys):
    (folder / "bus.jpg").write_bytes(b"my own bus")
    with pytest.raises(ConfigError, match=r"photo .*bus\.jpg must be the packaged one"):
        photos.write_photos(folder)
    assert photos.main([str(folder)]) == 2
    assert (folder / "bus.jpg").read_bytes() == b"my own bus"


def test_usage_is_told(capsys):
    with pytest.raises(SystemExit):
        photos.main(["here", "there"])
    assert "usage" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        photos.main(["--help"])
    assert "beside the models" in capsys.readouterr().out
