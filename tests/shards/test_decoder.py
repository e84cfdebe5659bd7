"""Parts of packed samples as readers get them.

PYTHONPATH=. python -m pytest tests/shards/test_decoder.py
"""

import io
import json
import pickle
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from PIL import Image

import onegen
from onegen.errors import SampleError
from onegen.pixels.codec import encode_part
from onegen.sample import Encoding
from tests.exports import tar_bytes

RGB = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)


def encoded(kind: str) -> bytes:
    sink = io.BytesIO()
    Image.fromarray(RGB).save(sink, kind, **({"lossless": True} if kind == "WEBP" else {}))
    return sink.getvalue()


@pytest.mark.parametrize("dot", ["", "."])
@pytest.mark.parametrize(
    ("part", "encoding", "dtype"),
    [
        ("depth.png", "gray16", np.uint16),
        ("img1.depth.png", "gray16", np.uint16),
        ("hed.png", "gray8", np.uint8),
        ("masks.png", "index", np.uint8),
    ],
)
def test_a_map_keeps_its_values(dot: str, part: str, encoding: Encoding, dtype: Any) -> None:
    values = np.arange(35, dtype=dtype).reshape(5, 7) * (1871 if dtype is np.uint16 else 7)
    pixels = onegen.decoder(dot + part, encode_part(values, encoding))
    assert pixels.dtype == dtype
    assert np.array_equal(pixels, values)


@pytest.mark.parametrize(("name", "kind"), [("png", "PNG"), ("webp", "WEBP"), ("jpg", "JPEG"), ("img1.jpg", "JPEG")])
def test_an_image_is_rgb_whatever_its_format(name: str, kind: str) -> None:
    pixels = onegen.decoder(name, encoded(kind))
    assert (pixels.shape, pixels.dtype) == (RGB.shape, np.uint8)
    assert kind == "JPEG" or np.array_equal(pixels, RGB)


def test_what_is_said_of_a_sample_is_a_record() -> None:
    assert onegen.decoder(".json", '{"caption": "a café"}'.encode()) == {"caption": "a café"}


def test_what_is_not_ours_is_left_to_others() -> None:
    assert onegen.decoder(".txt", b"words") is None
    assert onegen.decoder(".cls", b"3") is None


def test_damage_is_said() -> None:
    with pytest.raises(SampleError):
        onegen.decoder("jpg", b"torn")
    with pytest.raises(OSError, match="cannot identify"):
        onegen.decoder("depth.png", b"torn")
    with pytest.raises(ValueError, match="Expecting"):
        onegen.decoder("json", b"torn")


def test_webdataset_gives_every_image_one_name(tmp_path) -> None:
    wds = pytest.importorskip("webdataset")
    depth = np.full((5, 7), 40_000, np.uint16)
    members = [
        ("a.jpg", encoded("JPEG")),
        ("a.depth.png", encode_part(depth, "gray16")),
        ("a.json", json.dumps({"n": 1}).encode()),
    ]
    members += [
        ("b.png", encoded("PNG")),
        ("b.depth.png", encode_part(depth, "gray16")),
        ("b.json", json.dumps({"n": 2}).encode()),
    ]
    (tmp_path / "0.tar").write_bytes(tar_bytes(members))
    samples = list(
        wds.WebDataset(str(tmp_path / "0.tar"), shardshuffle=False).decode(onegen.decoder).rename(image="jpg;png;webp")
    )
    assert [sample["json"]["n"] for sample in samples] == [1, 2]
    assert {sample["image"].shape for sample in samples} == {(5, 7, 3)}
    assert all(np.array_equal(sample["depth.png"], depth) for sample in samples)


def test_the_package_alone_imports_no_arrays() -> None:
    looks = "assert ('numpy' in sys.modules) == {}"
    code = ["import onegen, sys", looks.format(False), "onegen.decoder('json', b'1')", looks.format(True)]
    subprocess.run([sys.executable, "-c", "; ".join(code)], check=True)


def test_it_travels_to_the_workers_of_a_loader() -> None:
    assert pickle.loads(pickle.dumps(onegen.decoder)) is onegen.decoder
