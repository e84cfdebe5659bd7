"""Scenes of solids are what they say: masks, depth and captions against the geometry, by other ways.

PYTHONPATH=. python -m pytest tests/demo/test_scenes.py
"""

import hashlib
import itertools
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from onegen.config.recipe import load_recipe
from onegen.config.shipped import recipe_path
from onegen.demo import scenes
from onegen.demo.scenes import (
    FLOORS,
    PAINTS,
    PLACES,
    SKIES,
    WALL,
    Scene,
    Thing,
    caption_of,
    draw,
    make_scene,
    objects_of,
)
from onegen.demo.solids import SOLIDS, Ball, Box, Cone, Cylinder, Solid, View
from tests.tiny import rows, run

SEEDS = range(40)


def inside(solid: Solid, points: np.ndarray) -> np.ndarray:
    """Say which points (N,3) lie in a solid, by its definition and not by rays."""
    x, y, z = points[:, 0] - solid.x, points[:, 1], points[:, 2] - solid.z
    across = np.hypot(x, z)
    upright = (y >= 0) & (y <= solid.tall)
    match solid:
        case Ball():
            return x**2 + (y - solid.radius) ** 2 + z**2 <= solid.radius**2
        case Cylinder():
            return upright & (across <= solid.radius)
        case Cone():
            return upright & (across <= solid.radius * (1 - y / solid.tall))
        case Box():
            cos, sin = np.cos(np.pi / 6), np.sin(np.pi / 6)
            half = 0.8 * solid.radius
            return upright & (np.abs(cos * x + sin * z) <= half) & (np.abs(cos * z - sin * x) <= half)
    raise AssertionError(solid)


@pytest.mark.parametrize("kind", SOLIDS)
def test_rays_meet_a_solid_where_it_begins(kind):
    solid = SOLIDS[kind](0.3, 4.0, 0.9, 1.8)
    origin, grid = View(2.2, 0.3).rays(40, 40)
    rays = grid.reshape(-1, 3)
    depth, normals = solid.hits(origin, rays)
    steps = np.linspace(0.5, 7, 1301)
    walked = np.stack([inside(solid, origin + rays * t) for t in steps])
    met = walked.any(0)
    # A ray that only brushes it may pass between two steps.
    assert np.isfinite(depth)[met].all()
    assert (np.isfinite(depth) & ~met).sum() <= 0.02 * met.sum() + 2
    assert met.sum() > 100
    first = steps[walked.argmax(0)][met]
    assert (first - depth[met] > -1e-9).all()
    assert (first - depth[met] <= 0.006).all()
    assert np.allclose(np.linalg.norm(normals[met], axis=-1), 1)
    assert ((normals[met] * rays[met]).sum(-1) < 1e-9).all()


def test_depth_is_planar():
    wall = Scene(View(1.5, 0.0), (), "grey", WALL)
    drawn = draw(wall, 48, 64)
    # Without a pitch, the wall has one depth, and a row of the floor too.
    assert np.allclose(drawn.inverse[:10], 1 / 11.0, rtol=1e-6)
    assert np.allclose(drawn.inverse[-1], drawn.inverse[-1, 0], rtol=1e-6)
    row = 0.5 / 64  # the last row's centre lies 23.5 pixels below the axis
    assert drawn.inverse[-1, 0] == pytest.approx((47 * row) / 1.5, rel=1e-6)


def test_a_ball_is_as_large_as_it_should_be():
    ball = Thing("ball", "red", Ball(0.0, 5.0, 0.8, 1.6))
    drawn = draw(Scene(View(0.8, 0.0), (ball,), "grey", WALL), 201, 201)
    ((item),) = objects_of(Scene(View(0.8, 0.0), (ball,), "grey", WALL), drawn)
    # A sphere's outline is seen at tan(asin(r / d)).
    radius = 201 * np.tan(np.arcsin(0.8 / 5.0))
    assert item["x1"] - item["x0"] == pytest.approx(2 * radius, abs=1.5)
    assert drawn.inverse[100, 100] == pytest.approx(1 / 4.2, rel=1e-4)


def test_the_sky_is_infinitely_far_and_farther_things_are_darker():
    for seed in SEEDS:
        scene = make_scene(seed)
        drawn = draw(scene, 32, 32)
        assert np.isfinite(drawn.inverse).all()
        assert (drawn.inverse >= 0).all()
        assert (drawn.inverse[0].min() == 0) == (scene.back != WALL) or drawn.masks[0].any()


def test_every_thing_is_seen_and_has_the_colour_that_the_caption_says():
    right = total = 0
    for seed in SEEDS:
        scene = make_scene(seed)
        drawn = draw(scene, 64, 64)
        caption = caption_of(scene)
        for number, thing in enumerate(scene.things, 1):
            assert thing.name in caption
            mask = drawn.masks == number
            assert mask.mean() > 0.008
            mean = drawn.pixels[mask].mean(0)
            near = min(
                PAINTS,
                key=lambda name: np.linalg.norm(
                    np.array(PAINTS[name]) / np.linalg.norm(PAINTS[name]) - mean / np.linalg.norm(mean)
                ),
            )
            right, total = right + (near == thing.colour), total + 1
    assert right >= 0.95 * total


def test_places_and_relations_are_true_of_the_picture():
    checked: Counter[str] = Counter()
    for seed in range(400):
        scene = make_scene(seed)
        drawn = draw(scene, 64, 64)
        text = caption_of(scene).lower()
        middles = [float(np.nonzero(drawn.masks == n)[1].mean()) for n in range(1, len(scene.things) + 1)]
        for thing, column in zip(scene.things, middles, strict=True):
            (place,) = (place for place in PLACES if f"{thing.name} {place}" in text)
            # What is hidden in part, or cut by the rim, has its middle elsewhere.
            third = 64 / 3 * PLACES.index(place)
            checked[place] += third - 9 <= column <= third + 64 / 3 + 9
        for first, second in itertools.permutations(scene.things, 2):
            told = f"the {first.name} is in front of the {second.name}", f"the {second.name} is behind the {first.name}"
            if any(words in text for words in told):
                checked["in front of"] += 1
                assert first.solid.project(scene.view, 64)[1] < second.solid.project(scene.view, 64)[1]
    assert sum(checked[place] for place in PLACES) > 0.95 * sum(len(make_scene(seed).things) for seed in range(400))
    assert min(checked[place] for place in PLACES) > 100
    assert checked["in front of"] > 10


def test_all_words_are_used_and_each_seed_is_another_scene():
    drawn = [make_scene(seed) for seed in range(120)]
    assert {scene.floor for scene in drawn} == set(FLOORS)
    assert {scene.back for scene in drawn} == {*SKIES, WALL}
    assert {thing.kind for scene in drawn for thing in scene.things} == set(SOLIDS)
    assert {thing.colour for scene in drawn for thing in scene.things} == set(PAINTS)
    assert {len(scene.things) for scene in drawn} == {1, 2, 3}
    assert len({caption_of(scene) for scene in drawn}) > 110
    assert make_scene(5) == drawn[5]


def digests(root: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in root.iterdir()}


def test_files_are_the_same_again_and_build_as_the_recipe_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ("demo/solids", "again"):
        assert scenes.main([folder, "--count", "6", "--size", "32"]) == 0
    assert digests(tmp_path / "demo/solids") == digests(tmp_path / "again")
    summary = run(load_recipe(recipe_path("solids")), tmp_path / "out")
    assert all(counts.ok == 6 for counts in summary.counts.values())
    named = [row.values["entities"] for row in rows(tmp_path / "out", "entities")]
    areas = [row.values["areas"] for row in rows(tmp_path / "out", "segmentation")]
    for index, (entities, shares) in enumerate(zip(named, areas, strict=True)):
        about = json.loads((tmp_path / f"again/{index:06d}.json").read_text())
        assert [entity["label"] for entity in entities] == [thing["label"] for thing in about["objects"]]
        mask = np.array(Image.open(tmp_path / f"again/{index:06d}.mask.png"))
        assert shares == [round(float((mask == n).mean()), 5) for n in range(1, len(entities) + 1)]


def test_odd_numbers_are_refused(tmp_path):
    for words in (["--count", "0"], ["--size", "8"]):
        with pytest.raises(SystemExit) as ended:
            scenes.main([str(tmp_path), *words])
        assert ended.value.code == 2
