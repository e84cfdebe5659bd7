"""What every source keeps, whatever it reads from. A new source adds its way of being filled to `FILL`.

Each holds the first picture in a file of its own (`FIRST`), so that one item can be changed and the others not.

PYTHONPATH=. python -m pytest tests/contracts/test_sources.py
"""

import inspect
import itertools
import json
import pickle
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import get_args

import fsspec
import numpy as np
import pyarrow as pa
import pytest

from onegen.config.recipe import make_source
from onegen.config.registry import available
from onegen.errors import SampleError
from onegen.sample import Kind, SourceItem
from onegen.shards.index import BASE
from onegen.shards.plan import LISTING, PlannedItem, make_plan, read_plan
from onegen.sources import Source
from onegen.storage import open_store
from tests.exports import table_bytes, tar_bytes
from tests.fabricated import memory_store
from tests.pictures import jpeg, png

NAMES = [name for name in available("sources") if name != "objects"]
"""But for objects, whose pictures are drawn: tests/end_to_end/test_objects.py."""
PICTURES = {"a.jpg": jpeg(1), "b c/ü.png": png(2), "b c/d.e.jpg": jpeg(3)}
SOURCES = {data: png(100 + number) for number, data in enumerate(PICTURES.values())}
"""What stands second where an item has two images, by the first."""
NUM_IMAGES = {"image": 1, "pair": 2, "identity": 1, "scene": 1}
"""How many images an item of a kind has here."""
CAPTION = "two \x07 men\n"

Described = Mapping[str, object]


def fill_folder(url: str, pictures: Mapping[str, bytes]) -> Described:
    """Write pictures as files below a URL and describe the source as a recipe does."""
    store = open_store(url)
    for name, data in pictures.items():
        store.write(name, data)
    return {"folder": url}


def fill_parquet(url: str, pictures: Mapping[str, bytes]) -> Described:
    """Write the first picture into one table and the others into another."""
    store = open_store(url)
    for name, chosen in _halves(pictures):
        columns = {
            "jpg": list(chosen.values()),
            "said": [CAPTION] * len(chosen),
            "size": [len(d) for d in chosen.values()],
        }
        store.write(f"{name}.parquet", table_bytes(columns))
    return {"parquet": f"{url}/*.parquet", "image": "jpg", "caption": "said", "keep": ["size"]}


def fill_webdataset(url: str, pictures: Mapping[str, bytes]) -> Described:
    """Write the first picture into one tar and the others into another."""
    store = open_store(url)
    for name, chosen in _halves(pictures):
        members = []
        for number, (path, data) in enumerate(chosen.items()):
            about = json.dumps({"size": len(data), "path": path}).encode()
            members += [(f"é/{number}{path[path.rindex('.') :]}", data), (f"é/{number}.json", about)]
            members.append((f"é/{number}.txt", CAPTION.encode()))
        store.write(f"{name}.tar", tar_bytes(members))
    return {"webdataset": url}


def fill_pairs(url: str, pictures: Mapping[str, bytes]) -> Described:
    """Write pairs whose targets are the pictures, the first into one table and the others into another."""
    store = open_store(url)
    for name, chosen in _halves(pictures):
        columns = {
            "after": list(chosen.values()),
            "before": [SOURCES[data] for data in chosen.values()],
            "say": [["mirror it", "flip it"]] * len(chosen),
            "said": [CAPTION] * len(chosen),
            "size": [len(data) for data in chosen.values()],
        }
        store.write(f"{name}.parquet", table_bytes(columns))
    mapped = {"target": "after", "source": "before", "instruction": "say", "target_caption": "said"}
    return {"pairs": f"{url}/*.parquet", **mapped, "keep": ["size"]}


def fill_identities(url: str, pictures: Mapping[str, bytes]) -> Described:
    """Write the first picture into one table and the others into another, each of a subject of its own."""
    store = open_store(url)
    for name, chosen in _halves(pictures):
        columns = {"who": [*chosen], "jpg": [*chosen.values()], "said": [CAPTION] * len(chosen)}
        store.write(f"{name}.parquet", table_bytes(columns))
    return {"identities": f"{url}/*.parquet", "subject": "who", "image": "jpg", "caption": "said"}


def fill_captures(url: str, pictures: Mapping[str, bytes]) -> Described:
    """Write each picture as a scene of one view."""
    store = open_store(url)
    for number, (name, data) in enumerate(pictures.items()):
        frame = {"file_path": f"images/{name.rpartition('/')[2]}", "transform_matrix": np.eye(4).tolist()}
        document = json.dumps({"fl_x": 40, "w": 48, "h": 32, "frames": [frame]}).encode()
        store.write(f"{number}/transforms.json", document)
        store.write(f"{number}/{frame['file_path']}", data)
        store.write(f"{number}/caption.json", json.dumps({"caption": CAPTION}).encode())
    return {"captures": url}


def fill_hypersim(url: str, pictures: Mapping[str, bytes]) -> Described:
    """Write pictures as previews of frames, the first in a scene of its own."""
    store = open_store(url)
    for number, data in enumerate(pictures.values()):
        store.write(hypersim_frame(min(number, 1), number), data)
    return {"hypersim": url}


def hypersim_frame(scene: int, number: int) -> str:
    """Return where Hypersim has a preview."""
    return f"ai_001_{scene:03d}/images/scene_cam_00_final_preview/frame.{number:04d}.tonemap.jpg"


def _halves(pictures: Mapping[str, bytes]) -> list[tuple[str, dict[str, bytes]]]:
    items = list(pictures.items())
    return [("one", dict(items[:1])), ("two", dict(items[1:]))] if items else []


FILL: dict[str, Callable[[str, Mapping[str, bytes]], Described]] = {
    "captures": fill_captures,
    "folder": fill_folder,
    "identities": fill_identities,
    "hypersim": fill_hypersim,
    "pairs": fill_pairs,
    "parquet": fill_parquet,
    "webdataset": fill_webdataset,
}
FIRST = {
    "captures": "0/transforms.json",
    "folder": "a.jpg",
    "hypersim": hypersim_frame(0, 0),
    "identities": "one.parquet",
    "pairs": "one.parquet",
    "parquet": "one.parquet",
    "webdataset": "one.tar",
}
WORDLESS = ("folder", "hypersim")
"""Sources that are filled with pictures alone."""
SETS = ("captures", "identities")
"""Sources of sets: an image that cannot be read stands for itself, and takes nothing with it."""


def read_whole(source: Source, item: PlannedItem) -> SourceItem:
    """Return an item's images; raises SampleError also for the first that stands for an image of a set."""
    read = source.read(item)
    for image in read.images:
        if isinstance(image, SampleError):
            raise image
    return read


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
    assert source.name == name
    assert source.version >= 1
    assert source.kind in get_args(Kind)
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
        assert len(row["images"]) == NUM_IMAGES[filled(name, url).kind]
        for file in row["images"]:
            assert file["uri"]
            assert file["size"] > 0
            assert file["etag"]


@pytest.mark.parametrize("name", NAMES)
def test_reading_gives_the_bytes_that_are_there(name, url):
    source = filled(name, url)
    items = listed(source)
    source_items = [source.read(item) for item in items]
    assert all(isinstance(source_item, SourceItem) for source_item in source_items)
    assert sorted(source_item.images[0].data for source_item in source_items) == sorted(PICTURES.values())
    for item, source_item in zip(items, source_items, strict=True):
        assert len(source_item.images) == len(item.images)
        first, *others = [image.data for image in source_item.images]
        assert others == [SOURCES[first]] * (len(item.images) - 1)
        assert bool(source_item.instruction) + bool(source_item.subject) == (source.kind in ("pair", "identity"))
        assert source_item.images[0].caption == (None if name in WORDLESS else CAPTION), "captions are kept in full"


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
    items = listed(source)
    (item,) = (item for item in items if source.read(item).images[0].data == PICTURES["a.jpg"])
    others = {other.item: source.read(other) for other in items if other != item}
    fs, root = fsspec.url_to_fs(url)
    path = f"{root}/{FIRST[name]}"
    before = fs.cat_file(path)
    asked = [partial(read_whole, source), *([source.annotations] if source.provides else [])]
    for data in (before + b"longer", before[:-1] + b"?"):
        fs.pipe_file(path, data)
        for read, again in itertools.product(asked, range(2)):
            with pytest.raises(SampleError, match=f"{re.escape(FIRST[name])} must be as planned") as caught:
                read(item)
            assert caught.value.reason == "source_changed", again
    fs.rm_file(path)
    for read in asked:
        with pytest.raises(SampleError, match=f"{re.escape(FIRST[name])} must still be there.*onegen retry") as caught:
            read(item)
        assert caught.value.reason == "source_gone"
    assert {other.item: source.read(other) for other in items if other != item} == others


@pytest.mark.parametrize("name", NAMES)
def test_what_a_source_says_of_an_item_fits_what_it_declares(name, url):
    source = filled(name, url)
    provides = source.provides
    assert pickle.loads(pickle.dumps(source)).provides == provides
    assert set(source.annotation_options) <= set(source.__dataclass_fields__)
    for column, provided in provides.items():
        assert re.fullmatch(r"[a-z][a-z0-9_]*", column)
        assert not set(provided.fields) & set(BASE), "a field must not hide one every index has"
    for item in listed(source):
        for column, annotation in source.annotations(item).items():
            assert not isinstance(annotation, SampleError)
            assert set(annotation.values) <= set(provides[column].fields)
            for field, value in annotation.values.items():
                pa.array([value], provides[column].fields[field])


@pytest.mark.parametrize("name", [name for name in NAMES if name not in (*WORDLESS, *SETS)])
def test_an_annotation_belongs_to_its_item(name, url):
    source = filled(name, url)
    for item in listed(source):
        data = source.read(item).images[0].data
        assert source.annotations(item)["metadata"].values["size"] == len(data)


@pytest.mark.parametrize("name", NAMES)
def test_imports_neither_torch_nor_ray(name):
    program = (
        f"import sys; from onegen.config.registry import find; find('sources', {name!r}, {{}})\n"
        "print(*{'torch', 'ray', 'matplotlib'} & set(sys.modules))"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
