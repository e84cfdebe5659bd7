import tarfile

import numpy as np
import pytest
from PIL import Image

from onegen.errors import ConfigError, SampleError
from onegen.eval.depth import MonocularDepth, read_map
from onegen.eval.synthetic import write_diode, write_nyuv2, write_true_depth


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for name in ("coffee.png", "rocket.jpg"):
        Image.new("RGB", (64, 48), (90, 120, 30)).save(folder / name)
    return folder


@pytest.fixture
def nyuv2(photos, tmp_path):
    write_nyuv2(tmp_path / "nyu", photos)
    return tmp_path / "nyu"


def scored(protocol, folder):
    return [row for unit in protocol.units() for row in protocol.score(unit, folder)]


def test_perfect_inverse_depth_in_both_modes(nyuv2, tmp_path):
    protocol = MonocularDepth(data=nyuv2)
    write_true_depth(nyuv2, tmp_path / "truth")
    rows = scored(protocol, tmp_path / "truth")
    for row in rows:
        # the truth is in whole millimetres, hence the fourth digit
        assert row["abs_rel_depth"] == pytest.approx(0.113522, abs=1e-4)
        assert row["delta1_depth"] == pytest.approx(0.928571, abs=1e-4)
        assert row["abs_rel_disparity"] == pytest.approx(0, abs=1e-9)
    names = {metric.name: metric.value for metric in protocol.summarise(rows)}
    assert names["delta1.disparity"] == 1.0
    assert protocol.lacks() == "2 photos, and NYUv2 has 654"


def test_the_second_column_is_scored_and_not_the_filled_one(nyuv2):
    for path in nyuv2.rglob("filled_*.png"):
        path.write_bytes(b"no picture")
    protocol = MonocularDepth(data=nyuv2)
    truth, valid = protocol.truth(protocol_rows(nyuv2)[0])
    assert valid.sum() == 238_560
    assert truth[0, 0] == 1.0


def protocol_rows(nyuv2):
    return [line.split() for line in (nyuv2 / "filename_list_test.txt").read_text().splitlines()]


def test_a_tar_stands_for_its_folder(nyuv2, tmp_path):
    path = tmp_path / "nyu.tar"
    with tarfile.open(path, "w") as tar:
        tar.add(nyuv2, arcname=".")
    protocol = MonocularDepth(data=path)
    assert [unit.name for unit in protocol.units()] == [
        "test/room_0000/rgb_0001",
        "test/room_0001/rgb_0001",
    ]
    truth, _ = protocol.truth(protocol_rows(nyuv2)[0])
    assert truth.shape == (480, 640)


def test_diode_is_masked_by_its_own_file(photos, tmp_path):
    write_diode(tmp_path, photos)
    protocol = MonocularDepth(data=tmp_path, dataset="diode")
    (unit,) = protocol.units()
    line = (tmp_path / "diode_val_all_filename_list.txt").read_text().split()
    truth, valid = protocol.truth(line)
    assert valid.sum() == (truth < 50).sum()
    out = tmp_path / "pred" / unit.outputs[0]
    out.parent.mkdir(parents=True)
    prediction = 1 / truth
    prediction[~valid] = np.nan
    np.save(out, prediction)
    (row,) = protocol.score(unit, tmp_path / "pred")
    assert row["abs_rel_disparity"] == pytest.approx(0, abs=1e-6)


def test_a_list_naming_absent_files_is_refused(nyuv2):
    (nyuv2 / "test" / "room_0000" / "depth_0001.png").unlink()
    with pytest.raises(ConfigError, match="1 of 4 are not there: test/room_0000/depth_0001.png"):
        MonocularDepth(data=nyuv2).units()
    (nyuv2 / "filename_list_test.txt").unlink()
    with pytest.raises(ConfigError, match="-O listing=FILE"):
        MonocularDepth(data=nyuv2 / "test").units()


@pytest.mark.parametrize(
    ("prediction", "reason"),
    [(np.ones((10, 10)), "size"), (np.full((480, 640), np.nan), "not_finite"), (np.ones((2, 3, 4, 5)), "size")],
)
def test_maps_that_cannot_be_scored_say_why(nyuv2, tmp_path, prediction, reason):
    protocol = MonocularDepth(data=nyuv2)
    unit = protocol.units()[0]
    path = tmp_path / unit.outputs[0]
    path.parent.mkdir(parents=True)
    np.save(path, prediction)
    with pytest.raises(SampleError) as caught:
        protocol.score(unit, tmp_path)
    assert caught.value.reason == reason


def test_a_constant_map_is_scored(nyuv2, tmp_path):
    protocol = MonocularDepth(data=nyuv2)
    unit = protocol.units()[0]
    path = tmp_path / unit.outputs[0]
    path.parent.mkdir(parents=True)
    np.save(path, np.full((480, 640), 7.0))
    (row,) = protocol.score(unit, tmp_path)
    assert row["abs_rel_depth"] == pytest.approx(0.356242, abs=1e-4)


def test_a_picture_is_the_mean_of_its_channels(tmp_path):
    Image.fromarray(np.full((4, 5, 3), (10, 20, 60), np.uint8)).save(tmp_path / "a.png")
    assert (read_map(tmp_path / "a.png") == 30).all()
    (tmp_path / "b.npy").write_bytes(b"nothing")
    with pytest.raises(SampleError, match="must be a depth map"):
        read_map(tmp_path / "b.npy")
