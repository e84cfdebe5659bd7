"""PYTHONPATH=. python -m pytest tests/sources/test_hypersim.py"""

import csv
import io
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest

from onegen.build.brought_column import brought_job
from onegen.demo import rooms
from onegen.demo.scenes import draw, make_scene
from onegen.errors import ConfigError, SampleError
from onegen.shards.plan import PlannedItem, make_plan, read_plan
from onegen.sources import Brings, CountsPassedOver, Source
from onegen.sources.hypersim import Hypersim, ray_lengths
from onegen.storage.local import LocalStore
from tests.tiny import dataset, make_recipe, rows, run

h5py = pytest.importorskip("h5py")
COUNT = 3


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("hypersim")
    assert rooms.main([str(root), "--count", str(COUNT)]) == 0
    return root


@pytest.fixture
def own(frames: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(frames, tmp_path / "hypersim"))


def items_of(source: Hypersim) -> list[PlannedItem]:
    with tempfile.TemporaryDirectory() as folder:
        store = LocalStore(folder)
        summary = make_plan(store, source.listing(), 1000)
        return [row for shard in range(summary.shards) for row in read_plan(store, shard)]


def depth_of(source: Hypersim, item: PlannedItem) -> np.ndarray:
    (entry,) = source.entries.values()
    (value,) = source.brought(item, entry, is_file=True)
    return np.asarray(np.load(io.BytesIO(value)))


def test_it_is_a_source(frames):
    source = Hypersim(str(frames))
    assert isinstance(source, Source)
    assert isinstance(source, Brings)
    assert isinstance(source, CountsPassedOver)


def test_a_frame_is_its_preview_with_its_depth_beside_it(frames):
    items = items_of(Hypersim(str(frames)))
    assert len(items) == COUNT
    assert [len(item.sidecars) for item in items] == [1] * COUNT
    read = Hypersim(str(frames)).read(items[0]).images[0]
    assert read.data == (frames / items[0].item).read_bytes()


def test_distances_become_the_depth_that_the_scene_has(frames):
    source = Hypersim(str(frames))
    for number, item in enumerate(items_of(source)):
        truth = draw(rooms.seen_as_hypersim(make_scene(90_000 + number)), rooms.HEIGHT, rooms.WIDTH)
        # Stored as halves, as Hypersim does: 11 bits.
        assert np.abs(depth_of(source, item) * truth.inverse - 1).max() < 2**-10


def test_a_wall_before_the_camera_has_one_depth():
    lengths = ray_lengths(None, 768, 1024)
    assert lengths.min() == pytest.approx(1, abs=1e-6)
    # At 886.81 pixels of focal length, the corner.
    assert lengths[0, 0] == pytest.approx(np.hypot(np.hypot(511.5, 383.5), 886.81) / 886.81, rel=1e-5)
    assert np.allclose(lengths, lengths[::-1, ::-1])


def test_each_scene_has_its_own_camera(own):
    shifted = np.array([[0.5, 0, 0.1], [0, 0.4, -0.2], [0, 0, -1.0]])
    table = own / "cameras.csv"
    with table.open("w", newline="") as file:
        names = [f"M_cam_from_uv_{i}{j}" for i in range(3) for j in range(3)]
        writer = csv.DictWriter(file, ["scene_name", *names])
        writer.writeheader()
        writer.writerow({"scene_name": rooms.SCENE, **dict(zip(names, shifted.ravel(), strict=True))})
    source, plain = Hypersim(str(own), cameras=str(table)), Hypersim(str(own))
    item = items_of(source)[0]
    # The ray that is as long as its depth is where (u, v, 1) leads straight ahead: u -0.2 and v 0.5 here.
    lengths = ray_lengths(shifted, 201, 201)
    assert np.unravel_index(lengths.argmin(), lengths.shape) == (50, 80)
    ratio = depth_of(source, item) / depth_of(plain, item)
    wanted = ray_lengths(None, rooms.HEIGHT, rooms.WIDTH) / ray_lengths(shifted, rooms.HEIGHT, rooms.WIDTH)
    assert np.allclose(ratio, wanted, rtol=1e-5)


def test_a_scene_without_a_camera_fails_by_name(own):
    table = own / "cameras.csv"
    names = [f"M_cam_from_uv_{i}{j}" for i in range(3) for j in range(3)]
    table.write_text(",".join(["scene_name", *names]) + "\nai_009_009" + ",1" * 9 + "\n")
    source = Hypersim(str(own), cameras=str(table))
    with pytest.raises(SampleError, match=f"must have a row for scene {rooms.SCENE}") as caught:
        depth_of(source, items_of(source)[0])
    assert caught.value.reason == "unknown_camera"


@pytest.mark.parametrize("text", ["", "scene_name,M_cam_from_uv_00\nai,1\n", "scene_name\nai\n"])
def test_another_table_is_no_table_of_cameras(own, text):
    (own / "cameras.csv").write_text(text + ("x,y\n1,2\n" if not text else ""))
    with pytest.raises(ConfigError, match="must be the toolkit's metadata_camera_parameters.csv"):
        Hypersim(str(own), cameras=str(own / "cameras.csv")).check_brought()


def test_it_builds_with_one_frame_without_depth_and_one_damaged(own, tmp_path):
    depths = sorted(own.rglob("*.hdf5"))
    depths[0].unlink()
    depths[1].write_bytes(b"no HDF5")
    (own / "notes.txt").write_text("passed over")
    summary = run(make_recipe(own, [], source={"hypersim": str(own)}), tmp_path / "out")
    assert (summary.counts["image"].ok, summary.counts["depth"].ok) == (3, 1)
    ends = sorted((row.status, row.reason) for row in rows(tmp_path / "out", "depth"))
    assert ends == [("failed", "brought_pixels"), ("filtered", "absent"), ("ok", None)]
    card = dataset(tmp_path / "out").require_card()
    assert card.plan.passed_over == {"they are neither tonemapped previews nor depth in metres": 1}


@pytest.mark.parametrize(
    ("bring", "message"),
    [
        ({"boxes": "depth_meters.hdf5"}, "bring.detection of hypersim must be {use: depth"),
        ({"depth": "depth.png"}, "must be {use: depth, from: depth_meters.hdf5}, got depth from depth.png"),
        ({"depth": 5}, "bring.depth must say where it comes from"),
    ],
)
def test_nothing_else_is_brought(frames, bring, message):
    with pytest.raises(ConfigError, match=message):
        _ = Hypersim(str(frames), bring=bring).entries


def test_depth_may_be_called_otherwise_and_left_out(frames):
    source = Hypersim(str(frames), bring={"depth_true": "depth_meters.hdf5"})
    (entry,) = source.entries.values()
    assert (entry.column, entry.use) == ("depth_true", "depth")
    assert brought_job(source, entry, "image").provenance.column == "depth_true"
    assert not Hypersim(str(frames), bring={}).entries


def test_what_reads_depth_is_asked_for_before_anything_runs(frames, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"needs h5py .* pip install 'onegen\[annotators\]'"):
        Hypersim(str(frames)).check_brought()
    Hypersim(str(frames), bring={}).check_brought()


def test_a_folder_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(ConfigError, match="source hypersim must exist"):
        list(Hypersim(str(tmp_path / "none")).listing())
