"""The datasets that tests of the audit look at; none of them may change one."""

from pathlib import Path

import pytest

from tests.handed import build
from tests.tiny import make_recipe, run, write_photos


@pytest.fixture(scope="session")
def handed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a built dataset of twelve photos in three shards."""
    return build(tmp_path_factory.mktemp("handed"))


@pytest.fixture(scope="session")
def audited(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 images and a file that is none, in three shards, with scores."""
    root = tmp_path_factory.mktemp("audited")
    captions = {0: "<script>alert(1)</script> a cat", 3: "a dog on grass", 4: "a dog on grass"}
    write_photos(root / "photos", 20, captions)
    (root / "photos" / "<img src=x onerror=alert(2)>.png").write_bytes(b"no picture")
    run(
        make_recipe(root / "photos", [{"name": "look", "annotators": {"scores": {}}}], limits={"failure_rate": 1}),
        root / "out",
    )
    return root / "out"
