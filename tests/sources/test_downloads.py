"""What img2dataset leaves as files. PYTHONPATH=. python -m pytest tests/sources/test_downloads.py"""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from onegen.errors import ConfigError, SampleError
from onegen.shards.plan import PlannedItem, make_plan, read_plan
from onegen.sources.folder import Folder
from tests.exports import write_download_files
from tests.fabricated import memory_store
from tests.pictures import jpeg


def plan(source: Folder) -> list[PlannedItem]:
    """List a source as a build does, and return its items in order."""
    with memory_store("downloads") as store:
        summary = make_plan(store, source.listing(), 1000)
        return [row for shard in range(summary.shards) for row in read_plan(store, shard)]


def test_a_crawl_in_files_is_read_and_its_failures_are_counted(tmp_path):
    statuses = write_download_files(tmp_path)
    source = Folder(str(tmp_path))
    items = {item.item: item for item in plan(source)}
    assert list(items) == sorted(statuses)
    assert source.passed_over() == {}
    for name, item in items.items():
        if statuses[name] == "success":
            assert source.read(item).images[0].caption == f"picture {name[6:15]}"
            assert source.annotations(item)["metadata"].values["url"].endswith(f"{name[6:15]}.jpg")
        else:
            with pytest.raises(SampleError, match=r"was not downloaded: HTTP Error 404: Not Found\.") as caught:
                source.read(item)
            assert caught.value.reason == "download_failed"
            assert source.annotations(item) == {}
    assert set(Folder(str(tmp_path), keep=("similarity",)).provides["metadata"].fields) == {"similarity"}
    assert Folder(str(tmp_path), sidecars=False).provides == {}
    with pytest.raises(ConfigError, match="did you mean 'similarity'"):
        Folder(str(tmp_path), keep=("similarty",)).provides  # noqa: B018


def test_a_download_without_its_file_and_a_damaged_table_fail_by_name(tmp_path):
    write_download_files(tmp_path)
    (tmp_path / "00000" / "000000000.jpg").unlink()
    (tmp_path / "00001.parquet").write_bytes(b"")
    source = Folder(str(tmp_path))
    outcomes: dict[str, str] = {}
    for item in plan(source):
        try:
            source.read(item)
        except SampleError as error:
            outcomes[item.item] = error.reason
    assert outcomes == {
        "00000/000000000": "not_in_folder",
        "00000/000000002": "download_failed",
        "00000/000000005": "download_failed",
        "00001.parquet": "damaged_table",
    }


def test_other_tables_in_a_folder_are_passed_over(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(jpeg(1))
    pq.write_table(pa.table({"key": ["a"]}), tmp_path / "photos.parquet")
    (tmp_path / "alone.parquet").write_bytes(b"")
    source = Folder(str(tmp_path))
    assert [item.item for item in plan(source)] == ["photos/a.jpg"]
    assert sum(source.passed_over().values()) == 2
    assert source.provides == {}
