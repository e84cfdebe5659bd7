"""Views by Embree against what geometry says. PYTHONPATH=. python -m pytest tests/scenes/test_embree.py"""

import hashlib
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from onegen.errors import ConfigError
from onegen.geometry.cameras import orbit
from onegen.geometry.rigs import look_at_origin, make_rig
from onegen.scenes.embree import EmbreeRenderer
from onegen.scenes.lighting import to_srgb
from onegen.scenes.mesh import normalise
from onegen.scenes.reading import load_mesh
from onegen.scenes.renderers import make_renderer
from onegen.scenes.scene import RenderOptions, Scene, read_scene
from tests.scenes import objects

SMALL = RenderOptions(128, 128)
EVEN = RenderOptions(128, 128, lighting="even")


@pytest.fixture
def scene_of(tmp_path):
    def make(*meshes, fit="sphere", **options):
        path = tmp_path / "object.glb"
        path.write_bytes(objects.glb(*meshes, **options))
        return read_scene(path, fit=fit)

    return make


def draw(scene, camera, options=SMALL):
    (view,) = EmbreeRenderer().render(scene, [camera], options)
    return view


def pixel_grid(camera, options):
    """Directions (h,w,3) through pixel centres in the camera's frame, 1 along z, from the definition of a pinhole."""
    y, x = np.mgrid[: options.height, : options.width] + 0.5
    side = min(options.width, options.height)
    return np.stack(
        [
            (x - options.width / 2) / camera.focal[0] / side,
            (y - options.height / 2) / camera.focal[1] / side,
            np.ones_like(x),
        ],
        axis=-1,
    )


@pytest.mark.parametrize(("azimuth", "elevation"), [(0, 0), (70, 35), (200, -60)])
def test_a_sphere_has_its_silhouette_and_depth_from_everywhere(scene_of, azimuth, elevation):
    camera = orbit(azimuth, elevation, 1.7)
    view = draw(scene_of(objects.sphere(5)), camera)
    rays = pixel_grid(camera, SMALL)
    # the ray o + t d, t the depth, meets |x| = r where t^2 d.d - 2 t D + D^2 - r^2 = 0, the centre at depth D
    square = (rays**2).sum(-1)
    root = 1.7**2 - square * (1.7**2 - 0.25)
    inside = root > 0
    overlap = (inside & (view.mask > 0)).sum() / (inside | (view.mask > 0)).sum()
    assert overlap > 0.99
    both = inside & (view.mask > 0) & (root > 0.01)
    depth = (1.7 - np.sqrt(np.maximum(root, 0))) / square
    np.testing.assert_allclose(view.depth[both], depth[both], atol=2e-3)
    assert np.median(np.abs(view.depth[both] - depth[both])) < 3e-4  # the ball of the test has flat faces
    assert (view.depth[view.mask == 0] == 0).all()
    assert (view.colour[~inside & (view.mask == 0)][:, :].min(axis=1) >= 0).all()
    assert (view.colour[0, 0] == 255).all()


def test_a_cube_seen_head_on_has_a_flat_depth_and_its_own_colour(scene_of):
    scene = scene_of(objects.cube(2, (128, 64, 255, 255)), fit="cube")
    view = draw(scene, orbit(0, 0, 2.0), EVEN)
    inside = view.mask > 0
    np.testing.assert_allclose(view.depth[inside], 1.5, atol=1e-5)
    half = 0.5 / 1.5 * 1.3887 * 128
    assert abs(np.sqrt(inside.sum()) - 2 * half) < 1.5
    # under an even white world a matte surface shows its colour, but for the four hundredths that any surface mirrors
    expected = to_srgb(np.array([128, 64, 255]) / 255) * 255
    assert np.abs(view.colour[64, 64] - expected).max() < 12


def test_edges_are_blends_and_masks_are_not(scene_of):
    view = draw(scene_of(objects.cube(2, (0, 0, 0, 255))), orbit(30, 20, 1.7), EVEN)
    assert set(np.unique(view.mask)) == {0, 255}
    grey = view.colour[..., 0]
    assert ((grey > 60) & (grey < 240)).sum() > 30
    alone = draw(scene_of(objects.cube(2, (0, 0, 0, 255))), orbit(30, 20, 1.7), RenderOptions(128, 128, 1, "even"))
    assert not ((alone.colour[..., 0] > 60) & (alone.colour[..., 0] < 240)).any()


def test_left_is_left_and_up_is_up(scene_of):
    # The picture faces the file's +z, which glTF's y-up turns to the world's -y: the camera stands at azimuth -90.
    view = draw(scene_of(objects.quad(objects.quarters())), orbit(-90, 0, 1.7), EVEN)
    rows, columns = (np.flatnonzero((view.mask > 0).any(axis=axis)) for axis in (1, 0))
    upper, lower = np.percentile(rows, [25, 75]).astype(int)
    left, right = np.percentile(columns, [25, 75]).astype(int)
    for (row, column), wanted in {
        (upper, left): (255, 0, 0),
        (upper, right): (0, 255, 0),
        (lower, left): (0, 0, 255),
        (lower, right): (255, 255, 0),
    }.items():
        assert np.abs(view.colour[row, column].astype(int) - wanted).max() < 70, (row, column, view.colour[row, column])
        assert (view.colour[row, column] > 128).tolist() == [part > 128 for part in wanted]


def test_up_of_the_file_is_up_in_the_picture_and_a_camera_to_the_right_sees_the_right_side(scene_of):
    # A tall box with a small one on its +x side, at the top, in the file's axes (y up).
    tall, knob = objects.cube(1, (10, 10, 10, 255)), objects.cube(0.4, (250, 10, 10, 255))
    up, side = np.diag([1.0, 3, 1, 1]), np.eye(4)
    side[:3, 3] = [0.7, 1.3, 0]
    scene = scene_of(tall, knob, transforms=[up, side])
    front = draw(scene, orbit(-90, 0, 2.0), EVEN)  # the file's front, +z, faces the world's -y
    is_knob = (front.colour[..., 0] > 120) & (front.colour[..., 1] < 120)
    rows, columns = np.nonzero(is_knob)
    body_rows, body_columns = np.nonzero(front.mask > 0)
    assert rows.mean() < body_rows.mean() - 10
    assert columns.mean() > body_columns.mean() + 5
    seen = [
        ((v.colour[..., 0] > 120) & (v.colour[..., 1] < 120)).sum()
        for v in (draw(scene, orbit(-90 + turn, 0, 2.0), EVEN) for turn in (60, -60))
    ]
    assert seen[0] > seen[1]  # more azimuth moves the camera to its right, towards +x


def test_the_back_of_a_face_is_drawn_like_its_front(scene_of):
    front = draw(scene_of(objects.quad(objects.quarters())), orbit(-90, 0, 1.7))
    wound = draw(scene_of(objects.quad(objects.quarters(), flipped=True)), orbit(-90, 0, 1.7))
    np.testing.assert_array_equal(front.colour, wound.colour)
    behind = draw(scene_of(objects.quad(objects.quarters())), orbit(90, 0, 1.7))
    assert (behind.mask > 0).sum() == (front.mask > 0).sum()


def test_depth_of_one_view_lands_in_another_with_its_colour(scene_of):
    scene = scene_of(objects.sphere(5), objects.cube(0.9), transforms=[np.eye(4), np.diag([1.0, 2.6, 1, 1])])
    options = RenderOptions(256, 256, lighting="even")
    first, second = EmbreeRenderer().render(scene, [orbit(0, 10, 2.0), orbit(25, 25, 2.2)], options)
    rows, columns = np.nonzero(first.mask)
    local = pixel_grid(first.camera, options)[rows, columns] * first.depth[rows, columns, None]
    world = local @ first.camera.camera_to_world[:3, :3].T + first.camera.center
    there = (world - second.camera.center) @ second.camera.camera_to_world[:3, :3]
    x = there[:, 0] / there[:, 2] * second.camera.focal[0] * 256 + 128
    y = there[:, 1] / there[:, 2] * second.camera.focal[1] * 256 + 128
    column, row = np.floor(x).astype(int).clip(0, 255), np.floor(y).astype(int).clip(0, 255)
    # What the second view sees there is the same point, or something nearer that hides it: never something farther.
    seen = second.depth[row, column]
    near = second.depth[
        (row + np.array([[-1], [0], [1]])).clip(0, 255)[:, None], (column + np.array([[-1], [0], [1]])).clip(0, 255)
    ]
    assert (((near > 0) & (near < there[:, 2] + 0.02)).any(axis=(0, 1))).mean() > 0.999
    same = np.abs(seen - there[:, 2]) < 0.004
    assert same.mean() > 0.6
    difference = np.abs(first.colour[rows, columns].astype(int) - second.colour[row, column]).max(axis=1)[same]
    assert np.median(difference) <= 4
    assert np.percentile(difference, 80) < 40


def test_holes_are_holes_and_glass_lets_light_through(scene_of):
    holes = np.full((64, 64, 4), 255, np.uint8)
    holes[:, 32:, 3] = 0
    texture = objects.Image.fromarray(holes)
    cut = scene_of(objects.quad(None, material=objects.matte(baseColorTexture=texture, alphaMode="MASK")))
    view = draw(cut, orbit(-90, 0, 1.7))
    whole = draw(scene_of(objects.quad(objects.quarters())), orbit(-90, 0, 1.7))
    assert (view.mask > 0).sum() == pytest.approx((whole.mask > 0).sum() / 2, rel=0.05)
    columns = np.flatnonzero((view.mask > 0).any(axis=0))
    assert columns.max() <= 65
    pane = objects.quad(None, material=objects.matte(baseColorFactor=[255, 0, 0, 102], alphaMode="BLEND"))
    back = np.eye(4)
    back[2, 3] = -0.3
    black = objects.quad(None, width=0.5, height=0.5, material=objects.matte(baseColorFactor=[0, 0, 0, 255]))
    both = draw(scene_of(pane, black, transforms=[np.eye(4), back]), orbit(-90, 0, 1.7), EVEN)
    middle, rim = (
        both.colour[64, 64].astype(int),
        both.colour[64, np.flatnonzero(both.colour[64, :, 1] < 250)[2]].astype(int),
    )
    assert middle[0] > 60 + middle[1]  # red light before black
    assert middle.max() < 200
    assert rim[0] > 240  # red over white
    assert 120 < rim[1] < 220
    assert both.depth[64, 64] > draw(scene_of(pane), orbit(-90, 0, 1.7)).depth[64, 64]  # glass has no depth of its own


def test_maps_alone_are_those_of_the_whole_view(scene_of):
    panes = [objects.quad(None, material=objects.matte(baseColorFactor=[255, 0, 0, 40], alphaMode="BLEND"))]
    scene = scene_of(objects.sphere(3), *panes, transforms=[np.eye(4), np.diag([3.0, 3.0, 1.0, 1.0])])
    camera = orbit(40, 20, 1.9)
    whole = draw(scene, camera)
    alone = draw(scene, camera, RenderOptions(128, 128, 1, has_colour=False))
    assert (alone.colour == 255).all()
    assert alone.depth.tobytes() == whole.depth.tobytes()
    assert alone.mask.tobytes() == whole.mask.tobytes()


def test_a_vertex_that_no_face_uses_is_nowhere(tmp_path):
    cube, lost = objects.cube(), np.float32([[np.nan] * 3, [np.inf] * 3, [1e9] * 3])
    mesh = load_mesh(objects.glb(cube), ".glb")
    more = {
        name: np.concatenate([held, held[:3]])
        for name in ("normals", "uv", "colours")
        for held in [getattr(mesh, name)]
    }
    other = replace(mesh, positions=np.concatenate([mesh.positions, lost]), **more)
    drawn = [draw(Scene(*normalise(one, "y"), tmp_path), orbit(40, 20, 1.7)).colour.tobytes() for one in (mesh, other)]
    assert drawn[0] == drawn[1]


def test_suns_light_one_side_and_gloss_moves_with_the_eye(scene_of):
    scene = scene_of(objects.cube(1, (200, 200, 200, 255)))
    light = [draw(scene, orbit(azimuth, 0, 1.7)).colour[64, 64].mean() for azimuth in (0, 90, 180, 270)]
    assert max(light) - min(light) > 15
    even = [draw(scene, orbit(azimuth, 0, 1.7), EVEN).colour[64, 64].mean() for azimuth in (0, 90, 180, 270)]
    assert max(even) - min(even) <= 1


def test_what_glows_glows_without_light_and_metal_keeps_its_colour(scene_of):
    glow = objects.matte(baseColorFactor=[0, 0, 0, 255], emissiveFactor=[0.0, 1.0, 0.0])
    view = draw(scene_of(objects.quad(None, material=glow)), orbit(-90, 0, 1.7))
    assert view.colour[64, 64, 1] == 255
    assert view.colour[64, 64, 0] < 100
    gold = objects.PBRMaterial(baseColorFactor=[255, 180, 30, 255], metallicFactor=1.0, roughnessFactor=0.2)
    red, green, blue = draw(scene_of(objects.quad(None, material=gold)), orbit(-90, 0, 1.7), EVEN).colour[64, 64]
    assert red > green > blue


def test_a_fine_map_seen_small_becomes_its_mean_and_not_noise(scene_of):
    noise = objects.picture(np.random.default_rng(0).integers(0, 2, (1024, 1024, 1)).repeat(3, 2) * 255)
    view = draw(scene_of(objects.quad(noise)), orbit(-90, 0, 1.7), RenderOptions(48, 48, lighting="even"))
    inside = view.colour[16:32, 16:32, 0].astype(float)
    assert inside.std() < 25


def test_a_camera_within_the_object_and_one_that_misses_it(scene_of):
    scene = scene_of(objects.sphere(3))
    within = draw(scene, look_at_origin(0, 0, 0.2))
    assert (within.mask > 0).all()
    away = np.diag([1.0, -1, -1, 1])  # turned to look away from the object
    camera = orbit(0, 0, 3.0)
    turned = type(camera)(camera.camera_to_world @ np.diag([-1.0, 1, -1, 1]), camera.focal)
    assert away.shape == (4, 4)
    missed = draw(scene, turned)
    assert not missed.mask.any()
    assert (missed.colour == 255).all()


def test_a_wide_picture_shows_the_square_in_its_middle(scene_of):
    scene = scene_of(objects.sphere(3))
    square = draw(scene, orbit(20, 20, 1.7), RenderOptions(64, 64))
    wide = draw(scene, orbit(20, 20, 1.7), RenderOptions(128, 64))
    np.testing.assert_array_equal(wide.colour[:, 32:96], square.colour)


def test_a_record_says_how_a_view_was_made(scene_of):
    view = draw(scene_of(objects.sphere(2)), orbit(0))
    assert view.record["backend"] == "embree"
    assert view.record["backend_version"]
    assert view.record["samples"] == 4
    assert view.record["lighting"] == "studio"
    assert view.record["ignored"] == []
    assert view.record["scale"] == pytest.approx(0.5, abs=1e-3)


DRAW = """
import hashlib, sys
from pathlib import Path
from onegen.geometry.rigs import make_rig
from onegen.scenes.renderers import make_renderer
from onegen.scenes.scene import RenderOptions, Scene, read_scene
digest = hashlib.sha256()
for view in make_renderer("embree").render(
    read_scene(Path(sys.argv[1])), make_rig("ring", {"views": 3}).cameras(), RenderOptions(160, 160)
):
    digest.update(view.colour.tobytes() + view.depth.tobytes() + view.mask.tobytes())
print(digest.hexdigest())
"""


def test_a_view_has_the_same_bytes_again_and_on_one_core_or_all(scene_of):
    scene = scene_of(objects.sphere(5))
    digest = hashlib.sha256()
    for view in make_renderer("embree").render(
        scene, make_rig("ring", {"views": 3}).cameras(), RenderOptions(160, 160)
    ):
        digest.update(view.colour.tobytes() + view.depth.tobytes() + view.mask.tobytes())
    root = str(Path(__file__).parents[2])
    first = sorted(os.sched_getaffinity(0))[0]
    environments = [{"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}, {"OPENBLAS_NUM_THREADS": "4"}]
    for environment, cores in zip(environments, ({first}, os.sched_getaffinity(0)), strict=True):
        done = subprocess.run(
            [sys.executable, "-c", DRAW, str(scene.path)],
            env={**os.environ, "PYTHONPATH": root, **environment},
            preexec_fn=lambda cores=cores: os.sched_setaffinity(0, cores),
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip() == digest.hexdigest()


@pytest.mark.parametrize(
    ("options", "says"),
    [({"width": 0}, "1 to 8192"), ({"samples": 0}, "1 to 4096"), ({"lighting": "studoi"}, "did you mean 'studio'")],
)
def test_options_that_make_no_sense_are_refused(options, says):
    with pytest.raises(ConfigError) as caught:
        RenderOptions(**options)
    assert says in str(caught.value)


def test_an_unknown_renderer_is_refused_by_name():
    with pytest.raises(ConfigError, match="did you mean 'embree'"):
        make_renderer("embre")
