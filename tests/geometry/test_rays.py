"""Rays: the printed vectors, the latent layout, and the way back to cameras."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onegen.errors import ConfigError, SampleError
from onegen.geometry.cameras import Camera, orbit, relative_to_first
from onegen.geometry.rays import camera_rays, latent_to_rays, pixel_directions, rays_to_cameras, rays_to_latent

RIG = [orbit(a, e, 1.5) for a, e in [(0, 0), (20, 0), (40, 10), (60, 20)]]


PRINTED = [
    (0, 0, 0, (0.31685, 0.31685, 0.89399, 0, 0, 0)),
    (1, 0, 0, (0.60350, 0.31685, 0.73170, -0.02866, 0.42998, -0.16255)),
    (3, 10, 40, (0.81065, -0.11101, 0.57491, 0.38322, 1.34644, -0.28038)),
]
"""Rays of RIG's cameras at 64 x 64: camera, row, column, direction and moment."""


@pytest.mark.parametrize(("camera", "row", "column", "expected"), PRINTED)
def test_printed_rays(camera, row, column, expected):
    np.testing.assert_allclose(camera_rays(RIG, 64, 64)[camera, :, row, column], expected, atol=1e-5)


def test_rays_do_not_depend_on_the_world_frame():
    turn = np.eye(4)
    turn[:3, :3] = [[0, 1, 0], [1, 0, 0], [0, 0, -1]]
    turned = [Camera(turn @ camera.camera_to_world) for camera in RIG]
    np.testing.assert_allclose(camera_rays(turned, 8, 8), camera_rays(RIG, 8, 8), atol=1e-6)


def test_rays_pass_through_their_camera_and_have_unit_length():
    rays = camera_rays(RIG, 6, 10)
    assert rays.shape == (4, 6, 6, 10)
    assert rays.dtype == np.float32
    directions, moments = rays[:, :3], rays[:, 3:]
    np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose((directions * moments).sum(axis=1), 0, atol=1e-6)
    centre = relative_to_first(RIG)[2].center * [-1, -1, 1]
    np.testing.assert_allclose(np.cross(centre, directions[2, :, 1, 7]), moments[2, :, 1, 7], atol=1e-6)


def test_a_wide_image_shows_the_square_in_its_middle():
    square = pixel_directions(4, 4, (1.4, 1.4))
    wide = pixel_directions(4, 8, (1.4, 1.4))
    np.testing.assert_allclose(wide[:, 2:6], square, atol=1e-12)


def test_the_sixteen_channels_of_a_ray_latent():
    rays = np.arange(6, dtype=np.float32).reshape(1, 6, 1, 1) + 1
    latent = rays_to_latent(rays)
    expected = [1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 5, 6, 1, 2, 3, 4]
    np.testing.assert_allclose(latent[0, :, 0, 0], np.array(expected) * 1.658, rtol=1e-6)


@pytest.mark.parametrize("num_channels", [6, 16, 192])
def test_latents_give_their_rays_back(num_channels):
    rays = camera_rays(RIG, 8, 8)
    latent = rays_to_latent(rays, num_channels)
    assert latent.shape == (4, num_channels, 8, 8)
    np.testing.assert_allclose(latent_to_rays(latent), rays, atol=1e-6)


def test_the_copies_of_a_channel_are_averaged():
    latent = np.zeros((16, 1, 1))
    latent[[0, 6, 12]] = np.array([1.0, 2.0, 6.0]).reshape(3, 1, 1) * 1.658
    latent[[5, 11]] = np.array([1.0, 2.0]).reshape(2, 1, 1) * 1.658
    np.testing.assert_allclose(latent_to_rays(latent)[:, 0, 0], [3, 0, 0, 0, 0, 1.5], atol=1e-12)
    with pytest.raises(ConfigError, match="at least 6"):
        latent_to_rays(np.zeros((4, 1, 1)))


@given(st.integers(0, 10_000), st.integers(1, 6), st.floats(0.5, 3.0), st.sampled_from([(16, 16), (8, 24)]))
@settings(max_examples=60, deadline=None)
def test_cameras_come_back_from_their_rays(seed, count, focal, size):
    rng = np.random.default_rng(seed)
    rig = []
    for _ in range(count):
        rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
        matrix = np.eye(4)
        matrix[:3, :3] = rotation * np.sign(np.linalg.det(rotation))
        matrix[:3, 3] = rng.normal(size=3) * 2
        rig.append(Camera(matrix, (focal, focal * 1.1)))
    estimates = rays_to_cameras(camera_rays(rig, *size), (focal, focal * 1.1))
    for camera, truth in zip(estimates, relative_to_first(rig), strict=True):
        np.testing.assert_allclose(camera.camera_to_world, truth.camera_to_world, atol=1e-4)


def test_noisy_and_shortened_rays_still_give_a_camera():
    rng = np.random.default_rng(0)
    rays = camera_rays(RIG, 64, 64) * 0.9 + rng.normal(size=(4, 6, 64, 64)) * 0.05
    estimates = rays_to_cameras(rays)
    for camera, truth in zip(estimates, relative_to_first(RIG), strict=True):
        assert np.linalg.norm(camera.center - truth.center) < 0.1
        assert np.abs(camera.camera_to_world[:3, :3] - truth.camera_to_world[:3, :3]).max() < 0.05


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda rays: rays * np.nan, "rays_not_finite"),
        (lambda rays: rays * 0, "rays_too_short"),
        (lambda rays: np.broadcast_to(rays[:, :, :1, :1], rays.shape), "rays_parallel"),
    ],
)
def test_rays_without_an_answer_say_so(change, reason):
    with pytest.raises(SampleError) as error:
        rays_to_cameras(change(camera_rays(RIG, 8, 8)))
    assert error.value.reason == reason
