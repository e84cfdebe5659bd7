"""The plot of a scene's cameras. PYTHONPATH=. python -m pytest tests/audit/test_cameras.py"""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from onegen.audit.cameras import draw_cameras
from onegen.geometry.cameras import Camera, orbit

BLUE, ORANGE, INK = (38, 92, 190), (226, 112, 26), (28, 28, 28)


def places(picture: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """Return the middle (x, y) of what has nearly a colour."""
    found = np.argwhere(np.abs(picture.astype(int) - colour).max(axis=2) < 12)
    assert len(found) > 20
    return found.mean(axis=0)[::-1]


def test_the_first_is_blue_the_last_orange_and_each_stands_where_it_is():
    picture = draw_cameras([orbit(0, 10), orbit(120, 10)])
    assert picture.shape[1:] == (464, 3)
    assert 200 < len(picture) <= 464
    (blue_x, blue_y), (orange_x, orange_y) = places(picture, BLUE), places(picture, ORANGE)
    assert blue_y > orange_y + 30, "who looks stands on the side of the first camera"
    assert blue_x < orange_x, "and to its right, so that it stands to the left"


def test_a_higher_camera_is_drawn_higher_whatever_the_world_calls_up():
    turn = np.eye(4)
    turn[:3, :3] = [[1, 0, 0], [0, 0, 1], [0, -1, 0]]
    for world in (np.eye(4), turn):
        cameras = [orbit(0, 5), orbit(20, 5), orbit(40, 5), orbit(40, 60)]
        picture = draw_cameras([Camera(world @ camera.camera_to_world) for camera in cameras])
        assert places(picture, ORANGE)[1] < places(picture, BLUE)[1] - 60


@pytest.mark.parametrize(
    "cameras",
    [
        [orbit(0)],
        [orbit(0), orbit(0)],
        [Camera(np.eye(4)), Camera(np.array([[1.0, 0, 0, 5], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]))],
        [Camera(np.eye(4))] * 3,
        [Camera(orbit(30).camera_to_world @ np.diag([-1.0, -1, 1, 1])), orbit(30)],
    ],
)
def test_odd_sets_of_cameras_are_drawn(cameras):
    assert (draw_cameras(cameras) < 250).any()


def test_neither_torch_nor_a_plotting_library_is_asked_for():
    program = "import sys, onegen.audit.show; print(*{'torch', 'matplotlib', 'plotly'} & set(sys.modules))"
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
