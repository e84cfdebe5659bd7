"""The scores of generated scenes: the truth scores what it must, and what needs no model scores what it must not.

PYTHONPATH=. python -m pytest tests/eval/test_solids.py
"""

import math
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from onegen.build.takedown import take_down
from onegen.config.recipe import load_recipe
from onegen.config.shipped import recipe_path
from onegen.config.training import load_training, training_path
from onegen.demo import scenes
from onegen.demo.scenes import PAINTS
from onegen.errors import ConfigError
from onegen.eval import ablate, reproduce
from onegen.eval.depth import MonocularDepth
from onegen.eval.depth_column import column_maps
from onegen.eval.records import Result, data_digest
from onegen.eval.score import score
from onegen.eval.solids import Solids, mean_near, read_scenes
from onegen.eval.table import make_protocol
from onegen.shards.dataset import Dataset
from onegen.storage import open_store
from tests.tiny import make_recipe, run, write_photos


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    root = tmp_path_factory.mktemp("solids")
    (root / "scenes").mkdir()
    for number in range(10):
        scenes.write_scene(root / "scenes", 48, 0, number)
    recipe = load_recipe(recipe_path("solids"))
    source = {**recipe.source, "folder": str(root / "scenes")}
    run(recipe.model_copy(update={"source": source, "samples_per_shard": 6}), root / "out", workers=0)
    return root / "out"


@pytest.fixture
def protocol(dataset):
    return Solids(data=dataset, train=dataset, size=32)


def write(protocol, folder, depth, image, other):
    """Write what a model would have drawn of each scene, by functions of (scene, the next one)."""
    found = protocol.scenes()
    for unit, scene, beside in zip(protocol.units(), found, (*found[1:], found[0]), strict=True):
        for name, make in zip(unit.outputs, (depth, image, other), strict=True):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            made = make(scene, beside)
            np.save(folder / name, made) if name.endswith(".npy") else Image.fromarray(made).save(folder / name)


def scored(protocol, folder):
    rows = [{"unit": unit.name, **row} for unit in protocol.units() for row in protocol.score(unit, folder)]
    return {metric.name: metric.value for metric in protocol.summarise(rows)}


def test_the_truth_beats_the_mean_map_and_the_wrong_condition(protocol, tmp_path):
    write(protocol, tmp_path, lambda s, _: s.near, lambda s, _: s.pixels, lambda _, other: other.pixels)
    got = scored(protocol, tmp_path)
    assert got["rmse"] == pytest.approx(0, abs=1e-9)
    assert got["abs_rel"] == pytest.approx(0, abs=1e-6)
    assert got["delta1"] == 1.0
    assert got["psnr"] == 100.0
    assert got["right_colour"] == 1.0
    assert got["rmse_won"] == 1.0
    assert got["rmse_mean"] > 0.05
    assert got["rmse_other"] > got["rmse_mean"]
    assert got["delta1_mean"] < 0.95
    assert got["psnr_other"] < 20
    assert got["right_colour_other"] < 0.5


def test_a_model_that_always_draws_the_mean_is_no_better_than_the_mean(protocol, tmp_path):
    mean = mean_near(protocol.train, 32)
    grey = np.full((32, 32, 3), 128, np.uint8)
    write(protocol, tmp_path, lambda *_: mean, lambda *_: grey, lambda *_: grey)
    got = scored(protocol, tmp_path)
    assert got["rmse"] == got["rmse_mean"] == got["rmse_other"]
    assert got["rmse_won"] == 0.0
    assert got["psnr"] == got["psnr_other"]
    # Grey is nearest to one colour, whatever was asked for.
    assert got["right_colour"] == got["right_colour_other"] < 0.5


def test_scenes_are_read_at_their_size(dataset):
    found = read_scenes(dataset, 32)
    assert len(found) == 10
    for scene in found:
        assert scene.pixels.shape == (32, 32, 3)
        assert scene.near.shape == scene.masks.shape == (32, 32)
        assert 0 <= scene.near.min() < 0.1
        assert 0.9 < scene.near.max() <= 1
        assert scene.masks.max() <= len(scene.colours)
        assert set(scene.colours) <= set(PAINTS)
        assert all(f"{colour} " in scene.caption.lower() for colour in scene.colours)


def test_what_was_taken_down_is_not_scored_nor_part_of_the_mean(dataset, tmp_path):
    shutil.copytree(dataset, tmp_path / "out")
    before = read_scenes(dataset, 32)
    known = data_digest(Solids(data=tmp_path / "out", train=dataset))
    take_down(Dataset(open_store(tmp_path / "out")), [("key", before[0].key), ("uri", "000007.png")])
    after = read_scenes(tmp_path / "out", 32)
    kept = [scene for number, scene in enumerate(before) if number not in (0, 7)]
    assert [scene.key for scene in after] == [scene.key for scene in kept]
    assert np.allclose(mean_near(tmp_path / "out", 32), np.mean([scene.near for scene in kept], axis=0))
    assert data_digest(Solids(data=tmp_path / "out", train=dataset)) != known
    assert len(column_maps(dataset, "depth")) == 10
    assert sorted(column_maps(tmp_path / "out", "depth")) == [f"{n:06d}" for n in range(10) if n not in (0, 7)]


def test_a_column_of_ours_stands_in_the_table_of_depth(dataset, tmp_path):
    """Its rows are found by the names of the photos, and scored as a folder of the same maps is."""
    nyuv2, maps = tmp_path / "nyuv2", tmp_path / "maps"
    nyuv2.mkdir()
    maps.mkdir()
    ramp = np.broadcast_to(np.linspace(1000, 5000, 640), (480, 640)).astype(np.uint16)
    for name in ("000001", "000004"):
        Image.new("RGB", (640, 480)).save(nyuv2 / f"{name}.png")
        Image.fromarray(ramp).save(nyuv2 / f"{name}_depth.png")
        own = column_maps(dataset, "depth")[name]()
        np.save(maps / f"{name}.npy", cv2.resize(own, (640, 480), interpolation=cv2.INTER_LINEAR))
    listing = nyuv2 / "filename_list_test.txt"
    listing.write_text("".join(f"{name}.png {name}_depth.png\n" for name in ("000001", "000004")))
    protocol = MonocularDepth(data=nyuv2)
    column = score(protocol, dataset, tmp_path / "column", "embedded head")
    assert column.items == 2
    assert column.metrics == score(protocol, maps, tmp_path / "folder", "embedded head").metrics
    listing.write_text("000001.png 000001_depth.png\n000099.png 000004_depth.png\n")
    Image.new("RGB", (640, 480)).save(nyuv2 / "000099.png")
    absent = MonocularDepth(data=nyuv2, listing=listing)
    with pytest.raises(ConfigError, match="1 of 2 are missing in .*: 000099.npy"):
        score(absent, dataset, tmp_path / "absent", "embedded head")


def test_another_dataset_is_refused(tmp_path, dataset):
    write_photos(tmp_path / "photos", 2)
    run(make_recipe(tmp_path / "photos", []), tmp_path / "out")
    with pytest.raises(ConfigError, match="column 'depth'"):
        Solids(data=tmp_path / "out", train=dataset).units()
    with pytest.raises(ConfigError, match="2 scenes"):
        Solids(data=dataset, train=dataset, samples=2).model_copy(update={"samples": 1}).units()


def test_the_proof_is_commands_that_end_in_a_table_and_a_picture(protocol, dataset, tmp_path):
    lines = reproduce.Proof(tmp_path, (32, 64)).commands()
    assert [line[1] for line in lines if line[0] == "onegen"].count("eval") == 2
    assert all(line[0] in ("onegen", "onegen.demo.scenes", "torch.distributed.run") for line in lines)
    alone = reproduce.Proof(tmp_path, (32, 64), cores=1).commands()
    assert [line[1] for line in alone if line[0] == "onegen"].count("train") == 2
    write(protocol, tmp_path / "pictures", lambda s, _: s.near, lambda s, _: s.pixels, lambda _, o: o.pixels)
    page = reproduce.grid(protocol, tmp_path / "pictures", 3)
    assert page.width > page.height
    rows = [{"unit": u.name, **r} for u in protocol.units() for r in protocol.score(u, tmp_path / "pictures")]
    result = Result.model_construct(metrics=protocol.summarise(rows))
    text = reproduce.table(result)
    assert "chance" in text
    assert "12.5%" in text
    assert "100.0%" in text


def test_the_second_part_goes_on_from_the_first_wherever_that_lies(tmp_path):
    usual = reproduce.Proof(sizes=(32, 64))
    assert [usual.recipe(size) for size in usual.sizes] == ["reproduce_32", "reproduce_64"]
    own = reproduce.Proof(tmp_path / "own", (32, 64), steps=3)
    first, second = (load_training(own.recipe(size)) for size in own.sizes)
    assert (first.steps, first.start) == (3, None)
    assert (second.steps, second.start) == (3, str(tmp_path / "own/reproduce_32/model"))
    assert second.data == load_training(training_path("reproduce_64")).data


def test_a_variant_changes_what_it_says_and_no_more():
    shipped = ablate.recipe_of(ablate.VARIANTS["shipped"], 10).model_dump()
    for variant in ablate.VARIANTS.values():
        own = ablate.recipe_of(variant, 10).model_dump()
        changed = {name for name in own if own[name] != shipped[name]}
        assert changed == set(variant.changes), variant
    with pytest.raises(SystemExit):
        ablate.main(["velocty"])


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_tiny_proof_goes_to_its_end(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PYTHONPATH", str(Path(reproduce.__file__).parents[2]))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(reproduce, "count_cores", lambda: 1)
    assert reproduce.main(["--out", "own", "--long", "--scenes", "24", "--unseen", "4", "--steps", "3"]) == 0
    printed = capsys.readouterr().out
    for size in (32, 64):
        assert f"{size} x {size} pixels, 4 scenes" in printed
        assert Image.open(f"own/reproduce_{size}.png").height > 4 * 96
    monkeypatch.setattr(ablate, "count_cores", lambda: 2)
    assert ablate.main(["velocity", "--out", "own", "--scenes", "24", "--unseen", "4", "--steps", "3"]) == 0
    (row,) = [
        line for line in capsys.readouterr().out.splitlines() if line.startswith("network.prediction: velocity (")
    ]
    assert len(re.findall(r"\d\.\d", row)) == 6, "minutes, and five scores"


def test_a_command_that_fails_ends_the_proof():
    with pytest.raises(ConfigError, match="exit code 2"):
        reproduce.run(["onegen", "train", "no_such_recipe", "--data", "nowhere", "--out", "nowhere"])
    assert math.isfinite(reproduce.run(["onegen", "--version"]))


def test_it_has_its_options_from_the_command_line(dataset):
    made = make_protocol("solids", {"data": dataset, "train": str(dataset), "size": 48})
    assert made.label == "solids-48"
    with pytest.raises(ConfigError, match="train"):
        make_protocol("solids", {"data": dataset})
