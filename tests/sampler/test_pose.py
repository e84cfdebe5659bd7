"""Cameras of photos: what the pipeline is asked, the JSON, and the picture."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from onegen.geometry.cameras import Camera, orbit, relative_to_first
from onegen.geometry.nerfstudio import from_nerfstudio
from onegen.geometry.rays import camera_rays
from onegen.sampler.options import SamplingOptions
from onegen.sampler.pose import estimate_cameras, frustum, name_cameras, plot_cameras, write_cameras

pytest.importorskip("matplotlib")

RIG = [orbit(angle, angle / 4, 1.7) for angle in (0, 25, 60, 100)]


class Seer:
    """A pipeline that knows the rays."""

    def __call__(self, task, views, prompt, negative_prompt, **options):
        self.asked = (task, views, negative_prompt, options)
        self.rays = camera_rays(RIG, 16, 16)[None]
        return self


def test_cameras_come_from_the_generated_rays(photos):
    seer = Seer()
    cameras = estimate_cameras(seer, photos[:4], "", "blurry", SamplingOptions(num_inference_steps=3))
    assert seer.asked[0] == "multiview"
    assert seer.asked[1] == [photos[0], None, photos[1], None, photos[2], None, photos[3], None]
    assert seer.asked[2] == "blurry"
    assert seer.asked[3]["num_inference_steps"] == 3
    for camera, truth in zip(cameras, relative_to_first(RIG), strict=True):
        np.testing.assert_allclose(camera.camera_to_world, truth.camera_to_world, atol=1e-4)


@pytest.mark.torch
def test_a_real_pipeline_gives_one_camera_per_photo(pipe, photos):
    options = SamplingOptions(height=64, width=64, num_inference_steps=2)
    cameras = estimate_cameras(pipe, photos[:3], options=options)
    np.testing.assert_allclose(cameras[0].camera_to_world, np.eye(4), atol=1e-6)
    assert len(cameras) == 3


def test_cameras_are_named_by_file_and_a_file_given_twice_is_numbered():
    paths = [Path("x/a.png"), Path("y/a.png"), Path("b.png"), Path("b.png")]
    assert list(name_cameras(paths, RIG)) == ["x/a.png", "y/a.png", "b.png#2", "b.png#3"]


def test_the_json_is_read_back(tmp_path):
    cameras = dict(zip(["a.png", "b.png", "c.png", "d.png"], relative_to_first(RIG), strict=True))
    write_cameras(tmp_path / "poses.json", cameras, 640, 480)
    back = from_nerfstudio(json.loads((tmp_path / "poses.json").read_text()))
    for name, camera in cameras.items():
        np.testing.assert_allclose(back[name].camera_to_world, camera.camera_to_world, atol=1e-9)


def test_a_frustum_opens_forward():
    points = frustum(Camera(np.eye(4), (1.0, 1.0)), 2.0, aspect=2.0)
    assert points.tolist() == [[0, 0, 0], [-2, -1, 2], [2, -1, 2], [2, 1, 2], [-2, 1, 2]]


def test_the_picture_shows_every_camera_in_its_colour(tmp_path):
    cameras = dict(zip("abcd", relative_to_first(RIG), strict=True))
    plot_cameras(tmp_path / "poses.png", cameras)
    pixels = np.asarray(Image.open(tmp_path / "poses.png").convert("RGB")).reshape(-1, 3).astype(int)
    for colour in ((31, 119, 180), (255, 127, 14), (44, 160, 44), (214, 39, 40)):  # C0 to C3
        assert (np.abs(pixels - colour).max(axis=1) < 12).sum() > 30
