"""What the report measures of maps and cameras, and tells of rights: against numbers known by hand.

PYTHONPATH=. python -m pytest tests/audit/test_measured.py
"""

import json
import shutil
import tarfile
from dataclasses import replace
from pathlib import Path

import cv2
import duckdb
import numpy as np
import pytest

from onegen.audit import report
from onegen.audit.figures import histogram
from onegen.audit.maps import edge_density, gradient
from onegen.audit.report import audit
from onegen.audit.statistics import Distribution, bucket_name, statistics
from onegen.audit.viewpoints import GRID, viewpoints
from onegen.build.takedown import take_down
from onegen.geometry.rigs import make_rig
from onegen.pixels.sizes import nearest_bucket
from tests.end_to_end import test_scenes as scenes
from tests.packaged import bring_models
from tests.tiny import dataset, make_recipe, rows, run, write_photos


def test_the_share_of_edges() -> None:
    pixels = np.zeros((4, 5), np.uint8)
    pixels[0], pixels[1] = 128, 127
    assert edge_density(pixels) == 0.25


def test_the_bucket_of_an_image_is_the_one_that_sampler_and_loader_crop_it_to() -> None:
    sizes = [(height, width) for height in range(16, 4200, 61) for width in range(16, 4200, 67)]
    found = duckdb.connect().execute(
        f"SELECT {bucket_name()} FROM (SELECT unnest($1::INTEGER[]) AS height, unnest($2::INTEGER[]) AS width)",
        [[height for height, _ in sizes], [width for _, width in sizes]],
    )
    told = [name.partition(" ")[2] for (name,) in found.fetchall()]
    assert told == ["({} x {})".format(*nearest_bucket(*size, base=1024)) for size in sizes]


def test_how_steep_depth_is() -> None:
    # Across each step is a tenth of the range, down there is none: 3 * 4 steps of 0.1 and 2 * 5 of 0.
    ramp = np.tile(np.arange(5) * 6553.5, (3, 1)).round().astype(np.uint16)
    assert gradient(ramp) == pytest.approx(12 * 0.1 / 22, abs=1e-5)
    assert gradient(np.full((3, 5), 7, np.uint16)) == gradient(np.zeros((1, 1), np.uint16)) == 0.0


def test_the_report_of_maps_tells_of_every_edge_and_slope(tmp_path: Path) -> None:
    bring_models()
    write_photos(tmp_path / "photos", 6)
    maps = [{"name": "maps", "annotators": {"hed": {}, "depth": {}}}]
    run(make_recipe(tmp_path / "photos", maps), tmp_path / "out")
    stats, _, _ = audit(dataset(tmp_path / "out"))
    for column, measure, of in (("hed", "edge_density", edge_density), ("depth", "gradient", gradient)):
        values = []
        for path in sorted((tmp_path / "out/columns" / column).glob("*.tar")):
            with tarfile.open(path) as tar:
                for member in tar:
                    data = np.frombuffer(tar.extractfile(member).read(), np.uint8)  # type: ignore[union-attr]
                    values.append(of(cv2.imdecode(data, cv2.IMREAD_UNCHANGED)))
        told = stats.distributions[f"{column}.{measure}"]
        assert told.count == len(values) == len(set(values)) == 6
        assert (told.minimum, told.maximum) == (min(values), max(values))
        assert told.mean == pytest.approx(sum(values) / 6)


def test_where_cameras_of_a_ring_stand() -> None:
    cameras = make_rig("ring", {"views": 4, "elevation": 30.0, "distance": 1.5}).cameras(seed=0)
    azimuth, elevation, distance = viewpoints(list(cameras)).T
    assert sorted(np.abs(azimuth).round(6).tolist()) == pytest.approx([0, 90, 90, 180], abs=1e-4)
    assert azimuth[0] == pytest.approx(0, abs=1e-6)
    assert elevation == pytest.approx(30, abs=1e-4)
    assert distance == pytest.approx(1.5, abs=1e-5)


def test_the_report_of_scenes_tells_where_their_cameras_stand(tmp_path: Path) -> None:
    scenes.write(tmp_path / "scenes")
    run(scenes.recipe(tmp_path / "scenes"), tmp_path / "out", workers=0)
    _, _, written = audit(dataset(tmp_path / "out"))
    numbers = json.loads(written["statistics.json"])
    images = sum(len(row.parts) for row in rows(tmp_path / "out", "image") if row.status == "ok")
    assert np.shape(numbers["cameras"]) == GRID[::-1]
    assert np.sum(numbers["cameras"]) == images == numbers["distributions"]["camera.distance"]["count"]
    assert "camera: azimuth and elevation" in written["index.html"].decode()


def test_rights_tell_who_is_thanked_and_what_was_withdrawn(tmp_path: Path) -> None:
    write_photos(tmp_path / "photos", 5)
    image = {"licence": "CC0-1.0", "attribution": "Ada <i>Lens</i>"}
    run(make_recipe(tmp_path / "photos", [], image=image), tmp_path / "out")
    stats, _, written = audit(dataset(tmp_path / "out"))
    assert stats.rights["licence"] == [("CC0-1.0", 5)]
    assert stats.rights["attribution"] == [("Ada <i>Lens</i>", 5)]
    assert stats.categories["image.bucket"].most == [("0.82 (896 x 1088)", 5)]
    assert stats.rights["withdrawn"] == []
    assert "Ada &lt;i&gt;Lens" in written["index.html"].decode()
    shutil.copytree(tmp_path / "out", tmp_path / "less")
    less = dataset(tmp_path / "less")
    take_down(less, [("key", str(rows(tmp_path / "out", "image")[1].key)), ("key", "0" * 20)])
    stats, _, _ = audit(less)
    assert dict(stats.rights["withdrawn"]) == {"takedowns listed by key": 2, "samples taken down": 1}
    assert stats.rights["licence"] == [("CC0-1.0", 4)]


@pytest.mark.parametrize(
    ("edges", "centres", "widths"),
    [([63.5, 64.5], [64.0], [1.0]), ([0.25, 0.25], [0.25], [1]), ([0.0, 1.0, 2.0], [0.5, 1.5], [1.0, 1.0])],
)
def test_bars_stand_on_their_values(edges: list[float], centres: list[float], widths: list[float]) -> None:
    values = Distribution(2, 0, 0, 0, 0, {}, edges, [1] * (len(edges) - 1), [], [])
    (bars,) = histogram("image.width", values)["data"]
    assert (bars["x"], bars["width"]) == (centres, widths)


def test_a_reason_is_text_on_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_photos(tmp_path / "photos", 3)
    run(make_recipe(tmp_path / "photos", []), tmp_path / "out")

    def odd(*args: object) -> object:
        told = statistics(*args)
        image = replace(told.columns["image"], reasons=[("failed", "<script>alert(3)</script>", 1)])
        return replace(told, columns={**told.columns, "image": image})

    monkeypatch.setattr(report, "statistics", odd)
    _, _, written = audit(dataset(tmp_path / "out"))
    text = written["index.html"].decode()
    assert "&lt;script&gt;alert(3)" in text
    assert "<script>alert(3)" not in text


def test_the_ends_of_a_distribution_name_which_image_of_a_set_it_is(tmp_path: Path) -> None:
    scenes.write(tmp_path / "scenes")
    looks = {"name": "look", "annotators": {"scores": {}}}
    run(scenes.recipe(tmp_path / "scenes", looks), tmp_path / "out", workers=0)
    stats, _, written = audit(dataset(tmp_path / "out"))
    ends = stats.distributions["scores.brightness"].low + stats.distributions["scores.brightness"].high
    further = [(key, value, number) for key, value, number in ends if number]
    assert further, "of scenes of several views not all ends can be first views"
    stored = {str(row.key): row for row in rows(tmp_path / "out", "scores")}
    for key, value, number in further:
        assert stored[key].values["others"][number - 1]["brightness"] == value
        assert f"{key} image {number}" in written["index.html"].decode()
