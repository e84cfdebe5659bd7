"""Read training samples: ours from columns and from the packed view, beside webdataset, litData and mosaicml-streaming.

    python -m benchmarks loader

A sample has eight columns: a photo of 640x480 as JPEG, four maps as PNG (depth, edges, masks, normals) and three of
words and numbers. Every arm hands the same bytes to the same decoder (`simplejpeg`, OpenCV, `json`), at full size. A
task needs two columns (photo and depth) or all eight; once the parts are only read, not decoded; and once they become
an example of 256 pixels, for which our loader decodes a photo at the scale it needs, and the others as their users do,
whole and then resized. Files are in the page cache. Ours reads in the shuffled order of training, the others in the
order of their files, which is the least work for them. Before anything is timed, every arm must give the same samples,
or it is void.
"""

import hashlib
import importlib.util
import json
import statistics
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import simplejpeg
import webdataset

from benchmarks.measure import Timing, interleave, time_here
from benchmarks.table import Row, Table, version
from onegen.build.pack import PackJob
from onegen.executor.contract import Finished, Task
from onegen.loader.framing import Frame
from onegen.loader.reader import Reader
from onegen.pixels.codec import decode_image, encode_part, encode_picture
from onegen.sample import Encoding
from onegen.shards.canonical import canonical
from onegen.shards.column import ColumnWriter
from onegen.shards.dataset import CARD, Card, Dataset, PlanSummary
from onegen.shards.index import IMAGE_FIELDS
from onegen.shards.manifest import Producer, Provenance
from onegen.shards.run import describe_run
from onegen.storage.local import LocalStore

BAR_TWO, BAR_RAW = 1.5, 1.0
MAPS: Mapping[str, tuple[str, Encoding]] = {
    "depth": ("depth.png", "gray16"),
    "hed": ("hed.png", "gray8"),
    "segmentation": ("masks.png", "index"),
    "normals": ("normals.png", "rgb8"),
}
WORDS = ("caption", "entities", "pose")
FIELDS: Mapping[str, pa.DataType] = {"text": pa.string()}
ALL = ("image", *MAPS, *WORDS)
TWO = ("image", "depth")
OURS, PACKED_ARM = "ours, columns", "ours, packed view"
PICKED, STOCK = "webdataset, parts picked first", "webdataset, all decoded"
LITDATA, MOSAIC = "litData", "mosaicml-streaming"
TAR_PEERS = (PICKED, STOCK)
EXAMPLES = "load: examples of 256 pixels, two columns of eight, ours decoding at scale"
SIDE = 256


@dataclass(frozen=True)
class Size:
    """How many samples a shard has, how many shards there are, and how many rounds are timed."""

    samples: int = 20
    shards: int = 2
    rounds: int = 3
    width: int = 640
    height: int = 480


TINY = Size(samples=3, shards=2, rounds=1, width=64, height=48)
Sample = Mapping[str, bytes]
"""One sample: bytes by column."""


def run(size: Size = Size()) -> list[Table]:
    """Write the samples in every layout, check that all arms read the same, time them, and return the tables."""
    with tempfile.TemporaryDirectory(prefix="onegen-bench-") as scratch:
        samples = [make_sample(number, size) for number in range(size.samples * size.shards)]
        folder = Path(scratch)
        arms = {
            **_ours(folder / "ours", samples, size),
            **_webdataset(folder / "ours"),
            **_litdata(folder / "litdata", samples),
            **_mosaic(folder / "mosaic", samples),
        }
        return [
            _measured("load: decoded, two columns of eight", arms, TWO, decoded, samples, size),
            _measured("load: decoded, all eight columns", arms, ALL, decoded, samples, size),
            _measured("load: raw parts, all eight columns", arms, ALL, raw, samples, size),
            _measured(EXAMPLES, arms, TWO, framed, samples, size),
        ]


Decoder = Callable[[str, bytes, bool], Any]
"""What is made of a part, given its column and whether our loader makes it."""
Arm = Callable[[Sequence[str], Decoder], Iterator[Mapping[str, Any]]]
"""Given the columns that are needed, and what to make of them: the samples, by column."""


def make_sample(number: int, size: Size) -> dict[str, bytes]:
    """Return one sample: nothing in it is another's, and its maps are as smooth as real ones."""
    random = np.random.default_rng(number)
    shape = (size.width, size.height)
    photo = cv2.resize(random.integers(0, 256, (12, 16, 3), dtype=np.uint8), shape, interpolation=cv2.INTER_CUBIC)
    photo = cv2.add(photo, random.integers(0, 8, photo.shape, dtype=np.uint8))
    deep = cv2.resize(random.random((6, 8)), shape, interpolation=cv2.INTER_CUBIC)
    edges = cv2.GaussianBlur(cv2.Canny(photo, 100, 200), (0, 0), 2)
    masks = cv2.resize(random.integers(0, 6, (6, 8), dtype=np.uint8), shape, interpolation=cv2.INTER_NEAREST)
    normals = cv2.resize(random.integers(0, 256, (6, 8, 3), dtype=np.uint8), shape, interpolation=cv2.INTER_LINEAR)
    arrays = {
        "depth": (np.clip(deep, 0, 1) * 65535).astype(np.uint16),
        "hed": edges,
        "segmentation": masks,
        "normals": normals,
    }
    box = {"label": "thing", "score": 0.5, "x0": 1.0, "y0": 2.0, "x1": 30.0, "y1": 40.0}
    return {
        "image": encode_picture(photo, "jpg"),
        **{column: encode_part(arrays[column], encoding) for column, (_, encoding) in MAPS.items()},
        "caption": canonical(f"picture {number}, told in a few dozen words. " * 8),
        "entities": canonical([box] * 8),
        "pose": canonical([{**box, "keypoints": [number * 0.1] * 51}] * 3),
    }


def raw(column: str, data: bytes, is_ours: bool) -> bytes:
    """Return a part as it is."""
    return data


def framed(column: str, data: bytes, is_ours: bool) -> Any:
    """Return a photo or its depth at the size of training; words as they are."""
    if column in WORDS:
        return decoded(column, data, is_ours)
    if column != "image":
        pixels = np.asarray(decoded(column, data, is_ours))
        return Frame.centred(pixels.shape[:2], (SIDE, SIDE)).map(pixels)
    if is_ours:
        height, width, _, _ = simplejpeg.decode_jpeg_header(data)
        return Frame.centred((height, width), (SIDE, SIDE)).picture(data)
    pixels = decode_image(data)
    return Frame.centred(pixels.shape[:2], (SIDE, SIDE)).map(pixels)


def decoded(column: str, data: bytes, is_ours: bool) -> Any:
    """Return what the decoder that all arms share makes of a part."""
    if column == "image":
        return decode_image(data)
    if column in MAPS:
        return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    return json.loads(data)


def _given(sample: Mapping[str, Any], columns: Sequence[str], decode: Decoder, is_ours: bool = False) -> dict[str, Any]:
    """Return what is made of the needed columns of a sample."""
    return {column: decode(column, sample[column], is_ours) for column in columns}


def _ours(folder: Path, samples: Sequence[Sample], size: Size) -> dict[str, Arm]:
    """Write columns and the packed view, and return the arms that read them in the order of training."""
    store = LocalStore(str(folder))
    plan = PlanSummary(shards=size.shards, items=len(samples), digest="")
    card = Card(name="bench", kind="image", state="complete", recipe={}, recipe_digest="", source={}, source_root="",
                plan=plan, digest="-")  # fmt: skip
    store.write(CARD, card.to_json())
    for shard in range(size.shards):
        own = samples[shard * size.samples : (shard + 1) * size.samples]
        for column in (*ALL, "select"):
            _write_column(store, column, shard, own, size)
        scope = {column: _fields(column) for column in (*ALL, "select")}
        *_, last = PackJob(store, "image", ALL, ("image",), scope).perform(Task(shard, ()))
        assert isinstance(last, Finished)
        Dataset(store).commit(last.result.manifests[0], last.result.pending)
    order = np.random.default_rng(0).permutation(len(samples)).tolist()

    def arm(is_packed: bool) -> Arm:
        reader = Reader(store, "bench", is_packed)

        def read(columns: Sequence[str], decode: Decoder) -> Iterator[Mapping[str, Any]]:
            parts = [MAPS[column][0] for column in columns if column in MAPS]
            for number in order:
                stored = reader.read(*divmod(number, size.samples), columns, parts)
                found: dict[str, Any] = {"image": stored.picture()}
                found |= {c: stored.parts[0, MAPS[c][0]] for c in columns if c in MAPS}
                found |= {c: stored.values[c]["text"] for c in columns if c in WORDS}
                yield _given(found, columns, decode, True)

        return read

    return {OURS: arm(False), PACKED_ARM: arm(True)}


def _fields(column: str) -> Mapping[str, pa.DataType]:
    if column == "image":
        return IMAGE_FIELDS
    return FIELDS if column in WORDS else {}


def _write_column(store: LocalStore, column: str, shard: int, samples: Sequence[Sample], size: Size) -> None:
    producer = Producer(name=column, version=1)
    with ColumnWriter(store, column, shard, _fields(column), "image", producer.label()) as writer:
        for position, sample in enumerate(samples):
            key = hashlib.sha256(sample["image"]).hexdigest()[:20]
            values: dict[str, Any] = {"text": sample[column].decode()} if column in WORDS else {}
            parts = {MAPS[column][0]: sample[column]} if column in MAPS else {}
            if column == "image":
                values = {"width": size.width, "height": size.height, "phash": position}
                parts = {"jpg": sample["image"]}
            writer.add(position, key, "ok", None, "", values, parts)
        files, counts, digest = writer.finish()
    provenance = Provenance(column, "image", {"name": column}, producer)
    Dataset(store).commit(provenance.manifest(shard, files, counts, digest, {}, describe_run(0.0, counts.ok)))


def _webdataset(folder: Path) -> dict[str, Arm]:
    """Return arms that stream the same packed tars with stock webdataset."""
    urls = [str(path) for path in sorted((folder / "shards").glob("*.tar"))]

    def raw_of(sample: Mapping[str, Any]) -> dict[str, Any]:
        about = json.loads(sample["json"])["annotations"]
        parts = {column: sample[part] for column, (part, _) in MAPS.items()}
        return {"image": sample["jpg"], **parts, **{column: about[column]["text"] for column in WORDS}}

    def picked(columns: Sequence[str], decode: Decoder) -> Iterator[Mapping[str, Any]]:
        has_words = any(column in WORDS for column in columns)
        for sample in webdataset.WebDataset(urls, shardshuffle=False):
            maps = {"image": sample["jpg"], **{column: sample[part] for column, (part, _) in MAPS.items()}}
            yield _given(raw_of(sample) if has_words else maps, columns, decode)

    def stock(columns: Sequence[str], decode: Decoder) -> Iterator[Mapping[str, Any]]:
        for sample in webdataset.WebDataset(urls, shardshuffle=False):
            whole = _given(raw_of(sample), ALL, decode)
            yield {column: whole[column] for column in columns}

    return {PICKED: picked, STOCK: stock}


def _litdata(folder: Path, samples: Sequence[Sample]) -> dict[str, Arm]:
    """Return the arm that reads litData's chunks, nothing where it is not installed."""
    if importlib.util.find_spec("litdata") is None:
        return {}
    from litdata import StreamingDataset
    from litdata.streaming.cache import Cache

    folder.mkdir()
    cache = Cache(str(folder), chunk_bytes="64MB")
    for index, sample in enumerate(samples):
        cache[index] = dict(sample)
    cache.done()
    cache.merge()

    def read(columns: Sequence[str], decode: Decoder) -> Iterator[Mapping[str, Any]]:
        for sample in StreamingDataset(str(folder), shuffle=False):
            yield _given(sample, columns, decode)

    return {LITDATA: read}


def _mosaic(folder: Path, samples: Sequence[Sample]) -> dict[str, Arm]:
    """Return the arm that reads mosaicml-streaming's shards, nothing where it is not installed."""
    if importlib.util.find_spec("streaming") is None:
        return {}
    import streaming

    with streaming.MDSWriter(out=str(folder), columns=dict.fromkeys(ALL, "bytes")) as writer:
        for sample in samples:
            writer.write(dict(sample))
    dataset = streaming.StreamingDataset(local=str(folder), shuffle=False, batch_size=1)

    def read(columns: Sequence[str], decode: Decoder) -> Iterator[Mapping[str, Any]]:
        # By number, as a map-style dataset: its iterator has threads that wait for shards to come.
        for index in range(len(samples)):
            yield _given(dataset[index], columns, decode)

    return {MOSAIC: read}


def _measured(
    title: str, arms: Mapping[str, Arm], columns: Sequence[str], decode: Decoder, samples: Sequence[Sample], size: Size
) -> Table:
    """Return the table of one need: every arm checked first, then timed."""
    wanted = [sorted(_digest(_given(sample, columns, decode, ours)) for sample in samples) for ours in (True, False)]
    sound = {name: arm for name, arm in arms.items() if sorted(map(_digest, arm(columns, decode))) in wanted}

    def timed(arm: Arm) -> Callable[[], Timing]:
        return lambda: time_here(lambda: sum(1 for _ in arm(columns, decode)))

    timings = interleave({name: timed(arm) for name, arm in sound.items()}, size.rounds)
    rates = {name: [len(samples) / timing.cpu for timing in found] for name, found in timings.items()}
    middle = {name: statistics.median(values) for name, values in rates.items()}
    best_tar = max(middle[name] for name in TAR_PEERS if name in middle)
    bars = _bars(title, middle, best_tar)
    rows = [
        Row(
            arm=name if name in rates else f"{name} (void: reads otherwise)",
            values=rates.get(name, []),
            ratio=middle[name] / best_tar if name in middle else None,
            bar=bars[name][0] if name in bars else "",
            is_met=bars[name][1] if name in bars else None,
            versions=_versions(name),
            wall=f"{statistics.median(len(samples) / t.wall for t in timings[name]):,.0f}/s" if name in rates else "",
        )
        for name in arms
    ]
    return Table(
        title,
        "samples per CPU-second",
        "the best tar stream",
        rows,
        _notes(samples, arms),
        [timing.load for found in timings.values() for timing in found],
    )


def _bars(title: str, middle: Mapping[str, float], best_tar: float) -> dict[str, tuple[str, bool]]:
    """Return what ours must reach, and whether it does."""
    # Of the columns, which is what the loader reads where they are there: the better of two arms would be a choice.
    if OURS not in middle:
        return {}
    ours = middle[OURS]
    if title == EXAMPLES:
        return {}
    if "raw" in title:
        lit = middle.get(LITDATA)
        return {OURS: (f">= {BAR_RAW:g}x litData", ours >= BAR_RAW * lit)} if lit else {}
    bar = BAR_TWO if "two" in title else BAR_RAW
    return {OURS: (f">= {bar:g}x", ours >= bar * best_tar)}


def _digest(sample: Mapping[str, Any]) -> str:
    total = hashlib.sha256()
    for column in sorted(sample):
        value = sample[column]
        data = value.tobytes() if isinstance(value, np.ndarray) else value
        # words come as bytes from some and as text from others
        text = data.encode() if isinstance(data, str) else data
        total.update(text if isinstance(text, bytes) else canonical(text))
    return total.hexdigest()


def _notes(samples: Sequence[Sample], arms: Mapping[str, Arm]) -> list[str]:
    mean = {column: sum(len(sample[column]) for sample in samples) // len(samples) for column in ALL}
    missing = [name for name in (LITDATA, MOSAIC) if name not in arms]
    return [
        f"{len(samples):,} samples of {sum(mean.values()) // 1000} KB: "
        + ", ".join(f"{column} {size / 1000:.1f}" for column, size in mean.items()),
        "ours in a shuffled order, the others in the order of their files; all in this process, no workers",
        *([f"not installed: {', '.join(missing)}"] if missing else []),
    ]


def _versions(arm: str) -> str:
    names = {LITDATA: "litdata", MOSAIC: "mosaicml-streaming", PICKED: "webdataset", STOCK: "webdataset"}
    return version(names[arm]) if arm in names else version("onegen", "simplejpeg")
