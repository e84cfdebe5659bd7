import numpy as np
import pytest

from onegen.annotators.depth.training.materials import Cloud, Materials
from onegen.annotators.depth.training.render import Canvas, Solid
from onegen.annotators.depth.training.scenes import scene
from onegen.annotators.depth.training.things import THINGS, around

RED = np.full((8, 8, 3), (1.0, 0.0, 0.0), np.float32)


def canvas() -> Canvas:
    lamp = np.array([0.0, 1.0, 0.0])
    return Canvas((0.5, 0.5), np.zeros((4, 4, 3), np.float32), lamp, ambient=0.5)


def materials() -> Materials:
    rng = np.random.default_rng(3)
    points = rng.normal(size=(4000, 3)).astype(np.float32)
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    cut_out = np.ones((30, 20, 4), np.float32)
    texture = rng.random((64, 64, 3), dtype=np.float32)
    return Materials((texture, RED), (texture,), (cut_out,), (Cloud(points, points, np.full((4000, 3), 0.5)),))


@pytest.mark.parametrize(("shape", "nearest"), [("box", 3.5), ("ellipsoid", 3.5), ("cylinder", 3.5), ("card", 4.0)])
def test_a_primitive_is_as_far_as_it_stands(shape, nearest):
    drawn = canvas()
    skin = np.ones((8, 8, 4), np.float32) if shape == "card" else RED
    drawn.solid(Solid(shape, np.array([0, 0, 4.0]), np.array([0.5, 0.5, 0.5]), np.eye(3), skin))
    assert drawn.depth[127:129, 127:129] == pytest.approx(nearest, abs=0.01)
    seen = np.isfinite(drawn.depth)
    across = seen[128].sum() / 256 * 2 * 0.5  # as a tangent: half size over distance, both ways
    assert 2 * 0.5 / 4 - 0.01 < across < 2 * 0.5 / 3.5 + 0.01
    assert not seen[0].any()


def test_what_is_nearer_covers_what_is_farther_in_either_order():
    maps = []
    for order in ((3.0, 6.0), (6.0, 3.0)):
        drawn = canvas()
        for z in order:
            drawn.solid(Solid("box", np.array([0, 0, z]), np.array([0.3, 0.3, 0.1]), np.eye(3), RED))
        maps.append(drawn.depth)
    np.testing.assert_array_equal(*maps)
    assert maps[0][128, 128] == pytest.approx(2.9)


def test_the_ground_recedes_to_the_horizon():
    drawn = canvas()
    drawn.plane(np.array([0, -1.0, 0]), np.array([[1, 0, 0], [0, 0, 1], [0, 1, 0.0]]), RED, 1.0)
    assert np.isinf(drawn.depth[:128]).all()
    # A row's tangent below the horizon is the camera's height over the distance.
    assert drawn.depth[255, 10] == pytest.approx(1 / (0.5 * (1 - 1 / 256)), rel=1e-3)
    assert (np.diff(drawn.depth[140:, 128]) < 0).all()


def test_a_mesh_covers_its_outline_without_gaps():
    drawn = canvas()
    drawn.cloud(materials().clouds[0], np.array([0, 0, 5.0]), 1.0, np.eye(3))
    rows, columns = np.mgrid[:256, :256]
    inside = np.hypot(rows - 128, columns - 128) < 0.9 * 256 / 2 / 0.5 / 5
    assert (drawn.depth[inside] < 5.05).mean() > 0.96  # the front half, hardly anywhere the back
    assert np.isinf(drawn.depth[:10]).all()


def test_a_scene_is_a_function_of_its_seed():
    one, again, other = (scene(seed, materials()) for seed in (5, 5, 6))
    np.testing.assert_array_equal(one.picture, again.picture)
    np.testing.assert_array_equal(one.inverse_depth, again.inverse_depth)
    assert not np.array_equal(one.picture, other.picture)
    assert one.picture.shape == (224, 224, 3)
    assert one.picture.dtype == np.uint8
    assert one.inverse_depth.shape == (64, 64)


def test_scenes_have_depth_and_no_holes_in_their_numbers():
    scenes = [scene(seed, materials()) for seed in range(24)]
    assert all(np.isfinite(one.inverse_depth).all() and one.inverse_depth.min() >= 0 for one in scenes)
    assert sum(one.inverse_depth.std() > 0.01 for one in scenes) > 18
    lower_is_nearer = [one.inverse_depth[-16:].mean() > one.inverse_depth[:16].mean() for one in scenes]
    assert np.mean(lower_is_nearer) > 0.6


@pytest.mark.parametrize("name", THINGS)
def test_things_stand_on_the_ground_and_stay_in_their_cube(name):
    for seed in range(10):
        low, high = np.full(3, np.inf), np.full(3, -np.inf)
        for piece in THINGS[name](np.random.default_rng(seed)):
            reach = np.abs(piece.turn) @ np.array(piece.size)
            low, high = np.minimum(low, piece.centre - reach), np.maximum(high, piece.centre + reach)
        assert low.min() > -2
        assert high.max() < 2
        assert -1.7 < low[1] < -0.4


def test_turns_are_rotations():
    turn = around(0, 0.3) @ around(1, 1.0) @ around(2, -2.0)
    np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(turn) == pytest.approx(1)
    np.testing.assert_allclose(around(1, np.pi / 2) @ [0, 0, 1], [1, 0, 0], atol=1e-12)
