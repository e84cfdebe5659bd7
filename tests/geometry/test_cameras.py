"""Cameras: the orbit, the five conventions, and the scale of a scene."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onegen.errors import ConfigError, SampleError
from onegen.geometry.cameras import (
    AXES,
    Camera,
    change_axes,
    from_colmap,
    from_pytorch3d,
    nearest_point,
    orbit,
    relative_to_first,
    scale_to_distance,
    to_colmap,
    to_pytorch3d,
)

RIG = [orbit(a, e, 1.5) for a, e in [(0, 0), (20, 0), (40, 10), (60, 20)]]


def random_camera(seed):
    rng = np.random.default_rng(seed)
    rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    matrix = np.eye(4)
    matrix[:3, :3] = rotation * np.sign(np.linalg.det(rotation))
    matrix[:3, 3] = rng.normal(size=3)
    return Camera(matrix)


def test_an_orbit_camera_stands_where_it_should_and_looks_at_the_origin():
    camera = orbit(90, 30, 2.0)
    np.testing.assert_allclose(camera.center, [0, 2 * np.cos(np.pi / 6), 1], atol=1e-12)
    np.testing.assert_allclose(camera.forward, -camera.center / 2, atol=1e-12)


def test_azimuth_moves_right_and_elevation_up():
    start, right, up = orbit(0), orbit(5), orbit(0, 5)
    x, y, _, _ = start.camera_to_world.T  # OpenCV: x to the right, y down
    assert (right.center - start.center) @ x[:3] > 0.1
    assert (up.center - start.center) @ y[:3] < -0.1


@pytest.mark.parametrize(("elevation", "distance"), [(90, 1.5), (-95, 1.5), (0, 0.0)])
def test_an_orbit_without_a_right_or_a_radius_is_refused(elevation, distance):
    with pytest.raises(ConfigError):
        orbit(0, elevation, distance)


@pytest.mark.parametrize("number", [np.nan, np.inf])
@pytest.mark.parametrize("name", ["azimuth", "elevation", "distance", "focal"])
def test_an_orbit_of_numbers_that_are_not_finite_is_refused_by_name(name, number):
    with pytest.raises(ConfigError, match=name):
        orbit(**{"azimuth": 0.0, name: number})


def test_camera_centres_in_the_first_frame():
    # printed vectors of the spec, in the first camera's PyTorch3D frame (x left, y up, z forward)
    centres = [camera.center * [-1, -1, 1] for camera in relative_to_first(RIG)]
    expected = [(0, 0, 0), (-0.5130, 0, 0.0905), (-0.9495, 0.2605, 0.3684), (-1.2207, 0.5130, 0.7952)]
    np.testing.assert_allclose(centres, expected, atol=6e-5)


def test_the_target_is_straight_ahead_of_the_first_camera():
    cameras = relative_to_first(RIG)
    target, fixed = nearest_point(np.stack([c.center for c in cameras]), np.stack([c.forward for c in cameras]))
    np.testing.assert_allclose(target, [0, 0, 1.5], atol=1e-9)
    assert fixed > 0.1


@pytest.mark.parametrize("source", AXES)
@pytest.mark.parametrize("target", AXES)
def test_changing_axes_and_back_is_nothing(source, target):
    matrix = random_camera(1).camera_to_world
    there = change_axes(matrix, source, target)
    np.testing.assert_array_equal(change_axes(there, target, source), matrix)
    assert np.linalg.det(there[:3, :3]) > 0  # no convention mirrors the world


def test_what_the_axes_mean():
    axes = {name: change_axes(np.eye(4), "opencv", name)[:3, :3].T.tolist() for name in AXES}
    right, down, forward = [1, 0, 0], [0, 1, 0], [0, 0, 1]
    left, up, back = [-1, 0, 0], [0, -1, 0], [0, 0, -1]
    assert axes["opencv"] == axes["colmap"] == [right, down, forward]
    assert axes["opengl"] == axes["nerfstudio"] == [right, up, back]
    assert axes["pytorch3d"] == [left, up, forward]


def test_colmap_maps_world_points_as_its_manual_says():
    half = np.sqrt(0.5)
    camera = from_colmap([half, 0, half, 0], [1, 2, 3])  # a quarter turn about y
    # COLMAP: x_camera = R x_world + t, with R of a quarter turn about y taking z to x
    point = np.linalg.inv(camera.camera_to_world) @ [0, 0, 1, 1]
    np.testing.assert_allclose(point[:3], [2, 2, 3], atol=1e-12)


@given(st.integers(0, 10_000))
@settings(max_examples=50, deadline=None)
def test_colmap_and_pytorch3d_round_trips(seed):
    camera = random_camera(seed)
    quaternion, translation = to_colmap(camera)
    np.testing.assert_allclose(from_colmap(quaternion, translation).camera_to_world, camera.camera_to_world, atol=1e-9)
    rotation, shift = to_pytorch3d(camera)
    np.testing.assert_allclose(from_pytorch3d(rotation, shift).camera_to_world, camera.camera_to_world, atol=1e-9)


def test_pytorch3d_transforms_row_vectors():
    camera = random_camera(3)
    rotation, translation = to_pytorch3d(camera)
    world = np.array([0.3, -0.7, 1.9])
    opencv = np.linalg.inv(camera.camera_to_world) @ [*world, 1]
    np.testing.assert_allclose(world @ rotation + translation, opencv[:3] * [-1, -1, 1], atol=1e-12)


@pytest.mark.parametrize(
    "matrix", [np.eye(3), np.diag([2.0, 2, 2, 1]), np.diag([-1.0, 1, 1, 1]), np.full((4, 4), np.nan)]
)
def test_a_matrix_that_is_no_pose_is_refused(matrix):
    with pytest.raises(ConfigError, match="camera matrix must"):
        Camera(matrix)


def test_a_scene_is_scaled_to_the_training_distance():
    far = [orbit(a, 10, 23.0) for a in (0, 30, 60)]
    scaled = scale_to_distance(far)
    assert [np.linalg.norm(camera.center) for camera in scaled] == pytest.approx([1.7] * 3)
    np.testing.assert_array_equal(scaled[1].camera_to_world[:3, :3], far[1].camera_to_world[:3, :3])


def test_a_scene_away_from_the_origin_is_measured_from_what_it_looks_at():
    moved = []
    for camera in (orbit(a, 10, 3.0) for a in (0, 30, 60)):
        matrix = camera.camera_to_world.copy()
        matrix[:3, 3] += [10, 20, 30]
        moved.append(Camera(matrix))
    scaled = scale_to_distance(moved)
    target, _ = nearest_point(np.stack([c.center for c in scaled]), np.stack([c.forward for c in scaled]))
    assert np.linalg.norm(scaled[0].center - target) == pytest.approx(1.7)


def test_parallel_cameras_are_a_sample_at_fault():
    side = np.eye(4)
    side[0, 3] = 1.0
    with pytest.raises(SampleError, match="parallel") as error:
        scale_to_distance([Camera(np.eye(4)), Camera(side)])
    assert error.value.reason == "parallel_cameras"
