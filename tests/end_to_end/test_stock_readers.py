"""Stock readers read packed shards, from a folder and from an object store, and find what the dataset holds.

Nothing of onegen reads here. What export adds for wids and Energon lies beside the tars; formats of their own are in
tests/audit/export. PYTHONPATH=. python -m pytest tests/end_to_end/test_stock_readers.py
"""

import io
import json
import shutil
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from benchmarks.object_server import BUCKET, environment
from onegen.audit.export import FORMATS, Wishes, export
from onegen.storage import open_store
from tests.handed import build, samples

SPLIT = "train"


@dataclass(frozen=True)
class Place:
    """Where the tars lie: what readers of plain addresses and of a store's own take, and the pictures by key."""

    tars: list[str]
    index: str
    own: str
    options: dict[str, str]
    pictures: dict[str, bytes]


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, bytes]]:
    """The tars that a build packed, with indexes beside them, and the picture of each key."""
    root = tmp_path_factory.mktemp("shards")
    out = build(root)
    export(samples(out), root / "set", FORMATS["webdataset"], Wishes())
    packed = {path.name: path.read_bytes() for path in (out / "shards").glob("*.tar")}
    assert packed == {path.name: path.read_bytes() for path in (root / "set" / SPLIT).glob("*.tar")}
    return root / "set", {sample.key: sample.pictures[0].image() for sample in samples(out)}


@pytest.fixture(params=["folder", "store"])
def place(request: pytest.FixtureRequest, shards: tuple[Path, dict[str, bytes]], tmp_path: Path) -> Place:
    """The same bytes in a folder, and behind the addresses of a store."""
    folder, pictures = shards
    names = [f"{SPLIT}/{path.name}" for path in sorted((folder / SPLIT).glob("*.tar"))]
    if request.param == "folder":
        return Place([str(folder / name) for name in names], f"{folder}/wids-{SPLIT}.json", str(folder), {}, pictures)
    endpoint = request.getfixturevalue("object_server")
    patch = request.getfixturevalue("monkeypatch")
    for name, value in environment(endpoint).items():
        patch.setenv(name, value)
    store = open_store(f"s3://{BUCKET}/stock/{tmp_path.name}")
    for path in (path for path in folder.rglob("*") if path.is_file()):
        store.write(path.relative_to(folder).as_posix(), path.read_bytes())
    # Readers that fetch plain addresses send no signature: what lies there is public.
    import boto3

    public = {
        "Effect": "Allow",
        "Principal": "*",
        "Action": "s3:GetObject",
        "Resource": f"arn:aws:s3:::{BUCKET}/stock/*",
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [public]})
    boto3.client("s3", endpoint_url=endpoint).put_bucket_policy(Bucket=BUCKET, Policy=policy)
    base = f"{endpoint}/{BUCKET}/stock/{tmp_path.name}"
    return Place(
        [f"{base}/{name}" for name in names], f"{base}/wids-{SPLIT}.json", store.url, {"endpoint": endpoint}, pictures
    )


def picture_of(sample: dict[str, object], dot: str = "") -> object:
    """Return the one picture of a sample, whatever it is called."""
    (found,) = (sample[f"{dot}{name}"] for name in ("jpg", "png") if f"{dot}{name}" in sample)
    return found


def by_tarfile(place: Place) -> Iterator[tuple[str, bytes]]:
    import fsspec

    for tar in place.tars:
        with fsspec.open(tar) as stream, tarfile.open(fileobj=stream, mode="r|") as archive:
            for member in archive:
                key, _, name = member.name.partition(".")
                if name in ("jpg", "png"):
                    yield key, archive.extractfile(member).read()  # type: ignore[union-attr]


def by_webdataset(place: Place) -> Iterator[tuple[str, bytes]]:
    import webdataset

    for sample in webdataset.WebDataset(place.tars, shardshuffle=False):
        assert json.loads(sample["json"])["licence"] == "CC0-1.0"
        yield sample["__key__"], picture_of(sample)  # type: ignore[misc]


def by_wids(place: Place) -> Iterator[tuple[str, bytes]]:
    import wids

    found = wids.ShardListDataset(place.index, cache_dir="wids-cache", keep=True, transformations=[])
    assert len(found) == len(place.pictures)
    for index in reversed(range(len(found))):
        yield found[index]["__key__"], picture_of(found[index], ".").read()  # type: ignore[attr-defined]


def by_datasets(place: Place) -> Iterator[tuple[str, bytes]]:
    import datasets

    # It takes the parts of the first samples for those of all.
    kinds = {name.partition(".")[2] for tar in place.tars for name in names_in(tar)}
    features = datasets.Features(
        {
            **{kind: datasets.Json() if kind == "json" else datasets.Value("binary") for kind in sorted(kinds)},
            **dict.fromkeys(("__key__", "__url__"), datasets.Value("string")),
        }
    )
    for row in datasets.load_dataset(
        "webdataset", data_files=place.tars, split="train", features=features, cache_dir="cache"
    ):
        yield row["__key__"], row.get("jpg") or row["png"]


def names_in(tar: str) -> list[str]:
    import fsspec

    with fsspec.open(tar) as stream, tarfile.open(fileobj=io.BytesIO(stream.read())) as archive:
        return archive.getnames()


def by_energon(place: Place) -> Iterator[tuple[str, bytes]]:
    from megatron import energon

    @energon.stateless
    def cook(sample):
        return {**energon.basic_sample_keys(sample), "image": picture_of(sample)}

    class Encoder(energon.DefaultTaskEncoder):
        cookers = (energon.Cooker(cook),)
        decoder = None

    workers = energon.WorkerConfig(rank=0, world_size=1, num_workers=0)
    path = place.own.replace(f"s3://{BUCKET}/", "msc://shards/")
    read = energon.get_val_dataset(
        path, split_part=SPLIT, worker_config=workers, batch_size=None, task_encoder=Encoder()
    )
    for sample in energon.get_loader(read):
        yield sample["__key__"].rpartition("/")[2], sample["image"]


READERS: dict[str, tuple[str, Callable[[Place], Iterator[tuple[str, bytes]]]]] = {
    "tarfile": ("fsspec", by_tarfile),
    "webdataset": ("webdataset", by_webdataset),
    "wids": ("wids", by_wids),
    "datasets": ("datasets", by_datasets),
    "energon": ("megatron.energon", by_energon),
}
"""Each by the package that brings it. torchdata has had no reader of tars since 0.10."""

FETCHED = ("webdataset", "wids")


@pytest.mark.parametrize("reader", READERS)
def test_a_stock_reader_finds_every_picture(
    reader: str, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package, read = READERS[reader]
    pytest.importorskip(package)
    if place.options and reader in FETCHED and shutil.which("curl") is None:
        pytest.skip(f"{reader} fetches by curl, which is not installed")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    if place.options:
        # What the reader of Energon looks for a store by.
        profile = {
            "type": "s3",
            "options": {"base_path": BUCKET, "endpoint_url": place.options["endpoint"], "region_name": "us-east-1"},
        }
        (tmp_path / "msc.yaml").write_text(yaml.safe_dump({"profiles": {"shards": {"storage_provider": profile}}}))
        monkeypatch.setenv("MSC_CONFIG", str(tmp_path / "msc.yaml"))
    assert dict(read(place)) == place.pictures
