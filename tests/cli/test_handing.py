"""`onegen export`, `subset` and `compare` as a user types them.

PYTHONPATH=. python -m pytest tests/cli/test_handing.py
"""

import shutil

import pytest
from PIL import Image
from typer.testing import CliRunner

from onegen.cli.app import app
from onegen.sample import IMAGE
from tests.handed import build, bytes_of
from tests.tiny import rows


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return build(tmp_path_factory.mktemp("handed"))


def invoke(*words, code=0):
    done = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert done.exit_code == code, done.output
    return done.output


def test_export_says_what_was_written_and_how_it_is_read(out, tmp_path):
    gone = rows(out, IMAGE)[2].key
    (tmp_path / "keys").write_text(f"# taken down\n{gone}\n\n", encoding="utf-8")
    told = invoke("export", out, tmp_path / "made", "--to", "hf", "--leave-out", tmp_path / "keys")
    assert "11 samples, 11 images of all shards" in told
    assert f'datasets.load_dataset("{tmp_path}/made")' in told


def test_mistakes_end_in_one_line_and_leave_nothing(out, tmp_path):
    before = bytes_of(out)
    for words, line in (
        (("export", out, tmp_path / "a", "--to", "parquett"), "--to must be a format, got 'parquett'"),
        (("export", tmp_path / "none", tmp_path / "a", "--to", "coco"), "must hold a dataset"),
        (
            ("export", out, tmp_path / "a", "--to", "coco", "--leave-out", tmp_path / "no"),
            "must be a text file of keys",
        ),
        (("export", out, out, "--to", "coco"), "which is there"),
        (("subset", out, tmp_path / "a", "--where", "scores.sharp > 1"), "did you mean 'sharpness'"),
        (("compare", out, "depth"), "compare takes two columns"),
        (("compare", out, "depth", "masks", "pose"), "got 3 names"),
        (("compare", out, "depth", "depth", "--out", tmp_path / "a.txt"), "--out must be a file"),
    ):
        told = invoke(*words, code=2)
        assert line in told
        assert len(told.strip().splitlines()) == 1
    assert bytes_of(out) == before
    assert not list(tmp_path.iterdir())


def test_compare_draws_the_worst_and_tells_datasets_apart(out, tmp_path):
    told = invoke("compare", out, "depth", "depth", "--out", tmp_path / "worst.png")
    assert "correlation" in told
    assert "mean   1.0000" in told
    with Image.open(tmp_path / "worst.png") as sheet:
        assert sheet.size[0] > 900
    invoke("subset", out, tmp_path / "part", "--where", "image.height > 41")
    assert "image: same" in (told := invoke("compare", out, tmp_path / "part"))
    assert "added 0" in told
    assert "made by" not in told


def test_a_dataset_in_the_making_is_said_to_be(out, tmp_path):
    half = shutil.copytree(out, tmp_path / "half")
    (half / "columns/depth/000002.json").unlink()
    assert "2 of 3 shards, for the dataset is still being built" in invoke(
        "export", half, tmp_path / "made", "--to", "coco"
    )
