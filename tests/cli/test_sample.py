"""`onegen sample`: every task on the CPU with a small model from the released layout, and every refusal."""

import json
import re

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from onegen.cli.app import app
from onegen.errors import ConfigError
from onegen.geometry.cameras import from_nerfstudio
from onegen.tasks.table import TASKS

pytestmark = pytest.mark.torch

FAST = ["--height", "32", "--width", "32", "--steps", "2"]


def onegen_sample(*arguments):
    return CliRunner().invoke(app, ["sample", *arguments], catch_exceptions=False)


@pytest.fixture
def run(model_folder, photos, tmp_path, monkeypatch):
    """Run the command in a folder that has a.png, b.png and c.png."""
    monkeypatch.chdir(tmp_path)
    for name, photo in zip("abc", photos, strict=False):
        photo.save(f"{name}.png")

    def invoke(*arguments, out="out.png"):
        return onegen_sample("--model", str(model_folder), "--out", out, *FAST, *arguments)

    return invoke


IMAGE_TASKS = [
    "--task text2image --prompt a-bay --negative-prompt blurry",
    "--task depth2image --image a.png --predict depth",
    "--task depth2image --condition a.png --predict image --prompt a-bay",
    "--task hed2img --image a.png",
    "--task hed2img --condition a.png",
    "--task canny2image --image a.png",
    "--task canny2image --condition a.png",
    "--task pose2image --image a.png",
    "--task pose2image --condition a.png",
    "--task semanticmap2image --condition a.png --entity red:cat --entity teal:sofa --prompt naps",
    "--task semanticmap2image --image a.png --entity red:cat",
    "--task boundingbox2image --condition a.png --entity red:cat",
    "--task boundingbox2image --image a.png --entity red:cat --predict boxes",
    "--task deblurring --condition a.png",
    "--task image_inpainting --condition a.png",
    "--task super_resolution --condition a.png",
    "--task image_editing --condition a.png --prompt snow",
    "--task faceid --reference a.png --reference b.png --prompt sails --caption smiles --caption reads",
    "--task subject_driven --reference a.png --item mug --prompt snow --caption desk",
    "--task image_inpainting+faceid --condition a.png --reference b.png --prompt sails",
    "--task pose2image+semanticmap2image --condition a.png --condition b.png --entity red:cat",
]


@pytest.mark.parametrize("arguments", IMAGE_TASKS)
def test_image_tasks(run, tmp_path, arguments):
    result = run(*arguments.split())
    assert result.exit_code == 0, result.output
    assert result.stdout == "out.png\n"
    image = np.asarray(Image.open(tmp_path / "out.png"))
    assert image.shape == (32, 32, 3)
    assert image.std() > 1  # something was drawn


def test_every_task_of_the_table_is_run_here():
    run_here = {part for line in IMAGE_TASKS for part in line.split()[1].split("+")}
    assert run_here | {"multiview"} == set(TASKS)


@pytest.mark.parametrize(
    ("arguments", "count"),
    [
        ("--task multiview --image a.png --azimuth 0,20,40,60", 3),
        ("--task multiview --image a.png --image b.png --azimuth 0,20,40 --elevation 0,5,10 --distance 1.5", 1),
        ("--task multiview --azimuth 0,30,60 --prompt boat", 3),
        ("--task multiview --image a.png --azimuth -45,60 --trajectory 9", 9),
        ("--task multiview --azimuth -45,60 --trajectory 6 --prompt boat", 6),
        ("--task text2image --prompt boat --num-images 3", 3),
    ],
)
def test_several_images_are_numbered(run, tmp_path, arguments, count):
    assert run(*arguments.split()).exit_code == 0
    names = ["out.png"] if count == 1 else [f"out-{index:02d}.png" for index in range(count)]
    assert sorted(path.name for path in tmp_path.glob("out*")) == names


def test_cameras_of_photos_are_written_and_drawn(run, tmp_path):
    arguments = "--task multiview --image a.png --image b.png --image c.png --predict ray"
    result = run(*arguments.split(), out="p.json")
    assert result.stdout.split() == ["p.json", "p.png"]
    cameras = from_nerfstudio(json.loads((tmp_path / "p.json").read_text()))
    assert list(cameras) == ["a.png", "b.png", "c.png"]
    np.testing.assert_allclose(cameras["a.png"].camera_to_world, np.eye(4), atol=1e-6)
    assert Image.open(tmp_path / "p.png").size == (770, 770)


def test_one_seed_is_one_image(run, tmp_path):
    drawn = []
    for seed in ("1", "1", "2"):
        run("--prompt", "x", "--seed", seed)
        drawn.append((tmp_path / "out.png").read_bytes())
    assert drawn[0] == drawn[1] != drawn[2]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("--task depth2img", "did you mean 'depth2image'"),
        ("--task depth2image", "must be given for all views but one"),
        ("--task depth2image --image a.png --image b.png", "got b.png too many"),
        ("--task depth2image --image absent.png", "readable picture, got absent.png"),
        ("--task semanticmap2image --condition a.png --entity mauve:cat", "colour must be one of the 20"),
        ("--task text2image --azimuth 0,20", "must go with multiview"),
        ("--task multiview", "multiview must have --azimuth"),
        ("--task multiview --image a.png --predict ray", "from 2 or more images"),
        ("--task multiview --image a.png --azimuth 0", "at most 0, got 1"),
        ("--task multiview --condition a.png --azimuth 0,20", "--condition must be left out"),
        ("--task multiview --image a.png --trajectory 9", "two azimuths"),
        ("--task multiview --image a.png --azimuth 0,1,2 --trajectory 9", r"per view \(2\), got 3"),
        ("--task multiview --image a.png --azimuth 0,20 --elevation 90", "elevation must be between"),
        ("--task multiview --image a.png --azimuth 0,20 --predict depth", "must be image or ray"),
        ("--task multiview --image a.png --image b.png --predict ray --azimuth 0,20", "and no --azimuth, got 2"),
        ("--task multiview --image a.png --image b.png --azimuth 0,20 --trajectory 9", "at most 1, got 2"),
        ("--task multiview --image a.png --image b.png --predict ray --num-images 2", "--num-images must be 1"),
        ("--task multiview --image a.png --image b.png --predict ray", "--out must end in .json"),
        ("--task multiview --azimuth 0,20 --trajectory 3 --num-images 2", "--num-images must be 1"),
        ("--out out.txt", "--out must end in .png"),
        ("--out absent/out.png", "folder that exists"),
        ("--device cuda", "this machine has 0 of cuda"),
        ("--device gpu", "--device must be cpu, cuda"),
        ("--dtype int8", "--dtype must be one of"),
        ("--model nowhere", "must be a folder or a hub id"),
        ("--height 33", "height must be divisible by 16, got 33"),
    ],
)
def test_what_is_refused(run, arguments, says):
    import torch

    if "cuda" in arguments and torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    result = run(*arguments.split())
    assert result.exit_code == 2
    message = result.stderr.splitlines()[-1]
    assert message.startswith("error: ")
    assert re.search(says, message)


def test_unknown_options_are_refused(run):
    assert run("--promt", "x").exit_code == 2


def test_the_help_teaches_every_task():
    text = CliRunner().invoke(app, ["sample", "--help"], env={"COLUMNS": "100"}).output
    for name in TASKS:
        assert f"--task {name}" in text or f"| {name}" in text


def test_the_small_model_is_written_once(tmp_path):
    from onegen.sampler.tiny import main

    main(tmp_path / "model")
    assert (tmp_path / "model" / "model_index.json").is_file()
    with pytest.raises(ConfigError, match="must not exist"):
        main(tmp_path / "model")
    with pytest.raises(ConfigError, match="released or embedded"):
        main(tmp_path / "other", encoders="big")
