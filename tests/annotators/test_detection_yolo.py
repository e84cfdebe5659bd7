"""YOLO's answers become objects: made by hand, with right answers that are known; and nothing asks a network.

PYTHONPATH=. python -m pytest tests/annotators/test_detection_yolo.py
"""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from onegen.annotators.detection.yolo import Yolo, decode, letterboxed
from onegen.errors import ConfigError
from onegen.sample import Item
from tests.checkpoints import checkpoint

pytestmark = pytest.mark.torch
ROOT = Path(__file__).parents[2]


def make(**options: object) -> Yolo:
    return Yolo(model=str(checkpoint("detection", "yolo")), **options)


def test_a_picture_lies_in_the_middle_of_as_little_grey_as_the_stride_asks_for():
    square, placed = letterboxed(np.zeros((100, 200, 3), np.uint8), 640)
    assert (square.shape, placed) == ((320, 640, 3), (0, 0, 640, 320))
    square, placed = letterboxed(np.full((300, 200, 3), 255, np.uint8), 640)
    assert (square.shape, placed) == ((640, 448, 3), (10, 0, 427, 640))
    assert set(np.unique(square[:, :10])) == {114}
    assert set(np.unique(square[:, 10:437])) == {255}


def test_boxes_are_shares_of_the_picture():
    """A network of two classes and three anchors, of a picture at (10, 0) of 400 x 640."""
    said = np.array([[210, 210, 10], [320, 320, 0], [200, 400, 4], [320, 640, 4], [0.9, 0.1, 0.2], [0.1, 0.4, 0.1]])
    classes, scores, boxes = decode(said, np.array([10, 0, 400, 640]), 0.3)
    assert classes.tolist() == [0, 1]
    assert scores.tolist() == [0.9, 0.4]
    np.testing.assert_allclose(boxes, [[0.25, 0.25, 0.75, 0.75], [0, 0, 1, 1]])


def test_networks_that_suppress_by_themselves_say_corners():
    said = np.array([[110, 160, 310, 480, 0.9, 1], [0, 0, 5, 5, 0.1, 0]], np.float32)
    classes, scores, boxes = decode(said, np.array([10, 0, 400, 640]), 0.3)
    assert (classes.tolist(), scores.tolist()) == ([1], [pytest.approx(0.9)])
    np.testing.assert_allclose(boxes, [[0.25, 0.25, 0.75, 0.75]])


def test_objects_are_named_and_kept():
    item = Item("k", np.zeros((100, 200, 3), np.uint8))
    shares = np.array([[0.0, 0.0, 0.5, 0.5], [0.0, 0.0, 0.5, 0.5], [0.5, 0.5, 1.5, 1.0]])
    answer = make().finish(item, (np.array([2, 0, 0]), np.array([0.5, 0.9, 0.6]), shares))
    assert [(found["label"], found["score"], found["x1"]) for found in answer.values["objects"]] == [
        ("person", 0.9, 100.0),
        ("person", 0.6, 200.0),
    ]
    nothing = make().finish(item, (np.empty(0, int), np.empty(0), np.empty((0, 4))))
    assert nothing.values == {"objects": [], "num_objects": 0, "num_people": 0}


def test_the_file_of_a_repository_is_chosen():
    with pytest.raises(ConfigError, match=r"must hold weights .yolo11s.pt."):
        make(file="yolo11s.pt")


def test_a_file_that_runs_a_program_is_refused(tmp_path):
    import torch

    class Program:
        def __reduce__(self):
            return Path.touch, (tmp_path / "ran",)

    torch.save({"model": Program()}, tmp_path / "yolo11x.pt")
    with pytest.raises(ConfigError, match="must be one that ultralytics loads"):
        Yolo(model=str(tmp_path)).load()
    assert not (tmp_path / "ran").exists()


def test_others_are_left_as_they_were():
    """The package exchanges the functions by which all of a process reads pictures."""
    program = (
        "import cv2, torch\n"
        "from PIL import Image\n"
        "before = Image.open, cv2.imread, cv2.imwrite, torch.save\n"
        "from onegen.annotators.detection.yolo import Yolo\n"
        f"made = Yolo(model={str(checkpoint('detection', 'yolo'))!r})\n"
        "made.load()\n"
        "assert before == (Image.open, cv2.imread, cv2.imwrite, torch.save)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_no_network_is_asked():
    """Nor a name looked up, from the first import to the first answer."""
    program = (
        "import socket, numpy as np\n"
        "def refuse(*_, **__): raise SystemExit('a network was asked')\n"
        "socket.getaddrinfo = socket.create_connection = socket.socket.connect = refuse\n"
        "from onegen.annotators.detection.yolo import Yolo\n"
        "from onegen.sample import Item\n"
        f"made = Yolo(model={str(checkpoint('detection', 'yolo'))!r})\n"
        "made.load()\n"
        "made.annotate([Item('k', np.zeros((60, 80, 3), np.uint8))])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("options", [{"side": 100}, {"file": "yolo11x.onnx"}, {"min_score": 0}, {"dtype": "bfloat16"}])
def test_useless_options_are_refused(options):
    with pytest.raises(ConfigError, match="of detection must"):
        make(**options)
