"""Scoring a folder: what is wrong with it, who did which part, and that the summary is a fold."""

import json
import random
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from onegen.errors import ConfigError
from onegen.eval.cameras import CameraPose
from onegen.eval.crew import Crew, Part, parse_part
from onegen.eval.nvs import NovelViews
from onegen.eval.records import ITEMS, PIECES, RESULT, read_result
from onegen.eval.score import Incomplete, fold, read_rows, score
from tests.conftest import ROOT
from tests.eval.dying import Dying


@pytest.fixture
def folder(true_views, tmp_path):
    return shutil.copytree(true_views, tmp_path / "mine")


@pytest.fixture
def protocol(objects):
    return NovelViews(data=objects)


def metrics(result):
    return {metric.name: metric.value for metric in result.metrics}


def test_the_truth_scores_the_cap_and_a_row_an_item_is_kept(protocol, folder, tmp_path):
    result = score(protocol, folder, tmp_path / "out", "truth")
    assert metrics(result)["psnr"] == 100.0
    assert metrics(result)["ssim"] == pytest.approx(1.0)
    rows = read_rows(tmp_path / "out" / ITEMS)
    assert len(rows) == 30 == result.items
    assert {row["status"] for row in rows} == {"ok"}
    assert read_result(tmp_path / "out" / RESULT) == result
    assert len(result.data_digest) == 64
    assert result.lacks == "2 objects, and GSO30 has 30"


def test_levels_are_decibels(protocol, folder, tmp_path):
    for path in folder.rglob("*.png"):
        pixels = np.asarray(Image.open(path)).astype(int)
        Image.fromarray(np.where(pixels > 240, pixels - 10, pixels + 10).astype(np.uint8)).save(path)
    assert round(metrics(score(protocol, folder, tmp_path / "out", "x"))["psnr"], 4) == 28.1308


def test_a_white_prediction_scores_what_the_silhouette_says(protocol, folder, tmp_path):
    decibels = []
    for path in folder.rglob("*.png"):
        away = 1 - np.asarray(Image.open(path)) / 255
        assert 0.2 < (away.max(axis=-1) == 0).mean() < 0.95  # white around the object, which is there
        decibels.append(-10 * np.log10((away**2).mean()))
        Image.new("RGB", (256, 256), "white").save(path)
    psnr = metrics(score(protocol, folder, tmp_path / "out", "x"))["psnr"]
    assert psnr == pytest.approx(np.mean(decibels), abs=1e-3)


def test_missing_pictures_are_an_error_unless_partial(protocol, folder, tmp_path):
    (folder / "cube" / "012.png").unlink()
    with pytest.raises(ConfigError, match=r"1 of 30 are missing in .*: cube/012.png"):
        score(protocol, folder, tmp_path / "out", "x")
    result = score(protocol, folder, tmp_path / "out", "x", is_partial=True)
    assert (result.items, result.left_out) == (15, 1)


def test_extra_pictures_are_named(protocol, folder, tmp_path):
    shutil.copy(folder / "cube" / "012.png", folder / "cube" / "025.png")
    with pytest.raises(ConfigError, match=r"1 more lie in .*: cube/025.png"):
        score(protocol, folder, tmp_path / "out", "x")


def test_a_wrongly_sized_picture_is_named(protocol, folder, tmp_path):
    Image.new("RGB", (512, 512)).save(folder / "ball" / "011.png")
    with pytest.raises(ConfigError, match=r"ball: size: .*011.png must be 256x256 pixels, got 512x512"):
        score(protocol, folder, tmp_path / "out", "x")


def test_a_truncated_picture_is_named_and_mended(protocol, folder, tmp_path):
    path = folder / "ball" / "010.png"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ConfigError, match=r"1 of 16 could not be scored: ball: unreadable: .*010.png"):
        score(protocol, folder, tmp_path / "out", "x")
    assert not (tmp_path / "out" / RESULT).exists()
    path.write_bytes(whole)
    assert score(protocol, folder, tmp_path / "out", "x").items == 30


def test_two_shards_folded_equal_one_run(objects, true_cameras, tmp_path, monkeypatch):
    monkeypatch.setattr("onegen.eval.score.CHUNK", 1)
    protocol = CameraPose(data=objects)
    whole = score(protocol, true_cameras, tmp_path / "whole", "x")
    first = score(protocol, true_cameras, tmp_path / "parts", "x", part=Part(0, 2))
    assert first == Incomplete(1, 2)
    second = score(protocol, true_cameras, tmp_path / "parts", "x", part=Part(1, 2))
    assert second == whole
    assert read_rows(tmp_path / "parts" / ITEMS) == read_rows(tmp_path / "whole" / ITEMS)


def test_what_is_scored_is_not_scored_again(objects, true_cameras, tmp_path, monkeypatch):
    monkeypatch.setattr("onegen.eval.score.CHUNK", 1)
    protocol, out = CameraPose(data=objects), tmp_path / "out"
    whole = score(protocol, true_cameras, out, "x")
    pieces = sorted((out / PIECES).iterdir())
    stamps = [piece.stat().st_mtime_ns for piece in pieces]
    pieces[0].unlink()
    (out / RESULT).unlink()
    assert score(protocol, true_cameras, out, "x") == whole
    assert (out / PIECES / pieces[1].name).stat().st_mtime_ns == stamps[1]


def test_killed_while_scoring_and_resumed_equals_undisturbed(objects, true_cameras, tmp_path, monkeypatch):
    out = tmp_path / "out"
    program = (
        "from pathlib import Path\n"
        "import onegen.eval.score\n"
        "from tests.eval.dying import Dying\n"
        "onegen.eval.score.CHUNK = 1\n"
        f"dying = Dying(data=Path({str(objects)!r}))\n"
        f"onegen.eval.score.score(dying, Path({str(true_cameras)!r}), Path({str(out)!r}), 'x')\n"
    )
    died = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=ROOT)
    assert died.returncode == 7, died.stderr
    (first,) = (out / PIECES).iterdir()
    stamp = first.stat().st_mtime_ns
    assert not (out / RESULT).exists()
    monkeypatch.setattr("onegen.eval.score.CHUNK", 1)
    protocol = CameraPose(data=objects)
    resumed = score(protocol, true_cameras, out, "x")
    assert resumed == score(protocol, true_cameras, tmp_path / "undisturbed", "x")
    assert first.stat().st_mtime_ns == stamp


def test_permuting_items_changes_no_mean(protocol, folder, tmp_path):
    rng = np.random.default_rng(0)
    for path in sorted(folder.rglob("*.png")):
        pixels = np.asarray(Image.open(path)).astype(int) + rng.integers(-40, 40, (256, 256, 3))
        Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(path)
    result = score(protocol, folder, tmp_path / "out", "x")
    rows = read_rows(tmp_path / "out" / ITEMS)
    for seed in range(5):
        random.Random(seed).shuffle(rows)
        folded = fold(protocol, rows, "x", result.data_digest, 2, folder, False)
        assert folded.metrics == result.metrics


@pytest.mark.slow
def test_workers_of_the_builds_executor_score_alike(protocol, folder, tmp_path):
    here = score(protocol, folder, tmp_path / "here", "x")
    assert score(protocol, folder, tmp_path / "there", "x", Crew(workers=1)) == here


@pytest.mark.slow
def test_a_unit_that_ends_its_worker_costs_no_other(objects, true_cameras, tmp_path):
    protocol = Dying(data=objects)
    with pytest.raises(ConfigError, match=r"1 of 7 could not be scored: cube: crash"):
        score(protocol, true_cameras, tmp_path, "x", Crew(workers=1))
    result = score(protocol, true_cameras, tmp_path, "x", is_partial=True)
    assert (result.items, result.left_out) == (6, 1)


def test_a_scorer_never_looks_at_the_model(objects, true_views, tmp_path):
    home = tmp_path / "results" / "nvs-1" / "x"
    shutil.copytree(true_views, home / "pictures")
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from onegen.eval.nvs import NovelViews\n"
        "from onegen.eval.score import score\n"
        f"score(NovelViews(data=Path({str(objects)!r})), Path({str(home / 'pictures')!r}), Path({str(home)!r}), 'x')\n"
        "print(*{name for name in sys.modules if name.startswith(('onegen.sampler', 'onegen.model', 'diffusers'))})\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr
    assert json.loads((home / RESULT).read_text())["generation"] is None


def test_no_protocol_needs_a_model_to_score():
    program = (
        "import sys\n"
        "from onegen.eval.table import PROTOCOLS, find_protocol\n"
        "import onegen.eval.score\n"
        "assert len([find_protocol(name) for name in PROTOCOLS]) == 9\n"
        "print(*{name for name in sys.modules if name.startswith(('onegen.sampler', 'onegen.model', 'diffusers'))})\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr


@pytest.mark.parametrize("text", ["", "1", "2/2", "a/b", "-1/2", "0/0"])
def test_a_shard_that_is_none_is_refused(text):
    with pytest.raises(ConfigError, match="--shard must be i/n"):
        parse_part(text)


def test_a_folder_that_is_none_is_refused(protocol, tmp_path):
    with pytest.raises(ConfigError, match="FOLDER must be a folder of pictures"):
        score(protocol, tmp_path / "nowhere", tmp_path / "out", "x")
    with pytest.raises(ConfigError, match="--data must name the data of nvs"):
        score(NovelViews(), tmp_path, tmp_path / "out", "x")
