"""The report: its numbers against another way to count, what it finds, and that it holds no markup of a dataset.

PYTHONPATH=. python -m pytest tests/audit/test_report.py
"""

import json
import shutil
import tarfile
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest

from onegen.audit.report import audit
from onegen.executor.contract import Retry
from onegen.shards.dataset import Dataset
from onegen.storage.local import LocalStore
from tests.audit.audited import snapshot
from tests.broken_stores import Crash, CrashingStore
from tests.cli.test_app import invoke
from tests.tiny import dataset, make_recipe, rows, run, write_photos


class Page(HTMLParser):
    """What a page asks a browser to do: its elements, and the addresses it would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.fetched: list[str] = []
        self.titles: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.append(tag)
        assert not any(name.startswith("on") for name in given), (tag, given)
        if tag == "h2":
            self.titles.append(str(given.get("id")))
        for name in ("src", "href"):
            address = given.get(name) or ""
            if address and not address.startswith(("#", "data:")):
                self.fetched.append(address)


@pytest.fixture(scope="module")
def report(audited: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("report")
    before = snapshot(audited)
    done = invoke("audit", audited, "--out", out)
    assert done.exit_code == 1, done.output  # no licence is known of these pictures
    assert snapshot(audited) == before
    return out


def test_its_numbers_are_those_of_the_rows(audited: Path, report: Path) -> None:
    told = json.loads((report / "statistics.json").read_text())
    ok = [row.values for row in rows(audited, "scores") if row.status == "ok"]
    for name in ("sharpness", "brightness"):
        values = np.array([values[name] for values in ok])
        said = told["distributions"][f"scores.{name}"]
        assert said["count"] == len(values) == 20
        assert said["mean"] == pytest.approx(values.mean())
        assert (said["minimum"], said["maximum"]) == (values.min(), values.max())
        assert sum(said["bins"]) == len(values)
    image = told["columns"]["image"]["counts"]
    assert (image["ok"], image["failed"]) == (20, 1)


def test_nothing_that_a_dataset_says_is_markup_and_nothing_is_fetched(report: Path) -> None:
    text = (report / "index.html").read_text()
    page = Page()
    page.feed(text)
    assert page.titles == ["overview", "distributions", "near-duplicates", "integrity", "gallery", "rights"]
    assert page.fetched == []
    assert "<script>alert" not in text
    assert "<img src=x" not in text
    assert len(text) < 30e6


def test_a_picture_that_was_altered_is_found_with_its_key(audited: Path, tmp_path: Path) -> None:
    own = Path(shutil.copytree(audited, tmp_path / "out"))
    tar = next(path for path in sorted((own / "columns/image").glob("*.tar")))
    (row, *_) = [row for row in rows(own, "image") if row.status == "ok"]
    part = row.parts[0]
    data = bytearray(tar.read_bytes())
    data[part.offset + part.size // 2] ^= 0xFF
    tar.write_bytes(data)
    done = invoke("audit", own, "--full")
    assert done.exit_code == 1
    assert str(row.key) in done.stdout
    assert (own / "report/index.html").is_file()


def test_a_dataset_still_being_built_says_how_far_it_is(audited: Path, tmp_path: Path) -> None:
    own = Path(shutil.copytree(audited, tmp_path / "out"))
    for path in (own / "columns").glob("*/000002*"):
        path.unlink()
    done = invoke("audit", own)
    assert "still being built: 2 of 3 shards" in done.stdout, done.output


def test_what_is_no_dataset_is_one_line(tmp_path: Path) -> None:
    done = invoke("audit", tmp_path)
    assert (done.exit_code, done.stdout) == (2, "")
    assert "must hold a dataset" in done.stderr
    assert Dataset(LocalStore(str(tmp_path))).card() is None


def test_numbers_are_those_of_the_tars_also_after_a_crash_and_a_retry(tmp_path: Path) -> None:
    paths = write_photos(tmp_path / "photos", 20, {2: "a cat", 5: "a cat"})
    moved = paths[3].read_bytes()
    recipe = make_recipe(
        tmp_path / "photos", [{"name": "look", "annotators": {"scores": {}}}], limits={"failure_rate": 1}
    )
    with pytest.raises(Crash):
        run(recipe, CrashingStore(str(tmp_path / "out"), at=9))
    paths[3].unlink()
    run(recipe, tmp_path / "out")
    paths[3].write_bytes(moved)
    run(recipe, tmp_path / "out", retry=Retry())
    _, _, written = audit(dataset(tmp_path / "out"))
    told = json.loads(written["statistics.json"])
    samples, sizes = [], []
    for path in sorted((tmp_path / "out" / "shards").glob("*.tar")):
        with tarfile.open(path) as tar:
            for member in tar:
                data = tar.extractfile(member).read()  # type: ignore[union-attr]
                if member.name.endswith(".json"):
                    samples.append(json.loads(data))
                else:
                    sizes.append((member.size, *cv2.imdecode(np.frombuffer(data, np.uint8), 1).shape[:2]))
    bytes_, heights, widths = (np.array(column) for column in zip(*sizes, strict=True))
    counted = {"image.bytes": bytes_, "image.height": heights, "image.width": widths, "image.aspect": widths / heights}
    for name in samples[0]["annotations"]["scores"]:
        counted[f"scores.{name}"] = np.array([sample["annotations"]["scores"][name] for sample in samples])
    for name, values in counted.items():
        said = told["distributions"][name]
        assert (said["count"], said["missing"]) == (len(values), 0) == (20, 0), name
        assert (said["minimum"], said["maximum"]) == (values.min(), values.max()), name
        assert said["mean"] == pytest.approx(values.mean()), name
        inside = np.histogram(values, np.array(said["edges"]))[0] if len(said["bins"]) > 1 else [len(values)]
        assert sum(said["bins"]) == sum(inside) == len(values), name
        for point, value in said["percentiles"].items():
            assert value == np.percentile(values, float(point), method="inverted_cdf"), (name, point)
        assert [value for _, value, _ in said["high"]] == sorted(values, reverse=True)[: len(said["high"])], name
    assert told["duplicates"]["image.caption"] == 1
