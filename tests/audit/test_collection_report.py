"""A collection on one page. PYTHONPATH=. python -m pytest tests/audit/test_collection_report.py"""

import json
import re
import shutil
from pathlib import Path

import pytest

from onegen.audit.collection_report import PAPER
from onegen.config.collection import load_collection
from onegen.config.shipped import recipe_path
from onegen.shards.collection import write_collection
from onegen.storage import open_store
from tests.audit.test_report import Page
from tests.cli.test_app import invoke


@pytest.fixture(scope="module")
def collected(audited: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One-Gen with one of its datasets there."""
    root = tmp_path_factory.mktemp("collected")
    write_collection(open_store(str(root)), load_collection(recipe_path("one_gen")))
    shutil.copytree(audited, root / "depth")
    return root


def test_each_dataset_stands_beside_its_target_and_the_paper(collected: Path, tmp_path: Path) -> None:
    done = invoke("audit", collected, "--out", tmp_path / "made")
    assert done.exit_code == 1, done.output  # no licence is known of the one that is there
    told = json.loads((tmp_path / "made/statistics.json").read_text())
    members = load_collection(recipe_path("one_gen")).datasets
    assert told["datasets"].keys() == members.keys()
    assert {name: entry["target"] for name, entry in told["datasets"].items()} == {
        name: member.target for name, member in members.items()
    }
    assert (told["datasets"]["depth"]["samples"], told["datasets"]["dl3dv"]["state"]) == (20, "absent")
    text = (tmp_path / "made/index.html").read_text()
    page = Page()
    page.feed(text)
    assert page.fetched == ["depth/index.html"]
    assert (tmp_path / "made/depth/index.html").is_file()
    for words in ("Internal Dataset: 10M", "G-Objaverse", "60K subjects", "DL3DV: 10K", "500,000"):
        assert words in text
    assert set(PAPER) == members.keys() == load_collection(recipe_path("one_gen_embedded")).datasets.keys()
    assert text.count("CO3D:") == text.count("G-Objaverse:") == 1
    assert "no dataset here" not in text


def test_the_ring_has_groups_inside_and_their_datasets_outside_by_rate(collected: Path, tmp_path: Path) -> None:
    invoke("audit", collected, "--out", tmp_path / "made")
    text = (tmp_path / "made/index.html").read_text()
    (ring,) = json.loads(re.findall(r'id="figures">(.*?)</script>', text)[0])["figure-0"]["data"]
    shares = load_collection(recipe_path("one_gen")).shares()
    assert ring["type"] == "sunburst"
    outside = {
        name: value for name, parent, value in zip(ring["ids"], ring["parents"], ring["values"], strict=True) if parent
    }
    assert outside == {f"dataset {name}": pytest.approx(share) for name, share in shares.items()}
    assert [name for name, parent in zip(ring["ids"], ring["parents"], strict=True) if not parent] == [
        "group text_to_image", "group image_to_image", "group multiview",
    ]  # fmt: skip


def test_without_out_it_is_written_into_the_collection(collected: Path, tmp_path: Path) -> None:
    own = Path(shutil.copytree(collected, tmp_path / "own"))
    invoke("audit", own)
    assert 'href="../depth/report/index.html"' in (own / "report/index.html").read_text()
    assert (own / "depth/report/index.html").is_file()
    assert invoke("status", own).exit_code == 0
