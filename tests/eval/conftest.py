"""Stand-ins for the benchmarks' data, made once a session."""

import numpy as np
import pytest
from PIL import Image

from onegen.eval.synthetic import write_objects, write_true_cameras, write_true_views


@pytest.fixture(scope="session")
def objects(tmp_path_factory):
    """A cube and a ball, 25 posed views each, in EscherNet's layout."""
    folder = tmp_path_factory.mktemp("objects")
    write_objects(folder, side=48)
    return folder


@pytest.fixture(scope="session")
def true_views(objects, tmp_path_factory):
    folder = tmp_path_factory.mktemp("views")
    write_true_views(objects, folder)
    return folder


@pytest.fixture(scope="session")
def true_cameras(objects, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cameras")
    write_true_cameras(objects, folder)
    return folder


@pytest.fixture(scope="session")
def portraits(tmp_path_factory):
    """Two persons, two pictures of noise each: nobody's face."""
    folder = tmp_path_factory.mktemp("portraits")
    rng = np.random.default_rng(0)
    for name in ("ada", "bob"):
        Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(folder / f"{name}.png")
    return folder
