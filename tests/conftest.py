"""Fixtures that many tests share, and how tests share the machine."""

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.object_server import BUCKET, environment, served_bucket

ROOT = Path(__file__).parents[1]

if "PYTEST_XDIST_WORKER" in os.environ:
    # There is a process for each core.
    os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    from tests.parallel import Shares

    return Shares(config, log)


def pytest_collection_modifyitems(config, items) -> None:
    if hasattr(config, "workerinput"):
        from tests.parallel import order

        items.sort(key=lambda item: order(item.nodeid.partition("::")[0]))


@pytest.fixture(scope="session")
def ray_session() -> Iterator[None]:
    """One small Ray on this machine for the whole test session; builds with the ray executor use it and leave it up."""
    ray = pytest.importorskip("ray")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "disabled")
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_DEDUP_LOGS", "0")
        # Actors import the annotators of tests from here.
        patch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
        ray.init(
            address="local",
            num_cpus=4,
            object_store_memory=128 * 1024 * 1024,
            include_dashboard=False,
            log_to_driver=False,
            logging_level="ERROR",
        )
        yield
        ray.shutdown()


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory):
    """A small model of random weights, saved in the released layout; skips where torch is not there."""
    pytest.importorskip("torch")
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


@pytest.fixture(scope="session")
def object_server() -> Iterator[str]:
    """An S3 server for the whole test session; returns its endpoint."""
    pytest.importorskip("moto")
    with served_bucket() as endpoint:
        yield endpoint


@pytest.fixture
def bucket(object_server, monkeypatch) -> str:
    """A place of its own in a bucket that this process and its children find."""
    for name, value in environment(object_server).items():
        monkeypatch.setenv(name, value)
    return f"s3://{BUCKET}/{uuid.uuid4().hex[:12]}"
