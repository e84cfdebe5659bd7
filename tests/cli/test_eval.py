"""`onegen eval` as a user types it: what it prints, and one line for what is wrong."""

import json

import pytest
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
