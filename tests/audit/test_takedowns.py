"""What was taken down is in nothing that onegen shows, trains on or hands on, before any purge.

PYTHONPATH=. python -m pytest tests/audit/test_takedowns.py
"""

import contextlib
import shutil
from pathlib import Path

import pytest

from onegen.audit.browse.view import Browser, Wanted
from onegen.audit.checks import check
from onegen.audit.export import Samples, Wishes, export, find_format
from onegen.audit.readme import write_readme
from onegen.audit.report import audit
from onegen.audit.show import show
from onegen.audit.status import read_status
from onegen.audit.subset import subset
from onegen.audit.tables import open_tables
from onegen.build.takedown import take_down
from onegen.errors import ConfigError
from onegen.loader.batches import Loader
from onegen.shards.dataset import CARD, file_of
from onegen.shards.takedowns import read_takedowns, version_of
from tests.cli.test_app import invoke
from tests.tiny import dataset, make_recipe, rows, run, write_photos

CAPTION = "a heron that nobody may see"


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight photos in two shards, of which the third was taken down and is still stored."""
    root = tmp_path_factory.mktemp("told")
    captions = {number: f"photo {number}" for number in range(8)} | {2: CAPTION}
    write_photos(root / "photos", 8, captions)
    recipe = make_recipe(
        root / "photos",
        [{"name": "look", "annotators": {"scores": {}}}],
        samples_per_shard=4,
        image={"licence": "CC0-1.0"},
    )
    run(recipe, root / "out")
    take_down(dataset(root / "out"), [("key", gone(root / "out"))])
    return root / "out"


def gone(out: Path) -> str:
    return str(rows(out, "image")[2].key)


def holds(root: Path, *what: bytes) -> list[str]:
    return [
        str(path)
        for path in root.rglob("*")
        if path.is_file() and path.parent.name != "takedowns" and any(one in path.read_bytes() for one in what)
    ]


def test_the_files_still_hold_it_and_every_table_does_not(told):
    assert holds(told, CAPTION.encode())
    with open_tables(dataset(told)) as tables:
        (row,) = tables.rows(
            "SELECT status, reason, key, caption, uri, item FROM image WHERE shard = 0 AND position = 2"
        )
        assert row == ("filtered", "takedown", None, None, None, "00002.png")
        assert tables.rows("SELECT scores.status, scores.reason FROM samples WHERE reason = 'takedown'") == [
            ("skipped", "image:filtered")
        ]
        assert tables.rows("SELECT matched_by, value FROM takedowns") == [("key", gone(told))]
        assert tables.rows("SELECT count(*) FROM image WHERE status = 'ok'") == [(7,)]
        assert "takedowns" in tables.names()
        assert not any(name.startswith("_") for name in tables.names())


def test_the_report_counts_tombstones_and_shows_none(told):
    stats, findings, written = audit(dataset(told))
    assert stats.columns["image"].counts["filtered"] == 1
    assert stats.columns["image"].counts["ok"] == 7
    assert ("filtered", "takedown", 1) in stats.columns["image"].reasons
    assert findings.counts == {}, findings.defects[:2]
    assert gone(told).encode() not in b"".join(written.values())
    assert b"heron" not in b"".join(written.values())
    card = dataset(told).require_card()
    assert stats.digest == version_of(card.digest, read_takedowns(dataset(told).store))


def test_its_bytes_are_not_read_and_nothing_is_told_of_them(told, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(told, out)
    manifest = dataset(out).require_manifest("image", 0)
    (member,) = rows(out, "image")[2].parts
    tar = out / "columns/image" / file_of(manifest, ".tar")
    data = bytearray(tar.read_bytes())
    data[member.offset + member.size // 2] ^= 0xFF
    tar.write_bytes(data)
    _, findings, written = audit(dataset(out))
    assert (findings.counts, findings.read) == ({}, 7)
    assert gone(told).encode() not in b"".join(written.values())


@pytest.mark.parametrize("column", ["image", "scores"])
def test_a_tombstone_that_holds_something_is_found(told, tmp_path, column):
    out = tmp_path / "out"
    shutil.copytree(told, out)
    before = dataset(out).store.read(f"columns/{column}/000000.json")
    index = out / f"columns/{column}" / file_of(dataset(out).require_manifest(column, 0), ".parquet")
    held = index.read_bytes()
    assert invoke("purge", str(out)).exit_code == 0
    assert audit(dataset(out))[1].counts == {}
    # What a purge that did not reach one column leaves behind.
    index.write_bytes(held)
    dataset(out).store.write(f"columns/{column}/000000.json", before)
    with open_tables(dataset(out)) as tables:
        defects = check(dataset(out), tables, reads=False).defects
    assert ("tombstone", column, gone(told)) in {(defect.kind, defect.column, defect.key) for defect in defects}


def test_show_leaves_it_out_and_says_why(told):
    with pytest.raises(ConfigError, match="not taken down"):
        show(dataset(told), [gone(told)])
    show(dataset(told))


@pytest.mark.parametrize("name", ["huggingface", "croissant", "webdataset"])
def test_no_export_hands_it_on(told, tmp_path, name):
    samples = Samples.of(dataset(told))
    handed = export(samples, tmp_path / name, find_format(name), Wishes(0.0))
    assert handed.samples == 7
    pixels = dataset(told).store.read(f"plan/{0:06d}.parquet")
    assert pixels
    assert holds(tmp_path / name, gone(told).encode(), CAPTION.encode()) == []
    assert samples.version is not None
    version = samples.version.rpartition("+")[2]
    assert name == "webdataset" or holds(tmp_path / name, version.encode()) or name == "croissant"


def test_a_subset_leaves_it_out_and_takes_the_list_along(told, tmp_path):
    made = subset(dataset(told), tmp_path / "part", "image.width > 0")
    assert made.kept == 7
    assert holds(tmp_path / "part", gone(told).encode()) == []
    copied = dataset(tmp_path / "part")
    assert read_takedowns(copied.store).entries == [("key", gone(told))]
    assert copied.require_card().purged == read_takedowns(copied.store).digest


@pytest.mark.parametrize("view", ["columns", "packed"])
def test_no_loader_draws_it_and_checkpoints_say_which_version(told, tmp_path, view):
    out = tmp_path / "out"
    shutil.copytree(told, out)
    if view == "packed":
        shutil.rmtree(out / "columns")
    with Loader(str(out), {"text2image": 1.0}, tokens=2048, bins=1, split="all") as loader:
        keys = {example.key for step in loader for bin_ in step for example in bin_}
        state = loader.state_dict()
    assert len(keys) == 7
    assert gone(told) not in keys
    assert state["datasets"] == {
        "tiny": version_of(dataset(out).require_card().digest, read_takedowns(dataset(out).store))
    }


def test_a_run_that_goes_on_after_a_takedown_is_told(told, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(told, out)
    with Loader(str(out), {"text2image": 1.0}, tokens=2048, bins=1, split="all") as loader:
        state = loader.state_dict()
    take_down(dataset(out), [("key", str(rows(out, "image")[1].key))])
    with (
        Loader(str(out), {"text2image": 1.0}, tokens=2048, bins=1, split="all") as loader,
        pytest.raises(ConfigError, match=r"other samples \(tiny .* -> "),
    ):
        loader.load_state_dict(state)


def test_status_verify_and_the_card_for_people_say_the_version(told, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(told, out)
    digest = read_takedowns(dataset(out).store).digest
    assert read_status(dataset(out)).takedowns.digest == digest
    assert digest in invoke("status", str(out)).output
    assert "onegen purge" in invoke("status", str(out)).output
    assert f"+{digest}" in invoke("verify", str(out)).output.replace("\n", "")
    assert write_readme(dataset(out))
    text = (out / "README.md").read_text()
    assert f"+{digest}" in text
    assert "files here still hold it" in text
    assert "7 images" in text


def test_the_commands_take_down_purge_and_tell(told, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(told, out)
    key = str(rows(out, "image")[5].key)
    (tmp_path / "list.txt").write_text(f"# asked on Monday\nkey {key}\nuri nowhere.png\n")
    result = invoke("takedown", str(out), "--file", str(tmp_path / "list.txt"), "--key", gone(told))
    assert result.exit_code == 0, result.output
    said = result.output.replace("\n", "")
    assert "2 of 3 taken down, 1 were on the list; 2 stored sample(s) match" in said
    assert "no uri nowhere.png: recorded" in said
    result = invoke("purge", str(out))
    assert result.exit_code == 0, result.output
    assert "2 sample(s) removed" in result.output
    assert "digest " in result.output
    assert holds(out, CAPTION.encode(), key.encode()) == []
    assert "purged" in invoke("status", str(out)).output
    assert "no file here holds anything of it" in (out / "README.md").read_text()
    assert invoke("verify", str(out), "--full").exit_code == 0


def test_bad_input_is_told_in_a_line(told, tmp_path):
    for arguments, message in [
        ((str(told),), "must be told what"),
        ((str(told), "--key", "xyz"), "20 hex digits"),
        ((str(tmp_path / "none"), "--key", "0" * 20), f"has no {CARD}"),
        ((str(told), "--file", str(tmp_path / "none")), "--file must be a text file"),
    ]:
        result = invoke("takedown", *arguments)
        assert result.exit_code == 2, result.output
        assert message in result.output.replace("\n", " ")
        assert "Traceback" not in result.output


def test_no_page_of_browsing_shows_it(told):
    with open_tables(dataset(told)) as tables, contextlib.closing(Browser(dataset(told), tables)) as browser:
        found = browser.samples(Wanted())
        assert found["total"] == 7
        assert gone(told) not in {row["key"] for row in found["rows"]}
        assert "+" in browser.about()["version"]
        assert browser.thumbnail(0, 1)
        for ask in (lambda: browser.thumbnail(0, 2), lambda: browser.sample(0, 2), lambda: browser.find(gone(told))):
            with pytest.raises(ConfigError):
                ask()
