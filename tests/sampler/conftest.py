"""Shared by the sampler's tests: a tiny random model, photos, and the rule that torch is there."""

import importlib.util

import numpy as np
import pytest
from PIL import Image

collect_ignore_glob = [] if importlib.util.find_spec("torch") else ["test_*.py"]


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory):
    """A small model of random weights, saved in the released layout."""
    from onegen.sampler.tiny import random_pipeline

    folder = tmp_path_factory.mktemp("models") / "tiny"
    random_pipeline().save_pretrained(folder)
    return folder


@pytest.fixture
def pipe(model_folder):
    """The saved model, loaded back."""
    from onegen.sampler import OneDiffusionPipeline

    loaded = OneDiffusionPipeline.from_pretrained(str(model_folder))
    loaded.set_progress_bar_config(disable=True)
    return loaded


@pytest.fixture
def photos():
    """Five different pictures, 96 x 80."""
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 256, (80, 96, 3), dtype=np.uint8)) for _ in range(5)]
