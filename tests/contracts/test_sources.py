"""What every source keeps, whatever it reads from. A new source adds its way of being filled to `FILL`.

PYTHONPATH=. python -m pytest tests/contracts/test_sources.py
"""

import inspect
import pickle
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import fsspec
import pyarrow as pa
import pytest

from onegen.config import make_source
from onegen.registry import available
from onegen.sample import SampleError, SourceItem
from onegen.shards.plan import LISTING, PlannedItem, make_plan, read_plan
from onegen.shards.store import open_store
from onegen.sources import Source
from tests.fabricated import memory_store
from tests.pictures import jpeg, png

NAMES = available("sources")
PICTURES = {"a.jpg": jpeg(1), "b c/ü.png": png(2), "b c/d.e.jpg": jpeg(3)}

Described = Mapping[str, object]


def fill_folder(url: str, pictures: Mapping[str, bytes]) -> Described:
    """Write pictures as files below a URL and describe the source as a recipe does."""
    store = open_store(url)
    for name, data in pictures.items():
        store.write(name, data)
    return {"folder": url}


FILL: dict[str, Callable[[str, Mapping[str, bytes]], Described]] = {"folder": fill_folder}


@pytest.fixture(params=["local", "memory"])
def url(request, tmp_path):
    if request.param == "local":
        yield str(tmp_path / "source")
    else:
        with memory_store("source") as store:
            yield store.url


def listed(source: Source) -> list[PlannedItem]:
    with memory_store("listed") as store:
        summary = make_plan(store, source.listing(), 2)
        return [row for shard in range(summary.shards) for row in read_plan(store, shard)]


def filled(name: str, url: str) -> Source:
    assert name in FILL, f"tell this test how to fill the source {name!r}"
    return make_source(dict(FILL[name](url, PICTURES)))


@pytest.mark.parametrize("name", NAMES)
def test_declares_what_the_contract_asks(name, url):
    source = filled(name, url)
    assert isinstance(source, Source)
    assert (source.name, source.version) == (name, 1)
    assert name in source.__dataclass_fields__, "one option is named like the source"
    assert inspect.getdoc(type(source))
    assert sys.modules[type(source).__module__].__doc__
    assert re.match(r"/|[a-z0-9]+://", source.root)


@pytest.mark.parametrize("name", NAMES)
def test_the_listing_has_the_schema_of_a_plan(name, url):
    batches = list(filled(name, url).listing())
    assert all(batch.schema == LISTING for batch in batches)
    rows = pa.Table.from_batches(batches, LISTING).to_pylist()
    assert len({row["item"] for row in rows}) == len(rows) == len(PICTURES)
    for row in rows:
        assert row["item"]
        for file in row["images"]:
            assert file["uri"]
            assert file["size"] > 0
            assert file["etag"]


@pytest.mark.parametrize("name", NAMES)
def test_reading_gives_the_bytes_that_are_there(name, url):
    source = filled(name, url)
    items = listed(source)
    said = [source.read(item) for item in items]
    assert all(isinstance(found, SourceItem) for found in said)
    assert sorted(data for found in said for data in found.images) == sorted(PICTURES.values())
    for item, found in zip(items, said, strict=True):
        assert [len(data) for data in found.images] == [file.size for file in item.images]


@pytest.mark.parametrize("name", NAMES)
def test_listing_again_gives_the_same_plan(name, url):
    source = filled(name, url)
    assert listed(source) == listed(source)
    assert listed(source) == listed(make_source(dict(FILL[name](url, {}))))


@pytest.mark.parametrize("name", NAMES)
def test_travels_to_a_worker_before_and_after_use(name, url):
    source = filled(name, url)
    items = listed(source)
    before = source.read(items[0])
    again = pickle.loads(pickle.dumps(source))
    assert again == source
    assert again.root == source.root
    assert again.read(items[0]) == before
    assert len(pickle.dumps(source)) < 1000


@pytest.mark.parametrize("name", NAMES)
def test_an_item_that_changed_or_went_after_the_plan_fails_with_its_reason(name, url):
    source = filled(name, url)
    items = {item.item: item for item in listed(source)}
    item = items["a.jpg"]
    fs, root = fsspec.url_to_fs(url)
    for data in (PICTURES["a.jpg"] + b"longer", PICTURES["a.jpg"][:-1] + b"?"):
        fs.pipe_file(f"{root}/a.jpg", data)
        with pytest.raises(SampleError, match=r"a\.jpg must be as planned") as caught:
            source.read(item)
        assert caught.value.reason == "source_changed"
    fs.rm_file(f"{root}/a.jpg")
    with pytest.raises(SampleError, match=r"a\.jpg must still be there.*onegen retry") as caught:
        source.read(item)
    assert caught.value.reason == "source_gone"
    assert source.read(items["b c/d.e.jpg"]).images == (PICTURES["b c/d.e.jpg"],)


@pytest.mark.parametrize("name", NAMES)
def test_imports_neither_torch_nor_ray(name):
    program = (
        f"import sys; from onegen.registry import find; find('sources', {name!r}, {{}})\n"
        "print(*{'torch', 'ray', 'matplotlib'} & set(sys.modules))"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
