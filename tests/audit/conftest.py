"""The dataset that tests of audit and query look at."""

from pathlib import Path

import pytest

from tests.tiny import make_recipe, run, write_photos


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
