import cv2
import numpy as np
import pytest

from onegen.annotators.features import Features
from onegen.annotators.shared.dino_tokens import TokenModel, saliency
from onegen.errors import ConfigError
from onegen.sample import Item
from tests.packaged import bring_models, item, photo


def vectors(*given: Item, layer: int = 8) -> np.ndarray:
    bring_models()
    return np.array([answer.values["features"] for answer in Features(layer=layer).annotate(given)])


def test_vectors_have_length_one():
    np.testing.assert_allclose(np.linalg.norm(vectors(item("bus.jpg"), item("coffee.png")), axis=1), 1, atol=1e-4)


def test_a_smaller_copy_is_nearest_then_the_same_scene_then_the_same_kind():
    copy = Item("k", cv2.resize(photo("motorcycle_left.png"), (370, 250), interpolation=cv2.INTER_AREA))
    others = [item(name) for name in ("motorcycle_right.png", "bus.jpg", "chelsea.png", "flower.jpg", "obama.jpg")]
    first, *rest = vectors(item("motorcycle_left.png"), copy, *others)
    likeness = [float(first @ other) for other in rest]
    assert likeness[0] > 0.98
    assert likeness[1] > 0.9
    assert max(likeness[2:]) < 0.87  # the bus, another vehicle
    assert max(likeness[3:]) < 0.7
    assert likeness[0] > likeness[1]


def test_cats_are_nearer_to_cats():
    chelsea, cheetah, lion, bus, coffee = vectors(
        *(item(name) for name in ("chelsea.png", "cheetah1.jpg", "lion.jpg", "bus.jpg", "coffee.png"))
    )
    assert min(chelsea @ cheetah, cheetah @ lion) > max(chelsea @ bus, lion @ bus, cheetah @ coffee) + 0.1


def test_tokens_know_where_things_are():
    """The patches of a picture's right half turn with it when the picture is mirrored."""
    bring_models()
    (plain,) = TokenModel((8,)).tokens(photo("lion.jpg"))
    (mirrored,) = TokenModel((8,)).tokens(np.ascontiguousarray(photo("lion.jpg")[:, ::-1]))
    assert plain.shape == (16, 16, 384)
    unit = plain / np.linalg.norm(plain, axis=2, keepdims=True)
    turned = mirrored[:, ::-1] / np.linalg.norm(mirrored, axis=2, keepdims=True)[:, ::-1]
    straight = mirrored / np.linalg.norm(mirrored, axis=2, keepdims=True)
    assert (unit * turned).sum(axis=2).mean() > 0.1 + (unit * straight).sum(axis=2).mean()


def test_layers_differ_and_come_in_the_order_asked_for():
    bring_models()
    third, tenth = TokenModel((3, 10)).tokens(photo("lion.jpg"))
    np.testing.assert_array_equal(third, TokenModel((3,)).tokens(photo("lion.jpg"))[0])
    assert not np.allclose(third, tenth)


def test_the_subject_is_salient():
    bring_models()
    map_ = cv2.resize(saliency(photo("cheetah.jpg")), (502, 343))
    assert map_[140:200, 200:350].mean() > 2 * map_[20:80, 50:450].mean()


def test_an_impossible_layer_is_refused():
    with pytest.raises(ConfigError, match="layer of features must be 0 to 11, got 12"):
        Features(layer=12)
