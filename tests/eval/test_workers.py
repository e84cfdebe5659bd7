"""Drawing and scoring on Ray's workers, by the executor of the build."""

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torch")

from onegen.eval.cameras import CameraPose
from onegen.eval.crew import Crew, Part
from onegen.eval.generate import Drawing, generate
from onegen.eval.geneval import GenEval
from onegen.eval.records import DRAWINGS, ITEMS
from onegen.eval.sampling import Sampling
from onegen.eval.score import read_rows, score

pytestmark = pytest.mark.slow
RAY = Crew(workers=2, executor="ray")


def test_ray_scores_alike(objects, true_cameras, tmp_path, ray_session):
    protocol = CameraPose(data=objects)
    here = score(protocol, true_cameras, tmp_path / "here", "x")
    assert score(protocol, true_cameras, tmp_path / "ray", "x", RAY) == here
    assert read_rows(tmp_path / "ray" / ITEMS) == read_rows(tmp_path / "here" / ITEMS)


def test_ray_draws_what_one_process_draws(model_folder, tmp_path, ray_session):
    protocol = GenEval(prompts=2, images=1)
    drawing = Drawing(model=str(model_folder), sampling=Sampling(steps=1, height=32, width=32))
    assert generate(protocol, drawing, tmp_path / "here") == []
    for index in range(2):
        assert generate(protocol, drawing, tmp_path / "ray", RAY, Part(index, 2)) == []
    here, there = (sorted((tmp_path / name / DRAWINGS).rglob("*.png")) for name in ("here", "ray"))
    assert len(here) == len(there) == 12
    for ours, theirs in zip(here, there, strict=True):
        pixels = [np.asarray(Image.open(path)).astype(int) for path in (ours, theirs)]
        assert np.abs(pixels[0] - pixels[1]).max() <= 2  # another number of threads adds up otherwise
