import json

import numpy as np
import pytest

from onegen.errors import ConfigError, SampleError
from onegen.eval.cameras import CameraPose
from onegen.eval.posed_objects import PosedObject, over_white, read_objects
from onegen.geometry.nerfstudio import to_nerfstudio
from onegen.geometry.rigs import ZERO123_FOCAL


@pytest.fixture
def protocol(objects):
    return CameraPose(data=objects)


def test_true_cameras_are_right_at_every_threshold(protocol, true_cameras):
    rows = [{"unit": unit.name, **row} for unit in protocol.units() for row in protocol.score(unit, true_cameras)]
    got = {metric.name: metric.value for metric in protocol.summarise(rows)}
    assert [got[f"centre_accuracy.{t}"] for t in (0.1, 0.2, 0.3)] == [1.0] * 3
    assert got["rotation_accuracy.15"] == 1.0
    assert 0.07 < got["chance.0.3"] < 0.13
    assert len(rows) == 12
    assert rows[0]["num_sequence"] == 25  # the scale is of the whole sequence


def test_cameras_of_another_number_are_refused(protocol, objects, tmp_path):
    thing = PosedObject(objects, "cube", ())
    document = to_nerfstudio({"000.png": thing.camera(0)}, 512, 512)
    (tmp_path / "cube.json").write_text(json.dumps(document))
    unit = next(unit for unit in protocol.units() if unit.name == "cube")
    with pytest.raises(SampleError, match="must have 6 cameras, got 1"):
        protocol.score(unit, tmp_path)
    (tmp_path / "cube.json").write_text("{")
    with pytest.raises(SampleError) as caught:
        protocol.score(unit, tmp_path)
    assert caught.value.reason == "unreadable"


def test_cameras_that_could_not_be_told_are_wrong_ones(protocol, tmp_path):
    (tmp_path / "cube.json").write_text(json.dumps({"frames": [], "no_cameras": "parallel rays"}))
    unit = next(unit for unit in protocol.units() if unit.name == "cube")
    rows = protocol.score(unit, tmp_path)
    assert [row["error"] for row in rows] == [np.inf] * 6


def test_a_single_camera_is_no_protocol():
    with pytest.raises(ValueError, match="greater than or equal to 2"):
        CameraPose(views=1)


def test_cameras_are_read_back_as_written(objects):
    thing = read_objects(objects, 25)[0]
    for view in (0, 7):
        camera = thing.camera(view)
        assert camera.focal == (ZERO123_FOCAL, ZERO123_FOCAL)
        assert 1.5 <= np.linalg.norm(camera.center) <= 2.2
        # it looks at the origin
        np.testing.assert_allclose(camera.forward, -camera.center / np.linalg.norm(camera.center), atol=1e-12)


def test_only_what_is_wholly_transparent_becomes_white(tmp_path):
    from PIL import Image

    pixels = np.array([[[10, 20, 30, 0], [10, 20, 30, 1], [10, 20, 30, 255]]], np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert np.asarray(over_white(tmp_path / "a.png"))[0].tolist() == [[255] * 3, [10, 20, 30], [10, 20, 30]]


def test_data_that_lacks_views_is_refused(objects, tmp_path):
    with pytest.raises(ConfigError, match="without any"):
        read_objects(tmp_path, 25)
    with pytest.raises(ConfigError, match="views 0 to 25"):
        read_objects(objects, 26)


def test_cameras_are_matched_by_the_numbers_of_their_views(protocol, objects, tmp_path):
    """As `onegen sample --predict ray` names them: by the path of their photo, in whatever order."""
    thing = PosedObject(objects, "cube", ())
    unit = next(unit for unit in protocol.units() if unit.name == "cube")

    def scored(names, cameras):
        document = to_nerfstudio(dict(zip(names, cameras, strict=True)), 512, 512)
        (tmp_path / "cube.json").write_text(json.dumps(document))
        return [row["error"] for row in protocol.score(unit, tmp_path)]

    views = [3, 0, 5, 1, 4, 2]
    shuffled = scored([str(thing.picture_path(view)) for view in views], [thing.camera(view) for view in views])
    assert max(shuffled) < 1e-9
    assert max(scored([f"photo {n}" for n in "abcdef"], [thing.camera(view) for view in range(6)])) < 1e-9
    with pytest.raises(SampleError, match="views 000 to 005, got others"):
        scored([f"{view:03d}.png" for view in range(6, 12)], [thing.camera(view) for view in range(6)])


def test_another_number_of_cameras_is_not_the_papers_table(objects):
    assert CameraPose(data=objects, views=4).lacks().endswith("4 cameras an object, and the paper has 6")
