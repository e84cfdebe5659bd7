"""Cameras in a `transforms.json`. PYTHONPATH=. python -m pytest tests/geometry/test_nerfstudio.py"""

import json
import math

import numpy as np
import pytest

from onegen.errors import ConfigError
from onegen.geometry.cameras import orbit
from onegen.geometry.nerfstudio import from_nerfstudio, read_nerfstudio, to_nerfstudio

RIG = {"a.png": orbit(0, 0), "b.png": orbit(40, 25)}
EYE = np.eye(4).tolist()
FRAME = {"file_path": "x", "transform_matrix": EYE}
SQUARE = {"w": 100, "h": 100, "fl_x": 150}


def test_documents_round_trip_and_use_the_shorter_side():
    document = to_nerfstudio(RIG, width=640, height=480)
    assert document["frames"][0]["fl_x"] == pytest.approx(1.3887 * 480)
    back = from_nerfstudio(json.loads(json.dumps(document)))
    assert list(back) == list(RIG)
    for name, camera in RIG.items():
        np.testing.assert_allclose(back[name].camera_to_world, camera.camera_to_world, atol=1e-12)
        assert back[name].focal == pytest.approx(camera.focal)


def test_a_camera_looks_where_the_matrix_says_with_up_and_right_where_they_are():
    matrix = np.eye(4)
    matrix[:3, 3] = [1, 2, 3]
    (camera,) = from_nerfstudio({**SQUARE, "frames": [{**FRAME, "transform_matrix": matrix.tolist()}]}).values()
    np.testing.assert_allclose(camera.center, [1, 2, 3])
    np.testing.assert_allclose(camera.forward, [0, 0, -1])  # OpenGL looks along -z
    right, down = camera.camera_to_world[:3, 0], camera.camera_to_world[:3, 1]
    np.testing.assert_allclose([right, down], [[1, 0, 0], [0, -1, 0]])


@pytest.mark.parametrize(
    ("numbers", "focal"),
    [
        (SQUARE, (1.5, 1.5)),
        ({**SQUARE, "fl_y": 140}, (1.5, 1.4)),
        ({"camera_angle_x": 2 * math.atan(0.5)}, (1.0, 1.0)),
        ({"camera_angle_x": 2 * math.atan(0.5), "w": 200, "h": 100}, (2.0, 2.0)),
        ({**SQUARE, "cx": 51, "cy": 49, "k1": 0.01}, (1.5, 1.5)),
    ],
)
def test_intrinsics_stand_in_the_document_or_in_a_frame(numbers, focal):
    shared = from_nerfstudio({**numbers, "frames": [FRAME]})
    own = from_nerfstudio({"frames": [{**numbers, **FRAME}]})
    assert shared["x"].focal == pytest.approx(focal)
    assert own["x"].focal == pytest.approx(focal)


def test_a_matrix_may_leave_its_last_row_out():
    (camera,) = from_nerfstudio({**SQUARE, "frames": [{**FRAME, "transform_matrix": EYE[:3]}]}).values()
    assert camera.camera_to_world.shape == (4, 4)


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ({}, "must have frames, got none"),
        ({"frames": []}, "must have frames, got none"),
        ({"frames": 5}, "must have frames, got none"),
        ({"frames": [FRAME]}, "frame 'x' has not: KeyError('camera_angle_x')"),
        ({"fl_x": 5, "frames": [FRAME]}, "frame 'x' has not: KeyError('w')"),
        ({**SQUARE, "frames": [{"file_path": "x"}]}, "frame 'x' has not: KeyError('transform_matrix')"),
        ({**SQUARE, "frames": [7]}, "frame '0' has not"),
        ({**SQUARE, "frames": [{**FRAME, "transform_matrix": "no"}]}, "frame 'x' has not"),
        ({**SQUARE, "frames": [{**FRAME, "transform_matrix": [[1, 2], [3]]}]}, "frame 'x' has not"),
        ({**SQUARE, "frames": [{**FRAME, "transform_matrix": np.eye(3).tolist()}]}, "frame 'x' has not"),
        ({**SQUARE, "frames": [{**FRAME, "transform_matrix": np.full((4, 4), np.nan).tolist()}]}, "must be finite"),
        ({**SQUARE, "frames": [{**FRAME, "transform_matrix": np.diag([2.0, 2, 2, 1]).tolist()}]}, "hold a rotation"),
        ({**SQUARE, "w": 0, "frames": [FRAME]}, "frame 'x' has not: ZeroDivisionError"),
        ({**SQUARE, "fl_x": 10**400, "frames": [FRAME]}, "frame 'x' has not: OverflowError"),
        ({"camera_angle_x": 0, "frames": [FRAME]}, "frame 'x' has not: ZeroDivisionError"),
        ({**SQUARE, "camera_model": "OPENCV_FISHEYE", "frames": [FRAME]}, "must be a pinhole, got OPENCV_FISHEYE"),
        ({**SQUARE, "fl_x": math.inf, "frames": [FRAME]}, "focal length must be finite"),
        ({**SQUARE, "fl_x": 0, "frames": [FRAME]}, "focal length must be finite and positive"),
        ({**SQUARE, "cx": 20, "frames": [FRAME]}, "cx must lie in the middle of the image, got 0.20 of w"),
        ({**SQUARE, "cy": math.nan, "frames": [FRAME]}, "cy must lie in the middle"),
        ({**SQUARE, "frames": [{**FRAME, "k1": -0.3}]}, "free of distortion, got k1 = -0.3. Undistort"),
        ({**SQUARE, "frames": [FRAME, FRAME]}, "got 'x' twice"),
    ],
)
def test_a_document_without_cameras_of_ours_is_refused(document, says):
    with pytest.raises(ConfigError) as caught:
        from_nerfstudio(document)
    assert says in str(caught.value)


@pytest.mark.parametrize("text", ["{", "[]", "5", "[" * 100_000, "\x00"])
def test_a_file_that_is_none_is_named(tmp_path, text):
    (tmp_path / "t.json").write_text(text)
    with pytest.raises(ConfigError, match=r"t\.json"):
        read_nerfstudio(tmp_path / "t.json")
    with pytest.raises(ConfigError, match=r"absent\.json"):
        read_nerfstudio(tmp_path / "absent.json")
