"""What each format's own reader reads is what the dataset holds: counts, pixels and values.

PYTHONPATH=. python -m pytest tests/audit/export/test_readers.py
"""

import hashlib
import io
import json
import struct
import tarfile

import numpy as np
import pytest
import yaml
from PIL import Image

from onegen.audit.export import FORMATS, Wishes, export
from onegen.audit.export.formats import split_of
from onegen.pixels.outlines import mask_runs, runs_mask
from onegen.sample import PACKED
from tests.handed import samples
from tests.tiny import packed

SHARE = 0.3


def pixels(data):
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image)


@pytest.fixture(scope="module")
def rows(handed):
    """What the dataset holds of every key, read once."""
    found = {}
    for sample in samples(handed):
        picture = sample.pictures[0]
        found[sample.key] = {
            "image": picture.image(),
            "masks": picture.part("masks", "masks.png"),
            "depth": picture.part("depth", "depth.png"),
            "facts": picture.facts,
            "name": picture.name,
            **{f"{column}.{name}": v for column in picture.columns for name, v in picture.values(column).items()},
        }
    return found


def exported(handed, tmp_path, name):
    export(samples(handed), tmp_path / name, FORMATS[name], Wishes(SHARE))
    return tmp_path / name


def test_coco(handed, rows, tmp_path, capsys):
    coco = pytest.importorskip("pycocotools.coco")
    out = exported(handed, tmp_path, "coco")
    things, people, words = (
        coco.COCO(str(out / "annotations" / f"{column}.json")) for column in ("entities", "pose", "caption_human")
    )
    assert len(things.imgs) == len(rows)
    assert len(things.anns) == sum(len(row["entities.entities"]) for row in rows.values()) > 0
    for number, image in things.imgs.items():
        row = rows[image["key"]]
        assert (out / "images" / image["file_name"]).read_bytes() == row["image"]
        assert (image["width"], image["height"]) == (row["facts"]["width"], row["facts"]["height"])
        assert image["attribution"] == row["facts"]["attribution"]
        masks = pixels(row["masks"])
        for index, record in enumerate(things.loadAnns(things.getAnnIds(imgIds=[number])), 1):
            entity = row["entities.entities"][index - 1]
            assert np.array_equal(things.annToMask(record).astype(bool), masks == index)
            assert record["area"] == int((masks == index).sum()) > 0
            x, y, width, height = record["bbox"]
            assert (x, y, x + width, y + height) == pytest.approx([entity[n] for n in ("x0", "y0", "x1", "y1")])
            assert things.cats[record["category_id"]]["name"] == entity["label"]
        (person,) = people.loadAnns(people.getAnnIds(imgIds=[number]))
        stored = row["pose.people"][0]["keypoints"]
        assert person["keypoints"][:2] == stored[:2]
        assert person["num_keypoints"] == sum(v > 0 for v in stored[2::3]) == 2
        (caption,) = words.loadAnns(words.getAnnIds(imgIds=[number]))
        assert caption["caption"] == row["caption_human.caption"]
    assert [licence["name"] for licence in things.dataset["licenses"]] == ["CC0-1.0"]


def test_runs_are_those_of_pycocotools():
    mask = pytest.importorskip("pycocotools.mask")
    rng = np.random.default_rng(0)
    shapes = [(1, 1), (7, 5), (64, 33), (200, 1), (300, 301)]
    for shape in shapes:
        for share in (0.0, 0.02, 0.5, 0.98, 1.0):
            made = rng.random(shape) < share
            runs = mask_runs(made)
            assert runs["counts"].encode() == mask.encode(np.asfortranarray(made.astype(np.uint8)))["counts"]
            assert np.array_equal(runs_mask(runs, shape), made)


def test_huggingface(handed, rows, tmp_path):
    datasets = pytest.importorskip("datasets")
    out = exported(handed, tmp_path, "huggingface")
    loaded = datasets.load_dataset(str(out), cache_dir=str(tmp_path / "cache"))
    assert set(loaded) == {"train", "validation"}
    assert isinstance(loaded["train"].features["image"], datasets.Image)
    assert sum(len(split) for split in loaded.values()) == len(rows)
    for split, table in loaded.items():
        for row in table:
            stored = rows[row["key"]]
            assert split_of(row["key"], SHARE) == split
            assert np.array_equal(np.asarray(row["image"].convert("RGB")), pixels(stored["image"]))
            assert np.array_equal(np.asarray(row["depth_map"]), pixels(stored["depth"]))
            assert np.array_equal(np.asarray(row["masks_map"]), pixels(stored["masks"]))
            assert row["detection_objects"] == stored["detection.objects"]
            assert row["pose_people"] == stored["pose.people"]
            assert row["scores_sharpness"] == stored["scores.sharpness"]
            assert (row["licence"], row["uri"]) == ("CC0-1.0", stored["facts"]["uri"])
    raw = datasets.load_dataset(str(out), cache_dir=str(tmp_path / "cache"))["train"].cast_column(
        "image", datasets.Image(decode=False)
    )
    assert all(row["image"]["bytes"] == rows[row["key"]]["image"] for row in raw)
    head = yaml.safe_load((out / "README.md").read_text(encoding="utf-8").split("---")[1])
    assert [entry["split"] for entry in head["configs"][0]["data_files"]] == ["train", "validation"]
    assert head["license"] == "cc0-1.0"


def test_croissant(handed, rows, tmp_path):
    croissant = pytest.importorskip("mlcroissant")
    out = exported(handed, tmp_path, "croissant")
    described = croissant.Dataset(str(out / "croissant.json"))
    assert not described.metadata.issues.errors
    keys = []
    for split in ("train", "validation"):
        for record in described.records(split):
            key = record[f"{split}/key"].decode()
            keys.append(key)
            assert np.array_equal(np.asarray(record[f"{split}/image"].convert("RGB")), pixels(rows[key]["image"]))
            assert record[f"{split}/scores_sharpness"] == pytest.approx(rows[key]["scores.sharpness"])
            assert record[f"{split}/licence"].decode() == "CC0-1.0"
    assert sorted(keys) == sorted(rows)
    assert json.loads((out / "croissant.json").read_text())["license"] == ["CC0-1.0"]


def test_webdataset_reads_the_tars_which_are_ours(handed, rows, tmp_path):
    webdataset = pytest.importorskip("webdataset")
    export(samples(handed), tmp_path / "all", FORMATS["webdataset"], Wishes())
    # Nothing left out and one split: the dataset's own tars.
    ours = {name: digest for name, digest in packed(handed).items() if name.endswith(".tar")}
    made = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in (tmp_path / "all" / "train").glob("*.tar")}
    assert made == ours
    out = exported(handed, tmp_path, "webdataset")
    for split in ("train", "validation"):
        tars = [str(path) for path in sorted((out / split).glob("*.tar"))]
        for sample in webdataset.WebDataset(tars, shardshuffle=False):
            stored = rows[sample["__key__"]]
            assert split_of(sample["__key__"], SHARE) == split
            (image,) = (sample[name] for name in ("jpg", "png") if name in sample)
            assert image == stored["image"]
            assert json.loads(sample["json"])["licence"] == "CC0-1.0"


def test_wids_and_energon_are_told_where_samples_lie(handed, rows, tmp_path):
    out = exported(handed, tmp_path, "webdataset")
    info = json.loads((out / ".nv-meta" / ".info.json").read_text())["shard_counts"]
    splits = yaml.safe_load((out / ".nv-meta" / "split.yaml").read_text())["split_parts"]
    assert sum(info.values()) == len(rows)
    assert sorted(name for names in splits.values() for name in names) == sorted(info)
    for split in ("train", "validation"):
        for entry in json.loads((out / f"wids-{split}.json").read_text())["shardlist"]:
            tar = out / entry["url"]
            assert (entry["nsamples"], entry["filesize"]) == (info[entry["url"]], tar.stat().st_size)
            raw = tar.with_suffix(".tar.idx").read_bytes()
            offsets = struct.unpack(f"<{len(raw) // 8}Q", raw)
            with tarfile.open(tar) as archive:
                members = archive.getmembers()
            keys = list(dict.fromkeys(member.name.partition(".")[0] for member in members))
            first = [next(m.offset for m in members if m.name.startswith(key)) for key in keys]
            last = members[-1].offset_data + -(-members[-1].size // 512) * 512
            assert list(offsets) == [*first, last]


def test_wids(handed, rows, tmp_path):
    wids = pytest.importorskip("wids")
    out = exported(handed, tmp_path, "webdataset")
    for split in ("train", "validation"):
        found = wids.ShardListDataset(str(out / f"wids-{split}.json"), keep=True, transformations=[])
        assert len(found) == sum(split_of(key, SHARE) == split for key in rows)
        for sample in found:
            (image,) = (sample[name] for name in (".jpg", ".png") if name in sample)
            assert image.read() == rows[sample["__key__"]]["image"]


def test_energon(handed, rows, tmp_path):
    energon = pytest.importorskip("megatron.energon")

    @energon.stateless
    def cook(sample):
        (image,) = (sample[name] for name in ("jpg", "png") if name in sample)
        return {**energon.basic_sample_keys(sample), "image": image}

    class Encoder(energon.DefaultTaskEncoder):
        cookers = (energon.Cooker(cook),)
        decoder = None

    out = exported(handed, tmp_path, "webdataset")
    workers = energon.WorkerConfig(rank=0, world_size=1, num_workers=0)
    for split, name in (("train", "train"), ("validation", "val")):
        read = energon.get_val_dataset(
            str(out), split_part=name, worker_config=workers, batch_size=None, task_encoder=Encoder()
        )
        found = {sample["__key__"].rpartition("/")[2]: sample["image"] for sample in energon.get_loader(read)}
        assert found == {key: row["image"] for key, row in rows.items() if split_of(key, SHARE) == split}


def test_fiftyone_names_files_that_are_there_and_boxes_that_are_ours(handed, rows, tmp_path):
    out = exported(handed, tmp_path, "fiftyone")
    told = json.loads((out / "samples.json").read_text())["samples"]
    assert sorted(sample["key"] for sample in told) == sorted(rows)
    for sample in told:
        row = rows[sample["key"]]
        width, height = row["facts"]["width"], row["facts"]["height"]
        assert (out / sample["filepath"]).read_bytes() == row["image"]
        assert (out / sample["masks_map"]["mask_path"]).read_bytes() == row["masks"]
        assert (out / sample["depth_map"]["map_path"]).read_bytes() == row["depth"]
        (box,) = sample["detection_objects"]["detections"]
        stored = row["detection.objects"][0]
        x, y, w, h = box["bounding_box"]
        assert [x * width, y * height] == pytest.approx([stored["x0"], stored["y0"]])
        assert [(x + w) * width, (y + h) * height] == pytest.approx([stored["x1"], stored["y1"]])
        assert sample["pose_people"]["keypoints"][0]["confidence"][:2] == stored_visibilities(row)
        assert sample["licence"] == "CC0-1.0"
    assert PACKED not in json.loads((out / "metadata.json").read_text())["info"]["producers"]


def stored_visibilities(row):
    return row["pose.people"][0]["keypoints"][2:6:3]
