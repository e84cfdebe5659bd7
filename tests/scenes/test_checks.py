"""What is said of poor views and captures. PYTHONPATH=. python -m pytest tests/scenes/test_checks.py"""

import cv2
import numpy as np
import pytest

from onegen.geometry.cameras import Camera, orbit
from onegen.geometry.rigs import make_rig
from onegen.scenes.checks import coverage, is_inward, num_cropped, view_faults
from onegen.scenes.embree import EmbreeRenderer
from onegen.scenes.preview import main
from onegen.scenes.scene import RenderOptions, read_scene
from tests.scenes import objects


def views(path, cameras, fit="sphere"):
    path.write_bytes(objects.glb(objects.cube()))
    return list(EmbreeRenderer().render(read_scene(path, fit=fit), cameras, RenderOptions(64, 64)))


def test_a_ball_fits_from_a_distance_of_one_and_a_half_and_a_cube_does_not(tmp_path):
    close = [orbit(45, 30, 1.5)]
    assert view_faults(views(tmp_path / "a.glb", close)[0]) == []
    assert view_faults(views(tmp_path / "a.glb", close, "cube")[0]) == ["cropped"]
    far = make_rig("gobjaverse").cameras()
    assert [view_faults(view) for view in views(tmp_path / "a.glb", far, "cube")] == [[]] * 40


@pytest.mark.parametrize("fit", ["sphere", "cube"])
def test_vertices_tell_what_is_cropped_as_the_picture_does(tmp_path, fit):
    cameras = [orbit(45, 30, distance) for distance in (0.3, 1.2, 1.4, 1.5, 1.7, 2.6)]
    path = tmp_path / "a.glb"
    seen = ["cropped" in view_faults(view) for view in views(path, cameras, fit)]
    mesh = read_scene(path, fit=fit).mesh
    assert [num_cropped(mesh, [camera], 64, 64) for camera in cameras] == [int(cropped) for cropped in seen]
    assert num_cropped(mesh, cameras, 64, 64) == sum(seen)
    assert seen[0]
    assert not seen[-1]


def test_an_object_far_away_is_blank(tmp_path):
    assert view_faults(views(tmp_path / "a.glb", [orbit(0, 0, 60.0)])[0]) == ["blank"]


def test_coverage_is_the_angle_walked_around_the_object():
    assert coverage([orbit(0), orbit(40)]) == pytest.approx(40, abs=1e-3)
    assert coverage([orbit(azimuth) for azimuth in (0, 90, 180)]) == pytest.approx(180, abs=1e-3)
    assert coverage([orbit(0)]) == 0
    assert coverage([orbit(0), orbit(0)]) == 0


def test_looking_in_and_looking_out_are_told_apart():
    ring = [orbit(azimuth, 10) for azimuth in range(0, 360, 60)]
    assert is_inward(ring)
    turned = [Camera(camera.camera_to_world @ np.diag([-1.0, 1, -1, 1])) for camera in ring]
    assert not is_inward(turned)


def test_a_person_can_look_at_an_object(tmp_path, capsys):
    path, out = tmp_path / "a.glb", tmp_path / "a.png"
    path.write_bytes(objects.glb(objects.sphere(2)))
    assert main([str(path), str(out), "--views", "3", "--size", "32"]) == 0
    assert cv2.imread(str(out)).shape == (64, 96, 3)
    assert "nothing to note" in capsys.readouterr().out
    path.write_bytes(b"glTF no more")
    assert main([str(path), str(out)]) == 1
    assert "unreadable_mesh" in capsys.readouterr().err
    assert main([str(path), str(out), "--rig", "rnig"]) == 1
    assert "did you mean 'ring'" in capsys.readouterr().err
