"""Rigs of cameras around an object. PYTHONPATH=. python -m pytest tests/geometry/test_rigs.py"""

import numpy as np
import pytest

from onegen.errors import ConfigError
from onegen.geometry.cameras import orbit
from onegen.geometry.rays import camera_rays
from onegen.geometry.rigs import RENDER_FOCAL, RIGS, ZERO123_FOCAL, look_at_origin, make_rig


@pytest.mark.parametrize("name", RIGS)
def test_every_preset_looks_at_the_origin_from_its_distances_and_repeats_itself(name):
    rig = make_rig(name)
    cameras = rig.cameras(seed=7)
    assert len(cameras) == rig.views
    for camera, again in zip(cameras, rig.cameras(seed=7), strict=True):
        away = np.linalg.norm(camera.center)
        assert rig.distance[0] - 1e-9 <= away <= rig.distance[1] + 1e-9
        np.testing.assert_allclose(camera.forward, -camera.center / away, atol=1e-9)
        np.testing.assert_array_equal(camera.camera_to_world, again.camera_to_world)
        assert camera.focal == (rig.focal, rig.focal)
        assert camera.camera_to_world[2, 1] < 1e-9  # down of the image is never up in the world


@pytest.mark.parametrize("name", ["zero123", "objaverse_xl", "trellis", "gso30", "hammersley", "gobjaverse"])
def test_another_seed_is_another_rig(name):
    one, other = (np.stack([camera.center for camera in make_rig(name).cameras(seed)]) for seed in (0, 1))
    assert np.abs(one - other).max() > 0.01


def test_the_default_lens_and_the_one_of_zero123():
    assert pytest.approx(1.38889, abs=1e-5) == RENDER_FOCAL
    assert pytest.approx(1.09375) == ZERO123_FOCAL
    assert make_rig("ring").focal == RENDER_FOCAL
    assert make_rig("gso30").views == 25
    assert make_rig("gso30").focal == ZERO123_FOCAL


def test_a_ring_is_even_and_a_path_walks_from_end_to_end():
    ring = make_rig("ring", {"views": 4, "elevation": 0}).cameras()
    np.testing.assert_allclose(
        [c.center for c in ring], np.array([[1, 0, 0], [0, 1, 0], [-1, 0, 0], [0, -1, 0]]) * 1.7, atol=1e-12
    )
    path = make_rig("path", {"views": 3, "azimuth": (40, -40), "elevation": (0, 20)}).cameras()
    for camera, (azimuth, elevation) in zip(path, [(40, 0), (0, 10), (-40, 20)], strict=True):
        np.testing.assert_allclose(camera.camera_to_world, orbit(azimuth, elevation, 1.7).camera_to_world, atol=1e-12)


@pytest.mark.parametrize("name", ["sphere", "hammersley"])
def test_a_sphere_is_covered_evenly(name):
    rig = make_rig("hammersley" if name == "hammersley" else "zero123", {"views": 4000})
    directions = np.stack([c.center / np.linalg.norm(c.center) for c in rig.cameras(3)])
    np.testing.assert_allclose(directions.mean(axis=0), 0, atol=0.03)
    np.testing.assert_allclose(directions.T @ directions / 4000, np.eye(3) / 3, atol=0.02)


def test_a_northern_half_stays_above_and_ranges_hold():
    rig = make_rig("zero123", {"views": 200, "elevation": (0, 60), "azimuth": (10, 50)})
    for camera in rig.cameras(1):
        x, y, z = camera.center / np.linalg.norm(camera.center)
        assert 0 <= np.degrees(np.arcsin(z)) <= 60
        assert 10 <= np.degrees(np.arctan2(y, x)) <= 50


def test_gobjaverse_has_two_rings_and_the_poles():
    heights = [camera.center[2] / np.linalg.norm(camera.center) for camera in make_rig("gobjaverse").cameras(0)]
    assert heights[25:27] == pytest.approx([1, -1])
    assert len(set(np.round(heights[:25], 9))) == 1
    assert abs(np.degrees(np.arcsin(heights[30]))) <= 5


def test_straight_above_y_is_up():
    camera = look_at_origin(0, 90, 2.0)
    np.testing.assert_allclose(camera.camera_to_world[:3, 1], [0, -1, 0], atol=1e-12)
    np.testing.assert_allclose(
        look_at_origin(30, 20, 1.5).camera_to_world, orbit(30, 20, 1.5).camera_to_world, atol=1e-12
    )


def test_the_printed_rays_of_the_paper_come_out_of_a_rig():
    cameras = [look_at_origin(a, e, 1.5, 1.3887) for a, e in [(0, 0), (20, 0), (40, 10), (60, 20)]]
    rays = camera_rays(cameras, 64, 64)
    expected = (0.81065, -0.11101, 0.57491, 0.38322, 1.34644, -0.28038)
    np.testing.assert_allclose(rays[3, :, 10, 40], expected, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "changes", "says"),
    [
        ("rign", {}, "did you mean 'ring'"),
        ("ring", {"elevaton": 3}, "did you mean 'elevation'"),
        ("ring", {"layout": "path"}, "no 'layout'"),
        ("ring", {"views": 0}, "at least 1"),
        ("ring", {"elevation": 91}, "-90 to 90"),
        ("ring", {"elevation": (30, 10)}, "from low to high"),
        ("ring", {"distance": 0}, "must be positive"),
        ("ring", {"azimuth": (0, float("nan"))}, "azimuth"),
        ("ring", {"focal": -1.0}, "focal"),
    ],
)
def test_a_rig_that_makes_no_sense_is_refused(name, changes, says):
    with pytest.raises(ConfigError) as caught:
        make_rig(name, changes)
    assert says in str(caught.value)
