"""`onegen eval` as a user types it: what it prints, and one line for what is wrong."""

import hashlib
import json
import shutil

import pytest
from PIL import Image
from typer.testing import CliRunner

from onegen.cli.app import app
from onegen.cli.exit_codes import ExitCode
from onegen.eval.synthetic import write_objects, write_true_cameras


@pytest.fixture(scope="module")
def objects(tmp_path_factory):
    folder = tmp_path_factory.mktemp("objects")
    write_objects(folder / "data", side=16)
    write_true_cameras(folder / "data", folder / "truth")
    return folder


def run(*words):
    return CliRunner().invoke(app, ["eval", *map(str, words)])


def test_a_folder_is_scored_and_reported(objects, tmp_path):
    scored = run("cameras", "score", objects / "truth", "--data", objects / "data", "--out", tmp_path, "--name", "it")
    assert scored.exit_code == 0, scored.output
    assert "cameras of it (table 5): 12 items" in scored.stdout
    assert "2 objects, and GSO30 has 30" in scored.stdout
    assert (tmp_path / "cameras" / "it" / "items.parquet").is_file()
    reported = run("report", tmp_path)
    assert reported.exit_code == 0, reported.output
    assert json.loads((tmp_path / "report" / "report.json").read_text())["results"][0]["name"] == "it"


def test_every_protocol_has_both_verbs():
    from onegen.eval.table import PROTOCOLS, find_protocol

    for name in PROTOCOLS:
        assert find_protocol(name).name == name
        assert run(name, "score", "--help").exit_code == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["geneval"], "--model must name a model, got none"),
        (["cameras", "score", "FOLDER"], "--data must name the data of cameras"),
        (["cameras", "score", "FOLDER", "--data", "/nowhere"], "--data must be there, got /nowhere"),
        (["geneval", "score", "FOLDER", "-O", "images"], "--option must be NAME=VALUE"),
        (["geneval", "score", "FOLDER", "-O", "imges=1"], "did you mean 'images'"),
        (["geneval", "score", "FOLDER", "-O", "threshold=2"], "threshold: must be below 1, got 2"),
        (["geneval", "score", "FOLDER", "--shard", "4"], "--shard must be i/n"),
        (["geneval", "score", "FOLDER", "--executor", "dask"], "--executor must be local or ray"),
        (["geneval", "score", "FOLDER"], "2212 of 2212 are missing"),
        (["geneval", "--model", "x", "--height", "17", "--width", "17"], "divisible by 16"),
        (["geneval", "--model", "x", "--device", "cuda"], "--device cuda must be present"),
        (["geneval", "--model", "/nowhere"], "model must be a folder or a hub id"),
        (["cameras", "score", "FOLDER", "--data", "FOLDER", "-O", "views=1"], "views: must be at least 2, got 1"),
        (["report", "FOLDER"], "RESULTS must hold"),
    ],
)
def test_what_is_wrong_is_one_line(words, said, tmp_path):
    import torch

    if "cuda" in words and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    (tmp_path / "folder").mkdir()
    words = [str(tmp_path / "folder") if word == "FOLDER" else word for word in words]
    done = run(*words, *([] if words[0] == "report" else ["--out", tmp_path / "out"]))
    assert done.exit_code == ExitCode.USAGE, done.output
    message = done.stderr.strip()
    assert said in message
    assert message.startswith("error: ")
    assert "Traceback" not in message


def test_the_prompts_of_geneval_are_written_as_published(tmp_path):
    path = tmp_path / "new" / "prompts.jsonl"
    done = run("geneval", "prompts", path)
    assert done.exit_code == 0, done.output
    digest = "5c48e0813e812e3c373fa5c8ed07a8f0a483be30272b4427b0559c8048e67c13"
    assert hashlib.sha256(path.read_bytes()).hexdigest() == digest
    (tmp_path / "file").write_text("")
    refused = run("geneval", "prompts", tmp_path / "file" / "prompts.jsonl")
    assert refused.exit_code == ExitCode.USAGE
    assert refused.stderr.startswith("error: FILE must be writable")


def test_weights_that_are_not_here_are_named_with_the_way_out(objects, tmp_path, monkeypatch):
    """A metric whose weights were not named is skipped by name; one whose weights are named and absent is an error."""
    pytest.importorskip("transformers")
    photo = tmp_path / "data" / "annotation_images" / "a.png"
    photo.parent.mkdir(parents=True)
    Image.new("RGB", (512, 512)).save(photo)
    entry = {"image_path": "a.png", "original_prompt": "", "editing_prompt": "", "editing_instruction": "", "mask": []}
    (tmp_path / "data" / "mapping_file.json").write_text(json.dumps({"1": entry}))
    words = ["pie", "score", photo.parent, "--data", tmp_path / "data", "--out", tmp_path / "out"]
    trunk = tmp_path / "no.pth"
    done = run(*words, "-O", f"lpips_trunk={trunk}")
    assert done.exit_code == 0, done.output
    assert f"skipped: needs squeezenet1_1-b8a52dc0.pth of torchvision at {trunk}" in done.stdout
    assert "skipped: needs CLIP: pip install 'onegen[hub]' and -O clip_model=openai/clip-vit-large" in done.stdout
    assert "skipped: needs DINO: pip install 'onegen[hub]' and -O dino_model=facebook/dino-vitb8" in done.stdout
    for option in ("clip_model", "dino_model"):
        refused = run(*words, "-O", f"{option}={tmp_path / 'absent'}")
        assert refused.exit_code == ExitCode.USAGE, refused.output
        assert refused.stderr.startswith("error: ")
        assert refused.stderr.strip().count("\n") == 0
        assert "absent" in refused.stderr


def damage(kind, folder):
    """Do to a folder of cameras or pictures what a user's accident would; return what is said of it."""
    path = folder / "cube.json"
    match kind:
        case "missing":
            path.unlink()
            return "1 of 2 are missing"
        case "extra":
            (folder / "sphere.json").write_text("{}")
            return "1 more lie in"
        case "truncated":
            path.write_text(path.read_text()[:100])
            return "cube: unreadable"
        case "single":
            document = json.loads(path.read_text())
            path.write_text(json.dumps({**document, "frames": document["frames"][:1]}))
            return "cube: count"
    return ""


@pytest.mark.parametrize("kind", ["missing", "extra", "truncated", "single"])
def test_a_damaged_folder_is_one_line_unless_partial(objects, tmp_path, kind):
    folder = shutil.copytree(objects / "truth", tmp_path / "mine")
    said = damage(kind, folder)
    words = ["cameras", "score", folder, "--data", objects / "data", "--out", tmp_path / "out"]
    refused = run(*words)
    assert refused.exit_code == ExitCode.USAGE, refused.output
    (line,) = (line for line in refused.stderr.strip().splitlines() if not line.startswith("scored"))
    assert line.startswith("error: ")
    assert said in line
    assert "--partial" in line
    partial = run(*words, "--partial")
    assert partial.exit_code == 0, partial.output
    assert ("left out" in partial.stdout) is (kind != "extra")


def test_shards_are_folded_by_the_command_that_scores_the_last(objects, tmp_path):
    words = ["cameras", "score", objects / "truth", "--data", objects / "data", "--out", tmp_path, "--name", "it"]
    first = run(*words, "--shard", "1/2")
    assert first.exit_code == 0, first.output
    assert "scored 0 of 1 pieces; the command that scores the last one folds them." in first.stdout
    assert not (tmp_path / "cameras" / "it" / "result.json").exists()
    last = run(*words, "--shard", "0/2")
    assert last.exit_code == 0, last.output
    assert "cameras of it (table 5): 12 items" in last.stdout
