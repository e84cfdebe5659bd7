"""Every published layout, written here as its makers do, gives the cameras back that went in."""

import gzip
import json
import struct

import numpy as np
import pytest

from onegen.errors import SampleError
from onegen.geometry.cameras import change_axes
from onegen.geometry.rays import camera_rays
from onegen.geometry.rigs import RENDER_FOCAL, ZERO123_FOCAL
from onegen.scenes.captures.co3d import co3d_depth, co3d_qualities, read_co3d
from onegen.scenes.captures.colmap import colmap_shots, read_colmap
from onegen.scenes.captures.nerfstudio import read_nerfstudio
from onegen.scenes.captures.renders import gobjaverse_depth, gobjaverse_shots, read_gobjaverse, read_gso30
from onegen.sources.reading.arrays import stored_numbers
from tests.scenes.captures.layouts import (
    HEIGHT,
    NAMES,
    WIDTH,
    co3d,
    colmap,
    depth_of_gobjaverse,
    gobjaverse,
    gso30,
    nerfstudio,
    rig,
    save,
    write_jgz,
)


def agree(capture, names, cameras):
    assert [frame.path.name for frame in capture.frames] == names
    for frame, camera in zip(capture.frames, cameras, strict=True):
        np.testing.assert_allclose(frame.camera.camera_to_world, camera.camera_to_world, atol=1e-6)
        np.testing.assert_allclose(frame.camera.focal, camera.focal, atol=1e-6)
    ours = camera_rays([frame.camera for frame in capture.frames], 6, 8)
    np.testing.assert_allclose(ours, camera_rays(cameras, 6, 8), atol=1e-5)


# nerfstudio


def test_nerfstudio_round_trips_in_the_files_order(tmp_path):
    nerfstudio(tmp_path, rig())
    agree(read_nerfstudio(tmp_path), ["9.png", "8.png", "7.png", "6.png"], rig())


def test_dl3dv_has_its_pictures_in_a_smaller_set_and_its_intrinsics_in_full_size(tmp_path):
    nerfstudio(tmp_path, rig())
    (tmp_path / "images").rename(tmp_path / "images_4")
    for path in (tmp_path / "images_4").iterdir():
        save(path, WIDTH // 4, HEIGHT // 4)
    agree(read_nerfstudio(tmp_path), ["9.png", "8.png", "7.png", "6.png"], rig())


def test_a_synthetic_scene_has_the_angle_alone_and_no_ending(tmp_path):
    save(tmp_path / "train" / "r_0.png", 100, 100)
    pose = change_axes(rig()[0].camera_to_world, "opencv", "nerfstudio").tolist()
    frames = [{"file_path": "./train/r_0", "transform_matrix": pose}]
    document = {"camera_angle_x": 2 * np.arctan(0.5 / 1.2), "frames": frames}
    (tmp_path / "transforms.json").write_text(json.dumps(document))
    agree(read_nerfstudio(tmp_path), ["r_0.png"], rig()[:1])


def test_distortion_is_kept_for_who_straightens_the_picture(tmp_path):
    nerfstudio(tmp_path, rig(), k1=-0.2, k2=0.05, p1=0.001)
    capture = read_nerfstudio(tmp_path)
    lens = capture.frames[0].lens
    assert lens.distortion[:4] == (-0.2, 0.05, 0.001, 0.0)
    assert not lens.is_straight
    assert capture.frames[0].camera.focal == lens.focal
    assert capture.frames[0].camera.focal[0] != pytest.approx(1.2, abs=0.005)  # that of the straight picture


def test_depth_and_masks_beside_frames_are_found(tmp_path):
    document, path = nerfstudio(tmp_path, rig())
    save(tmp_path / "depth" / "a.png")
    document["frames"][0]["depth_file_path"] = "depth/a.png"
    path.write_text(json.dumps(document))
    assert read_nerfstudio(tmp_path).frames[0].depth == (tmp_path / "depth" / "a.png").resolve()


def break_frame(document, **changes):
    document["frames"][1].update(changes)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"transform_matrix": np.full((4, 4), np.nan).tolist()}, "bad_pose"),
        ({"transform_matrix": np.eye(3).tolist()}, "bad_pose"),
        ({"transform_matrix": [[1, 2], [3]]}, "bad_pose"),
        ({"transform_matrix": "no"}, "bad_pose"),
        ({"transform_matrix": np.diag([2.0, 2, 2, 1]).tolist()}, "bad_pose"),
        ({"file_path": "images/none.png"}, "missing_image"),
        ({"file_path": "../../etc/passwd"}, "unsafe_path"),
        ({"fl_x": float("nan")}, "no_intrinsics"),
        ({"fl_x": None}, "no_intrinsics"),
        ({"w": 0}, "no_intrinsics"),
        ({"cx": -5}, "no_intrinsics"),
        ({"camera_model": "EQUIRECTANGULAR"}, "unsupported_lens"),
    ],
)
def test_one_bad_frame_of_a_transforms_json_has_a_reason_and_its_neighbours_stay(tmp_path, changes, reason):
    document, path = nerfstudio(tmp_path, rig())
    break_frame(document, **changes)
    path.write_text(json.dumps(document))
    capture = read_nerfstudio(tmp_path)
    assert [refusal.reason for refusal in capture.refused] == [reason]
    assert len(capture.frames) == 3


def test_a_transforms_json_without_intrinsics_is_refused_as_a_whole(tmp_path):
    document, path = nerfstudio(tmp_path, rig())
    for frame in document["frames"]:
        del frame["fl_x"], frame["fl_y"]
    path.write_text(json.dumps(document))
    with pytest.raises(SampleError) as caught:
        read_nerfstudio(tmp_path)
    assert caught.value.reason == "no_intrinsics"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"frames": 5}', '{"frames": [5]}', "[" * 100_000])
def test_a_transforms_json_that_is_none_is_said(tmp_path, text):
    (tmp_path / "transforms.json").write_text(text)
    with pytest.raises(SampleError) as caught:
        read_nerfstudio(tmp_path)
    assert caught.value.reason == "unreadable_cameras"


def test_a_transforms_json_without_frames_is_said(tmp_path):
    (tmp_path / "transforms.json").write_text('{"frames": []}')
    with pytest.raises(SampleError) as caught:
        read_nerfstudio(tmp_path)
    assert caught.value.reason == "no_frames"


# COLMAP


@pytest.mark.parametrize("binary", [False, True])
def test_colmap_round_trips_by_name(tmp_path, binary):
    solved = colmap(tmp_path, rig(), binary)
    order = sorted(range(4), key=lambda number: NAMES[number])
    names, cameras = [NAMES[number].rpartition("/")[2] for number in order], [rig()[number] for number in order]
    agree(read_colmap(solved, tmp_path / "images"), names, cameras)


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize(
    ("model", "parameters", "kind", "distortion"),
    [
        ("SIMPLE_PINHOLE", (60, 32, 24), "brown", ()),
        ("SIMPLE_RADIAL", (60, 32, 24, 0.1), "brown", (0.1, 0, 0, 0, 0, 0, 0, 0)),
        ("RADIAL", (60, 32, 24, 0.1, 0.01), "brown", (0.1, 0.01, 0, 0, 0, 0, 0, 0)),
        ("OPENCV", (60, 61, 32, 24, 0.1, 0.01, 0.001, 0.002), "brown", (0.1, 0.01, 0.001, 0.002, 0, 0, 0, 0)),
        ("OPENCV_FISHEYE", (60, 61, 32, 24, 0.1, 0.01, 0.0, 0.0), "fisheye", (0.1, 0.01, 0, 0)),
        ("FULL_OPENCV", (60, 61, 32, 24, *[0.01] * 8), "brown", (0.01,) * 8),
        ("SIMPLE_RADIAL_FISHEYE", (60, 32, 24, 0.1), "fisheye", (0.1, 0, 0, 0)),
    ],
)
def test_every_lens_of_colmap_is_read(tmp_path, binary, model, parameters, kind, distortion):
    capture = read_colmap(colmap(tmp_path, rig(), binary, model, parameters), tmp_path / "images")
    lens = capture.frames[0].lens
    assert (lens.fx, lens.cx, lens.cy) == (60, 32, 24)
    assert lens.model == kind
    assert lens.distortion == pytest.approx(distortion)


@pytest.mark.parametrize(("model", "parameters"), [("FOV", (60, 60, 32, 24, 0.1)), ("THIN_PRISM_FISHEYE", (60,) * 12)])
def test_a_lens_that_cannot_be_made_straight_is_said(tmp_path, model, parameters):
    with pytest.raises(SampleError) as caught:
        read_colmap(colmap(tmp_path, rig(), True, model, parameters), tmp_path / "images")
    assert caught.value.reason == "unsupported_lens"


def test_unregistered_pictures_missing_ones_and_bad_poses_have_reasons(tmp_path):
    solved = colmap(tmp_path, rig(), binary=False)
    save(tmp_path / "images" / "later.png")
    (tmp_path / "images" / "a.png").unlink()
    text = (solved / "images.txt").read_text().splitlines()
    words = text[1].split(" ", 2)
    text[1] = f"{words[0]} nan {words[2]}"
    (solved / "images.txt").write_text("\n".join(text) + "\n")
    capture = read_colmap(solved, tmp_path / "images")
    assert {refusal.name: refusal.reason for refusal in capture.refused} == {
        "a.png": "missing_image",
        "b c.png": "bad_pose",
        "later.png": "unregistered",
    }
    assert [frame.path.name for frame in capture.frames] == ["d.png", "c.png"]


def test_masks_of_colmap_are_called_after_their_pictures(tmp_path):
    model = colmap(tmp_path, rig(), True)
    documents = {path.name: path.read_bytes() for path in model.iterdir()}
    there = ["images/a.png", "masks/a.png.png", "masks/a.png", "masks/b c.png", "masks/sub/c.png.png", "masks/e.png"]
    shots = colmap_shots(documents, there)
    masks = {shot.name: shot.mask for shot in shots}
    told = {"a.png": "masks/a.png.png", "b c.png": "masks/b c.png", "sub/c.png": "masks/sub/c.png.png", "d.png": None}
    assert masks == told


@pytest.mark.parametrize("cut", [4, 60, 200])
def test_a_model_cut_short_is_said(tmp_path, cut):
    solved = colmap(tmp_path, rig(), binary=True)
    data = (solved / "images.bin").read_bytes()
    (solved / "images.bin").write_bytes(data[:cut])
    with pytest.raises(SampleError) as caught:
        read_colmap(solved, tmp_path / "images")
    assert caught.value.reason == "unreadable_cameras"


# CO3D


@pytest.mark.parametrize("form", ["ndc_isotropic", "ndc_norm_image_bounds"])
def test_co3d_round_trips_by_frame_number(tmp_path, form):
    co3d(tmp_path, rig(), form)
    capture = read_co3d(tmp_path, "apple")["110_1"]
    agree(capture, [f"frame{number:06d}.png" for number in range(4)], rig())


def test_a_principal_point_of_co3d_points_left_and_up(tmp_path):
    entries, sequences = co3d(tmp_path, rig())
    entries[0]["viewpoint"]["principal_point"] = [0.25, -0.5]
    write_jgz(tmp_path, entries, sequences)
    lens = read_co3d(tmp_path, "apple")["110_1"].frames[0].lens
    assert (lens.cx, lens.cy) == (WIDTH / 2 - 0.25 * HEIGHT / 2, HEIGHT / 2 + 0.5 * HEIGHT / 2)


def test_the_score_of_a_sequence_is_read(tmp_path):
    co3d(tmp_path, rig(), score=0.3)
    assert co3d_qualities((tmp_path / "apple" / "sequence_annotations.jgz").read_bytes()) == {"110_1": 0.3}


def test_frames_of_co3d_without_viewpoint_or_intrinsics_are_refused(tmp_path):
    entries, sequences = co3d(tmp_path, rig())
    entries[0]["viewpoint"] = None
    del entries[1]["viewpoint"]["focal_length"]
    entries[2]["viewpoint"]["T"] = [0, float("nan"), 0]
    write_jgz(tmp_path, entries, sequences)
    capture = read_co3d(tmp_path, "apple")["110_1"]
    assert [refusal.reason for refusal in capture.refused] == ["unregistered", "no_intrinsics", "bad_pose"]


@pytest.mark.parametrize(
    "data",
    [b"", b"no gzip", gzip.compress(b"{", mtime=0), gzip.compress(b"{}", mtime=0), gzip.compress(b"[5]", mtime=0)],
)
def test_annotations_that_are_none_are_said(tmp_path, data):
    co3d(tmp_path, rig())
    (tmp_path / "apple" / "frame_annotations.jgz").write_bytes(data)
    with pytest.raises(SampleError) as caught:
        read_co3d(tmp_path, "apple")
    assert caught.value.reason == "unreadable_cameras"


def test_depth_of_co3d_is_half_floats_in_sixteen_bits():
    depth = np.array([[0.0, 1.5], [2.25, np.inf]], np.float16)
    np.testing.assert_array_equal(co3d_depth(depth.view(np.uint16), 2.0), [[0, 3.0], [4.5, 0]])


# renders


def test_gobjaverse_round_trips(tmp_path):
    cameras = rig(RENDER_FOCAL)
    gobjaverse(tmp_path, cameras)
    agree(read_gobjaverse(tmp_path), [f"{number:05d}.png" for number in range(4)], cameras)


def test_depth_of_gobjaverse_is_the_last_channel_where_it_can_be(tmp_path):
    cameras = rig(RENDER_FOCAL)
    gobjaverse(tmp_path, cameras)
    away = np.linalg.norm(cameras[1].center)
    depth_of_gobjaverse(tmp_path, 1, np.array([[away, away - 0.8], [away - 0.9, 0.0]]))
    frames = read_gobjaverse(tmp_path).frames
    assert [frame.depth and frame.depth.name for frame in frames] == [None, "00001_nd.exr", None, None]
    (shot,) = (shot for shot in shots_of(tmp_path) if shot.depth)
    stored = stored_numbers("nd", frames[1].depth.read_bytes())
    np.testing.assert_allclose(gobjaverse_depth(stored, shot), [[away, away - 0.8], [0, 0]], rtol=1e-6)
    with pytest.raises(SampleError, match="channels R, G, B, A"):
        gobjaverse_depth(stored[:, :, 0], shot)


def shots_of(folder):
    files = [path.relative_to(folder).as_posix() for path in folder.rglob("*.*")]
    documents = {name: (folder / name).read_bytes() for name in files if name.endswith(".json")}
    return gobjaverse_shots(documents, files)


@pytest.mark.parametrize("cut", [4, 100, 400])
def test_an_exr_that_is_none_or_too_large_is_said(tmp_path, cut):
    (tmp_path / "00000").mkdir()
    depth_of_gobjaverse(tmp_path, 0, np.ones((40, 50)))
    data = (tmp_path / "00000/00000_nd.exr").read_bytes()
    assert stored_numbers("nd", data).shape == (40, 50, 4)
    at = data.index(b"dataWindow\0box2i\0") + 21
    large = data[:at] + struct.pack("<4i", 0, 0, 99_999, 99_999) + data[at + 16 :]
    for broken in (data[:cut], large):
        with pytest.raises(SampleError) as caught:
            stored_numbers("nd", broken)
        assert caught.value.reason == "brought_pixels"


def test_a_view_of_gobjaverse_that_looks_away_is_of_another_convention(tmp_path):
    gobjaverse(tmp_path, rig())
    path = tmp_path / "00002" / "00002.json"
    document = json.loads(path.read_text())
    path.write_text(json.dumps({**document, "y": [-v for v in document["y"]], "z": [-v for v in document["z"]]}))
    assert [refusal.reason for refusal in read_gobjaverse(tmp_path).refused] == ["bad_pose"]


def test_gso30_round_trips(tmp_path):
    cameras = rig(ZERO123_FOCAL)
    gso30(tmp_path, cameras)
    agree(read_gso30(tmp_path), [f"{number:03d}.png" for number in range(4)], cameras)


def test_a_matrix_of_gso30_looks_along_minus_z_with_y_up(tmp_path):
    # x_camera = R x_world + t: a camera at z = 2 that looks down at the origin, its up along the world's y
    save(tmp_path / "000.png", 64, 64)
    np.save(tmp_path / "000.npy", np.hstack([np.eye(3), [[0], [0], [-2.0]]]))
    (frame,) = read_gso30(tmp_path).frames
    np.testing.assert_allclose(frame.camera.center, [0, 0, 2])
    np.testing.assert_allclose(frame.camera.forward, [0, 0, -1])
    np.testing.assert_allclose(frame.camera.camera_to_world[:3, 1], [0, -1, 0])


def test_matrices_of_gso30_that_are_none_have_reasons(tmp_path):
    gso30(tmp_path, rig())
    np.save(tmp_path / "000.npy", np.full((3, 4), np.nan))
    (tmp_path / "001.npy").unlink()
    (tmp_path / "002.npy").write_bytes(b"no array")
    np.save(tmp_path / "009.npy", np.eye(4)[:3])
    np.save(tmp_path / "008.npy", np.array([object()]), allow_pickle=True)
    save(tmp_path / "008.png")
    np.save(tmp_path / "007.npy", np.zeros((3, 4)))
    save(tmp_path / "007.png")
    capture = read_gso30(tmp_path)
    assert {refusal.name: refusal.reason for refusal in capture.refused} == {
        "000": "bad_pose",
        "001": "unregistered",
        "002": "bad_pose",
        "007": "bad_pose",
        "008": "bad_pose",
        "009": "missing_image",
    }
    assert [frame.path.name for frame in capture.frames] == ["003.png"]


def test_a_folder_without_views_is_said(tmp_path):
    for read in (read_gso30, read_gobjaverse):
        with pytest.raises(SampleError) as caught:
            read(tmp_path)
        assert caught.value.reason == "no_frames"
