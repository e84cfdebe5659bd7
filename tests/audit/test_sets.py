"""Pairs, identities and scenes through everything that reads a dataset: nothing that was taken out of a set comes back.

PYTHONPATH=. python -m pytest tests/audit/test_sets.py
"""

import hashlib
import json
import shutil
import tarfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from onegen.audit.checks import check
from onegen.audit.tables import open_tables
from onegen.loader.batches import Loader
from onegen.shards.dataset import file_of
from onegen.shards.index import Row
from tests.cli.test_app import invoke
from tests.end_to_end import test_identities as identities
from tests.end_to_end import test_scenes as scenes
from tests.exports import write_rows
from tests.tiny import dataset, encoded, make_recipe, picture, rows, run

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


def views(row: Row) -> list[dict]:
    """Return what a row says of each image of its sample; None of one that it has no answer for."""
    return [row.values, *(row.values["others"] or [])]


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
    sharp = [view["sharpness"] for row in rows(out, "scores") if row.status == "ok" for view in views(row) if view]
    assert len(sharp) > sum(row.status == "ok" for row in rows(out, "scores"))
    spread = told["distributions"]["scores.sharpness"]
    assert (spread["count"], spread["maximum"]) == (len(sharp), max(sharp))
    assert spread["mean"] == pytest.approx(sum(sharp) / len(sharp))
    images = [view for row in rows(out, "image") if row.status == "ok" for view in views(row)]
    aspects = [view["width"] / view["height"] for view in images]
    assert told["distributions"]["image.aspect"]["count"] == len(images)
    assert told["distributions"]["image.aspect"]["minimum"] == pytest.approx(min(aspects))
    assert dict(told["rights"]["licence"]) == Counter(view["licence"] or "(none)" for view in images)
    if name == "pairs":
        boxes = [box for row in rows(out, "detection") for view in views(row) for box in view["objects"]]
        assert told["distributions"]["detection.objects.area"]["count"] == len(boxes) == 8
        assert sum(map(sum, told["heat"]["detection.objects"])) == len(boxes)
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


def planted(out: Path, copy: Path, column: str, change: Callable[[dict], None]) -> set[tuple[str, str | None]]:
    """Return the defects of a copy of which a column's index says something else of the first sample that is ok."""
    own = dataset(Path(shutil.copytree(out, copy)))
    path = copy / f"columns/{column}" / file_of(own.require_manifest(column, 0), ".parquet")
    table = pq.read_table(path)
    told = table.to_pylist()
    change(next(row for row in told if row["status"] == "ok"))
    pq.write_table(pa.Table.from_pylist(told, schema=table.schema), path)
    with open_tables(own) as tables:
        # The file has another size now, which is told too.
        return {(defect.kind, defect.key) for defect in check(own, tables, reads=False).defects} - {("stored", None)}


def camera(view: int, **changes: object) -> Callable[[dict], None]:
    def change(row: dict) -> None:
        record = row["camera"] if view == 0 else row["others"][view - 1]["camera"]
        record |= changes

    return change


SOUND = [1.0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1]


@pytest.mark.parametrize(
    "change",
    [
        camera(0, camera_to_world=[2.0, *SOUND[1:]]),
        camera(1, camera_to_world=[-1.0, *SOUND[1:]]),
        camera(1, camera_to_world=[float("nan"), *SOUND[1:]]),
        camera(1, camera_to_world=[*SOUND[:12], 1.0, *SOUND[13:]]),
        camera(0, camera_to_world=SOUND[:12]),
        camera(1, focal=[0.0, 1.0]),
        camera(0, focal=None),
        lambda row: row["others"][0].update(camera=None),
    ],
)
def test_a_camera_that_is_not_rigid_is_found_with_its_key(places, tmp_path, change):
    key = next(row.key for row in rows(places, "image") if row.status == "ok")
    assert planted(places, tmp_path / "same", "image", camera(0)) == set()
    assert planted(places, tmp_path / "out", "image", change) == {("bad_camera", key)}


def test_an_identity_of_too_few_images_is_found_with_its_key(people, tmp_path):
    key = next(row.key for row in rows(people, "select") if row.status == "ok")
    lost = [{"image": number, "status": "filtered", "reason": "rule:sharp"} for number in range(2)]
    assert planted(people, tmp_path / "same", "select", lambda row: None) == set()
    found = planted(people, tmp_path / "out", "select", lambda row: row.update(dropped_images=lost))
    assert found == {("few_images", key)}


@pytest.mark.parametrize("field", ["licence", "uri"])
def test_rights_of_every_image_are_asked(people, tmp_path, field):
    key = next(row.key for row in rows(people, "image") if row.status == "ok")
    told = planted(people, tmp_path / "same", "image", lambda row: None)
    found = planted(people, tmp_path / "out", "image", lambda row: row["others"][-1].update({field: None}))
    assert found - told == {({"licence": "licence_missing", "uri": "source_missing"}[field], key)} - told


def test_a_box_outside_a_further_image_is_found_with_its_key(pairs, tmp_path):
    key = rows(pairs, "detection")[0].key
    told = planted(pairs, tmp_path / "same", "detection", lambda row: None)
    found = planted(pairs, tmp_path / "out", "detection", lambda row: row["others"][0]["objects"][0].update(x1=9999.0))
    assert found - told == {("box_outside", key)}
