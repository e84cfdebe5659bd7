"""The report: its numbers against another way to count, what it finds, and that it holds no markup of a dataset.

PYTHONPATH=. python -m pytest tests/audit/test_report.py
"""

import json
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from onegen.shards.dataset import Dataset
from onegen.storage.local import LocalStore
from tests.audit.audited import snapshot
from tests.cli.test_app import invoke
from tests.tiny import rows


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
    assert page.titles == ["overview", "distributions", "integrity", "gallery", "rights"]
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
