"""The worker of Blender and who watches over it. PYTHONPATH=. python -m pytest tests/scenes/test_blender.py

Most of it runs against a program that the tests write: it speaks the worker's lines and misbehaves as real ones do.
ONEGEN_TEST_BLENDER=/path/to/blender (or to a python with bpy) lets the real one draw.
"""

import os
import stat
import sys

import numpy as np
import pytest

from onegen.config.recipe import make_source
from onegen.errors import ConfigError, SampleError
from onegen.geometry.cameras import Camera
from onegen.geometry.rigs import make_rig
from onegen.scenes.blender import BlenderRenderer
from onegen.scenes.embree import EmbreeRenderer
from onegen.scenes.scene import RenderOptions, read_scene
from onegen.shards.plan import read_plan
from tests.scenes import objects
from tests.tiny import dataset, make_recipe, run, statuses

FAKE = """#!{python}
import json, os, sys, time
import numpy as np
from PIL import Image

def tell(document):
    print("Fra:1 Mem:12M | Syncing")
    print("onegen " + json.dumps(document), flush=True)

mood = open({mood!r}).read()
if mood == "stillborn":
    sys.exit(3)
with open({log!r}, "a") as log:
    log.write("%d\\n" % os.getpid())
tell({{"ready": "9.9"}})
for line in sys.stdin:
    job = json.loads(line)
    mood = open({mood!r}).read()
    if mood == "hang":
        time.sleep(600)
    if mood == "die":
        os._exit(139)
    if mood == "fail":
        tell({{"failed": "RuntimeError: no importer"}})
        continue
    if mood == "babble":
        print("onegen {{", flush=True)
        continue
    width, height = job["width"], job["height"]
    for number, camera in enumerate(job["cameras"]):
        rgba = np.zeros((height, width, 4), np.uint8)
        rgba[2:4, 3:5] = [200, 100, 0, 255]
        rgba[4, 3] = [200, 100, 0, 51]
        if mood == "half":
            continue
        Image.fromarray(rgba).save(os.path.join(job["out"], "colour%04d.png" % number))
        depth = np.where(rgba[..., 3] > 128, np.float32(1.5), np.float32(0))
        depth.tofile(os.path.join(job["out"], "depth%04d.f32" % number))
    json.dump(job, open({seen!r}, "w"))
    tell({{"done": True}})
"""


class Fake:
    def __init__(self, folder):
        self.path, self.mood, self.log, self.seen = (folder / name for name in ("blender", "mood", "log", "seen.json"))
        names = {"python": sys.executable, "mood": str(self.mood), "log": str(self.log), "seen": str(self.seen)}
        self.path.write_text(FAKE.format(**names))
        self.path.chmod(self.path.stat().st_mode | stat.S_IXUSR)
        self.feel("well")

    def feel(self, mood):
        self.mood.write_text(mood)

    @property
    def started(self):
        return [int(line) for line in self.log.read_text().split()] if self.log.exists() else []


@pytest.fixture
def fake(tmp_path):
    return Fake(tmp_path)


@pytest.fixture
def scene(tmp_path):
    path = tmp_path / "object.glb"
    path.write_bytes(objects.glb(objects.cube()))
    return read_scene(path)


@pytest.fixture
def renderer(fake):
    renderer = BlenderRenderer(str(fake.path), seconds=30)
    yield renderer
    renderer.close()


CAMERAS = make_rig("ring", {"views": 2}).cameras()
OPTIONS = RenderOptions(8, 8, 16)


def gone(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_views_come_back_over_white_with_depth_mask_and_record(renderer, scene):
    first, second = renderer.render(scene, CAMERAS, OPTIONS)
    assert first.colour[2, 3].tolist() == [200, 100, 0]
    assert first.colour[4, 3].tolist() == [244, 224, 204]  # a fifth of it over white
    assert first.colour[0, 0].tolist() == [255, 255, 255]
    assert (first.mask > 0).sum() == 4
    assert first.depth[2, 3] == np.float32(1.5)
    assert second.camera is CAMERAS[1]
    assert (first.record["backend"], first.record["backend_version"], first.record["samples"]) == ("blender", "9.9", 16)


def test_one_worker_draws_object_after_object_and_is_then_replaced(fake, scene):
    renderer = BlenderRenderer(str(fake.path), objects_per_process=2)
    for _ in range(5):
        list(renderer.render(scene, CAMERAS, OPTIONS))
    assert len(fake.started) == len(set(fake.started)) == 3
    renderer.close()
    assert all(gone(pid) for pid in fake.started)


def test_a_worker_that_hangs_is_killed_at_its_deadline_and_the_next_object_gets_another(fake, scene):
    renderer = BlenderRenderer(str(fake.path), seconds=0.5)
    fake.feel("hang")
    with pytest.raises(SampleError) as caught:
        list(renderer.render(scene, CAMERAS, OPTIONS))
    assert caught.value.reason == "render_timeout"
    assert gone(fake.started[0])
    fake.feel("well")
    renderer.seconds = 30
    assert len(list(renderer.render(scene, CAMERAS, OPTIONS))) == 2
    renderer.close()


@pytest.mark.parametrize(
    ("mood", "reason", "workers"),
    [
        ("die", "renderer_died", 2),
        ("babble", "renderer_died", 2),
        ("fail", "render_failed", 1),
        ("half", "render_failed", 1),
    ],
)
def test_what_goes_wrong_with_one_object_leaves_the_next_alone(fake, renderer, scene, mood, reason, workers):
    fake.feel(mood)
    with pytest.raises(SampleError) as caught:
        list(renderer.render(scene, CAMERAS, OPTIONS))
    assert caught.value.reason == reason
    fake.feel("well")
    assert len(list(renderer.render(scene, CAMERAS, OPTIONS))) == 2
    assert len(fake.started) == workers


def test_a_program_that_does_not_start_or_is_not_there_is_the_users(fake, scene):
    fake.feel("stillborn")
    renderer = BlenderRenderer(str(fake.path))
    with pytest.raises(ConfigError, match="must start"):
        list(renderer.render(scene, CAMERAS, OPTIONS))
    with pytest.raises(ConfigError, match="is not a program here"):
        BlenderRenderer("blender-of-nowhere")


def test_cameras_of_oblong_pixels_are_refused(renderer, scene):
    with pytest.raises(ConfigError, match="square pixels"):
        list(renderer.render(scene, [Camera(np.eye(4), (1.0, 1.2))], OPTIONS))


def test_a_recipe_may_let_it_draw_objects(fake, tmp_path):
    (tmp_path / "objects").mkdir()
    (tmp_path / "objects" / "box.glb").write_bytes(objects.glb(objects.cube()))
    options = {"backend": "blender", "program": str(fake.path), "views": 2, "size": 32, "samples": 16}
    recipe = make_recipe(
        tmp_path / "objects", [], kind="scene", source={"objects": str(tmp_path / "objects"), **options}
    )
    run(recipe, tmp_path / "out")
    # The fake covers 5 of 1024 pixels: just less than a view must show.
    assert statuses(tmp_path / "out", "image") == ["failed blank_view"]
    source = make_source(recipe.source)
    (item,) = read_plan(dataset(tmp_path / "out").store, 0)
    told = source.annotations(item)["render"].values
    assert (told["backend"], told["backend_version"], told["samples"]) == ("blender", "9.9", 16)
    with pytest.raises(ConfigError, match="program must start Blender, and 'nowhere' is not a program here"):
        make_source({**recipe.source, "program": "nowhere"})


@pytest.mark.slow
@pytest.mark.skipif("ONEGEN_TEST_BLENDER" not in os.environ, reason="ONEGEN_TEST_BLENDER names no Blender")
def test_the_two_renderers_agree(tmp_path):
    holes = np.full((64, 64, 4), 255, np.uint8)
    holes[:, 40:, 3] = 0
    cut = objects.matte(baseColorTexture=objects.Image.fromarray(holes), alphaMode="MASK")
    (tmp_path / "object.glb").write_bytes(
        objects.glb(
            objects.sphere(4),
            objects.cube(0.8),
            objects.quad(None, 3, 3, material=cut),
            transforms=[np.eye(4), np.diag([1.0, 3, 1, 1]), np.eye(4)],
        )
    )
    scene, options = read_scene(tmp_path / "object.glb"), RenderOptions(128, 128, 16)
    cameras = make_rig("hammersley", {"views": 2}).cameras(3)
    blender = BlenderRenderer(os.environ["ONEGEN_TEST_BLENDER"], threads=2)
    try:
        theirs = list(blender.render(scene, cameras, options))
    finally:
        blender.close()
    for ours, other in zip(EmbreeRenderer().render(scene, cameras, options), theirs, strict=True):
        one, two = ours.mask > 0, other.mask > 0
        assert (one & two).sum() / (one | two).sum() >= 0.98
        assert np.median(np.abs(ours.depth - other.depth)[one & two]) < 1e-3
        assert np.abs(ours.colour.astype(int) - other.colour)[one & two].mean() < 20  # corners are darker there
