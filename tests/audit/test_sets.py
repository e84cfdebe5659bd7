"""Pairs, identities and scenes through everything that reads a dataset: nothing that was taken out of a set comes back.

PYTHONPATH=. python -m pytest tests/audit/test_sets.py
"""

import hashlib
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from onegen.loader.batches import Loader
from tests.cli.test_app import invoke
from tests.end_to_end import test_identities as identities
from tests.end_to_end import test_scenes as scenes
from tests.exports import write_rows
from tests.tiny import encoded, make_recipe, picture, rows, run

FORMATS = ("huggingface", "croissant", "webdataset", "fiftyone")
SHARED = encoded(identities.photo("bob", 1))
"""A photo that stands with two subjects, and is taken from both."""
LISTS = [{"name": "look", "annotators": {"tests.plugins.tone": {}, "scores": {}}}]


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("people")
    identities.write(root / "people", {"ada": 5, "bob": 6, "cyd": 5})
    (root / "people/cyd/9.png").write_bytes(SHARED)
    run(identities.recipe(root / "people", *LISTS), root / "out", workers=0)
    return root / "out"


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("places")
    scenes.write(root / "scenes")
    run(scenes.recipe(root / "scenes", *LISTS), root / "out", workers=0)
    return root / "out"


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pairs with boxes, brought: records in lists, of each of two images."""
    root = tmp_path_factory.mktemp("pairs")
    box = [{"label": "thing", "score": 0.9, "x0": 1.0, "y0": 2.0, "x1": 20.0, "y1": 30.0}]
    table = [
        {"a": encoded(picture(2 * n)), "b": encoded(picture(2 * n + 1)), "say": "Turn it.", "boxes": box}
        for n in range(4)
    ]
    write_rows(root / "pairs.parquet", table)
    source = {"pairs": str(root / "pairs.parquet"), "target": "a", "source": "b", "instruction": "say"}
    source |= {"bring": {"boxes": {"from": {"target": "boxes", "source": "boxes"}}}}
    run(make_recipe(root, LISTS, kind="pair", source=source), root / "out", workers=0)
    return root / "out"


def handed_on(folder: Path, kind: str) -> Iterator[bytes]:
    """Yield every picture of an export."""
    if kind == "webdataset":
        for path in folder.rglob("*.tar"):
            with tarfile.open(path) as tar:
                yield from (tar.extractfile(member).read() for member in tar if member.name.endswith((".png", ".jpg")))
    elif kind == "fiftyone":
        yield from (path.read_bytes() for path in (folder / "data").iterdir())
    else:
        for path in folder.rglob("*.parquet"):
            yield from pictures_in(pq.read_table(path).to_pylist())


def pictures_in(value: object) -> Iterator[bytes]:
    if isinstance(value, bytes):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from pictures_in(inner)


@pytest.mark.parametrize("name", ["people", "places", "pairs"])
def test_a_report_counts_them(request, name, tmp_path):
    out = request.getfixturevalue(name)
    done = invoke("audit", out, "--out", tmp_path / "report")
    assert done.exit_code in (0, 1), done.output
    told = json.loads((tmp_path / "report/statistics.json").read_text())
    assert told["distributions"]["scores.sharpness"]["count"] == sum(r.status == "ok" for r in rows(out, "scores"))
    assert "altered" not in done.stdout
    assert "size_mismatch" not in done.stdout


@pytest.mark.parametrize("name", ["people", "places", "pairs"])
@pytest.mark.parametrize("to", FORMATS)
def test_every_image_that_stayed_is_handed_on_and_no_other(request, name, to, tmp_path):
    out = request.getfixturevalue(name)
    done = invoke("export", out, tmp_path / "export", "--to", to)
    assert done.exit_code == 0, done.output
    found = {hashlib.sha256(data).hexdigest() for data in handed_on(tmp_path / "export", to)}
    stayed = {digest for row in rows(out, "image") if row.status == "ok" for digest in row.values["members"]}
    if name == "people":
        stayed -= {hashlib.sha256(SHARED).hexdigest()}
    assert found & {d for r in rows(out, "image") if r.status == "ok" for d in r.values["members"]} == stayed
    assert f"{len(stayed)} images" in done.stdout


def test_a_loader_shows_no_photo_that_was_taken_out(people, places):
    shared = identities.decode(SHARED)
    with Loader([people], {"faceid": 1}, tokens=10**6, bins=1, validation=0) as loader:
        shown = [view for bins in loader for bin_ in bins for example in bin_ for view in example.views]
    assert shown
    assert not any(view.shape == shared.shape and (view == shared).all() for view in shown)
    with Loader([places], {"multiview": 1}, tokens=10**6, bins=1, validation=0) as loader:
        (example, *_) = [example for bins in loader for bin_ in bins for example in bin_]
    assert example.roles[:4] == ("image", "ray", "image", "ray")
