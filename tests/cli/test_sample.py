"""`onegen sample`: every task on the CPU with a small model from the released layout, and every refusal."""

import json
import re
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from onegen.cli.app import app
from onegen.errors import ConfigError, SampleError
from onegen.geometry.cameras import orbit
from onegen.geometry.nerfstudio import from_nerfstudio, to_nerfstudio
from onegen.tasks.prompt import NEGATIVE_PROMPT
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


def test_views_are_drawn_from_the_cameras_in_a_file(run, tmp_path):
    rig = {f"{n}.png": orbit(20 * n, distance=3.4) for n in range(3)}
    (tmp_path / "t.json").write_text(json.dumps(to_nerfstudio(rig, 100, 100)))
    given = ["--task", "multiview", "--image", "a.png"]
    assert run(*given, "--cameras", "t.json", out="file.png").exit_code == 0
    assert run(*given, "--azimuth", "0,20,40", out="angles.png").exit_code == 0
    for index in range(2):
        pair = [np.asarray(Image.open(tmp_path / f"{name}-{index:02d}.png"), int) for name in ("file", "angles")]
        # Scaled to the distance of trained scenes, they are the same cameras.
        assert np.abs(pair[0] - pair[1]).max() <= 1


def test_cameras_that_were_found_can_be_drawn_from(run, tmp_path):
    found = "--task multiview --image a.png --image b.png --image c.png --predict ray"
    assert run(*found.split(), out="p.json").exit_code == 0
    result = run(*["--task", "multiview", "--image", "a.png", "--cameras", "p.json"])
    assert result.exit_code == 0, result.output
    assert len(list(tmp_path.glob("out-*.png"))) == 2


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
        ("--task multiview --image a.png --cameras a.png", "readable transforms.json, got a.png"),
        ("--task multiview --image a.png --cameras a.png --azimuth 0,20", "without --azimuth and --trajectory"),
        ("--task text2image --cameras a.png", "--cameras and --trajectory must go with multiview"),
        ("--task multiview --image a.png --azimuth 0,1,2 --trajectory 9", r"per view \(2\), got 3"),
        ("--task multiview --image a.png --azimuth 0,20 --elevation 90", "elevation must be between"),
        ("--task multiview --image a.png --azimuth 0,20 --predict depth", "must be image or ray"),
        (
            "--task multiview --image a.png --image b.png --predict ray --azimuth 0,20",
            "and no --azimuth or --cameras, got 2",
        ),
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
        ("--model nowhere/at/all", "must be a folder or a hub id"),
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


@pytest.fixture
def no_model(monkeypatch):
    """A model that must not be asked for: what is wrong with the words is said before it is loaded."""
    from onegen.sampler import OneDiffusionPipeline

    def load(*_, **__):
        raise AssertionError("the model was loaded")

    monkeypatch.setattr(OneDiffusionPipeline, "from_pretrained", load)


@pytest.fixture
def drawn(monkeypatch):
    """What the last drawing was asked for."""
    import onegen.cli.sample as command

    last, draw = SimpleNamespace(), command.draw

    def spy(pipe, task, views, prompt, negative, options, count=1):
        last.views, last.negative, last.options = views, negative, options
        return draw(pipe, task, views, prompt, negative, options, count)

    monkeypatch.setattr(command, "draw", spy)
    return last


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("--out folder.png", "--out must be a file, got the folder folder.png"),
        ("--out a.png/out.png", "--out must be in a folder that exists"),
        (f"--out {'x' * 300}.png", "--out must be writable, got x+.png: File name too long"),
        ("--out numbered.png --num-images 2", "--out must be a file, got the folder numbered-01.png"),
        ("--height 33 --width 32", "height must be divisible by 16, got 33. Use 32"),
        ("--steps 0", "number of steps must be at least 1, got 0"),
        ("--num-images 0", "must be at least 1, got 0"),
        ("--seed -1", "--seed must be between 0 and"),
        ("--seed 18446744073709551616", "--seed must be between 0 and"),
        ("--guidance nan", "guidance_scale must be finite and above 0, got nan"),
        ("--guidance 0", "guidance_scale must be finite and above 0, got 0.0. 1.0 is without"),
        ("--noise-scale -1", "noise_scale must be finite"),
        ("--rope-scale-factor inf", "rope_scale_factor must be finite"),
        ("--image a.png", "Leave --image out"),
        ("--task faceid --prompt x", "Add --reference FILE"),
        ("--task faceid --reference a.png --caption b --caption c", "at most 1 times"),
        ("--task deblurring --image a.png", r"Add --condition FILE \(blurred\)"),
        ("--task multiview --azimuth 0,nan", "--azimuth must be finite numbers"),
        ("--task multiview --image a.png --azimuth 30 --trajectory 5", "two ends of the --trajectory, got only '30'"),
        ("--task multiview --image a.png --image b.png --predict ray --focal nan --out p.json", "focal length must be"),
        ("--size large", "--size must be input, got 'large'"),
        ("--size input --height 32 --width 32", "--size must be left out"),
        ("--size input", "must have a picture to take its size from, got none"),
        ("--mask a.png", "--mask must go with image_inpainting"),
        ("--task multiview --azimuth 0,20 --mask a.png", "--mask must go with image_inpainting"),
        ("--task image_inpainting --image a.png --mask dark.png", "must be white where to paint, got none"),
        ("--task image_inpainting --image a.png --mask small.png", "must have the size of its photo, 96x80, got 8x8"),
    ],
)
def test_what_is_refused_before_the_model_is_loaded(
    model_folder, photos, tmp_path, monkeypatch, no_model, arguments, says
):
    monkeypatch.chdir(tmp_path)
    for name, photo in zip("ab", photos, strict=False):
        photo.save(f"{name}.png")
    Image.new("RGB", (96, 80)).save("dark.png")
    Image.new("RGB", (8, 8), "white").save("small.png")
    for name in ("folder.png", "numbered-01.png"):
        (tmp_path / name).mkdir()
    before = sorted(tmp_path.iterdir())
    result = onegen_sample("--model", str(model_folder), "--out", "out.png", *arguments.split())
    assert result.exit_code == 2, result.output
    assert re.search(says, result.stderr), result.stderr
    assert sorted(tmp_path.iterdir()) == before  # trying whether a file can be written leaves none


def test_a_file_that_is_there_is_not_touched_by_a_command_that_fails(run, tmp_path):
    (tmp_path / "out.png").write_bytes(b"yesterday's picture")
    assert run("--model", "nowhere").exit_code == 2
    assert (tmp_path / "out.png").read_bytes() == b"yesterday's picture"


def test_the_size_of_the_input_is_kept_to_multiples_of_16_and_nothing_cropped(run, drawn, model_folder, tmp_path):
    Image.new("RGB", (100, 45), "white").save(tmp_path / "wide.png")
    arguments = "--task depth2image --image wide.png --size input --steps 1 --out out.png"
    result = onegen_sample("--model", str(model_folder), *arguments.split())
    assert result.exit_code == 0, result.output
    assert Image.open(tmp_path / "out.png").size == (96, 48)
    assert drawn.options.center_crop is False


def test_a_mask_paints_holes_into_its_photo(run, drawn, tmp_path):
    mask = Image.new("L", (96, 80))
    mask.paste(255, (10, 20, 30, 40))
    mask.save(tmp_path / "mask.png")
    for photo in ("--condition", "--image"):
        assert run(*f"--task image_inpainting {photo} a.png --mask mask.png".split()).exit_code == 0
        holes = np.asarray(drawn.views[1])
        assert drawn.views[0] is None
        assert not holes[20:40, 10:30].any()
        untouched = np.asarray(mask) == 0
        np.testing.assert_array_equal(holes[untouched], np.asarray(Image.open("a.png"))[untouched])


@pytest.mark.parametrize("option", ["--negative", "--negative-prompt"])
def test_the_default_negative_prompt_is_the_released_one(run, drawn, option):
    assert run("--prompt", "x", option, "default").exit_code == 0
    assert drawn.negative == NEGATIVE_PROMPT
    assert run("--prompt", "x", option, "blurry").exit_code == 0
    assert drawn.negative == "blurry"


def test_warnings_are_lines_and_each_is_said_once(run):
    result = run("--task", "text2image", "--prompt", "[[text2img]] a bay")
    assert result.exit_code == 0
    lines = [line for line in result.stderr.splitlines() if line.startswith("warning:")]
    assert len(lines) == 1
    assert "did you mean 'text2image'" in lines[0]
    long = run("--prompt", "word " * 80)
    assert re.search(r"^warning: prompt must have at most 300 tokens.* Shorten it", long.stderr, re.MULTILINE)


def test_ctrl_c_says_what_was_written(run, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("onegen.cli.sample.draw", interrupt)
    result = run("--prompt", "x")
    assert result.exit_code == 130
    assert "stopped; only the files named above were written" in result.stderr
    assert "shards" not in result.stderr


def memory_errors():
    import torch

    return [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.\nSee documentation."),
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] . DefaultCPUAllocator: can't allocate memory"),
        MemoryError(),
    ]


@pytest.mark.parametrize("index", range(3))
@pytest.mark.parametrize("place", ["onegen.cli.sample.draw", "onegen.model.nextdit.ModelMixin.from_pretrained"])
def test_memory_that_runs_out_says_what_takes_less(run, monkeypatch, index, place):
    error = memory_errors()[index]

    def fail(*_, **__):
        raise error

    monkeypatch.setattr(place, fail)
    result = run("--prompt", "x")
    assert result.exit_code == 2, result.output
    assert re.search("memory of cpu must hold the model .* Use --dtype bfloat16", result.stderr)
    assert "See documentation" not in result.stderr


def test_rays_without_cameras_are_a_message(run, monkeypatch):
    def fail(*_):
        raise SampleError("rays_parallel", "rays must spread from a point, got parallel ones in view 0.")

    monkeypatch.setattr("onegen.sampler.pose.rays_to_cameras", fail)
    arguments = "--task multiview --image a.png --image b.png --predict ray"
    result = run(*arguments.split(), out="p.json")
    assert result.exit_code == 2
    assert "got parallel ones in view 0. The photos gave no cameras: try another --seed" in result.stderr
