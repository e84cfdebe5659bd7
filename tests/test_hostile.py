"""Malformed and odd image files through whole builds: no crash, no hang, one status and a known reason each.

PYTHONPATH=. python -m pytest tests/test_hostile.py [-m slow]
"""

import contextlib
import io
import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from onegen.pixels.codec import decode_image
from onegen.sample import IMAGE
from onegen.shards.column import ColumnReader
from onegen.shards.index import Row
from tests.hostile import bombs, mutations, no_images, whole
from tests.pictures import decode, encode
from tests.tiny import dataset, make_recipe, run

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

REASONS = {"empty_file", "not_an_image", "undecodable", "too_many_pixels", "unsupported_pixels"}
MAX_SIDE, MAX_PIXELS = 1024, 4_000_000


def build(files: Mapping[str, bytes], root: Path) -> dict[str, tuple[Row, bytes]]:
    """Ingest files with two workers; return each one's row and what was stored, after checking the balance."""
    photos = root / "photos"
    photos.mkdir()
    for name, data in files.items():
        (photos / f"{name}.jpg").write_bytes(data)
    recipe = make_recipe(
        photos,
        [],
        samples_per_shard=100,
        image={"max_side": MAX_SIDE, "max_pixels": MAX_PIXELS},
        pack=None,
        # A worker that says nothing for this long hangs: its picture would fail as no picture may.
        limits={"batch_seconds": 120, "failure_rate": 1.0},
    )
    summary = run(recipe, root / "out", workers=2)
    assert summary.counts[IMAGE].rows == len(files)
    found = {}
    for manifest in dataset(root / "out").manifests(IMAGE):
        reader = ColumnReader(dataset(root / "out"), manifest)
        for row in reader.rows:
            data = reader.part(row.parts[0]) if row.status == "ok" else b""
            found[row.values["item"].removesuffix(".jpg")] = row, data
        failed = {failure.position: failure.message for failure in manifest.run.failures}
        assert sorted(failed) == [row.position for row in reader.rows if row.status == "failed"]
        assert all(failed.values()), "each failure says what is wrong"
        reader.close()
    assert set(found) == set(files)
    return found


def reference(data: bytes) -> Image.Image:
    """Return what Pillow itself makes of a file: first frame, turned upright, over white, within the largest side."""
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        upright: Image.Image = image
        if image.mode.startswith("I;16"):
            deep = np.asarray(image).astype(np.uint32)
            upright = Image.fromarray(((deep + 128) // 257).astype(np.uint8))
        else:
            # EXIF that cannot be read says nothing.
            with contextlib.suppress(SyntaxError, struct.error, ValueError):
                upright = ImageOps.exif_transpose(image)
        if upright.has_transparency_data:
            layer = upright.convert("RGBA")
            upright = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
        upright = upright.convert("RGB")
    if max(upright.size) > MAX_SIDE:
        scale = MAX_SIDE / max(upright.size)
        upright = upright.resize([max(1, round(side * scale)) for side in upright.size], Image.Resampling.LANCZOS)
    return upright


def check_pixels(name: str, data: bytes, row: Row, stored: bytes) -> None:
    """Say that what was stored is what Pillow sees in the file, upright."""
    pixels = decode_image(stored)
    assert pixels.shape == (row.values["height"], row.values["width"], 3), name
    if stored == data:
        np.testing.assert_array_equal(pixels, np.asarray(reference(data)), name)
        return
    seen = reference(data)
    if stored.startswith(b"\xff\xd8"):
        # Rewritten once as JPEG: the same bytes that Pillow's own picture gives.
        expected = decode(encode(seen, "JPEG", quality=95, subsampling=0))
    else:
        expected = np.asarray(seen)
    # Pillow cuts the low byte of 16-bit colours off, where dividing by 257 rounds.
    allowed = 1 if "_16_rgb" in name else 0
    difference = np.abs(decode(stored).astype(int) - expected)
    assert difference.max() <= allowed, f"{name}: {difference.max()}"


def check(files: Mapping[str, bytes], root: Path) -> dict[str, str]:
    """Build, check every row, and return the reason or `ok` of each file."""
    said = {}
    for name, (row, stored) in build(files, root).items():
        assert row.status in ("ok", "failed"), name
        if row.status == "ok":
            check_pixels(name, files[name], row, stored)
        else:
            assert row.reason in REASONS, f"{name}: {row.reason}"
        said[name] = row.reason or "ok"
    return said


def test_whole_and_hostile_files_each_get_one_status_and_a_known_reason(tmp_path):
    files = {**whole(), **bombs(), **no_images(), **dict(mutations(120))}
    said = check(files, tmp_path)
    assert {name: said[name] for name in whole() if said[name] != "ok"} == {}
    assert {name: said[name] for name in bombs()} == {
        **dict.fromkeys([name for name in bombs() if "_pixels" in name], "too_many_pixels"),
        "PNG_text": "undecodable",
        "PNG_profile": "undecodable",
        "PNG_of_no_width": "not_an_image",
        **dict.fromkeys(
            [
                "PNG_too_much_data", "PNG_many_chunks", "GIF_many_frames", "TIFF_that_goes_round",
                "JPEG_many_markers", "JPEG_deep_exif",
            ],
            "ok",
        ),
    }  # fmt: skip
    expected = dict.fromkeys(no_images(), "not_an_image") | {"empty": "empty_file"}
    assert {name: said[name] for name in no_images()} == expected
    outcomes = {said[name] for name, _ in mutations(120)}
    assert {"ok", "undecodable", "not_an_image"} <= outcomes, "the mutations reach past the signature"


def test_mutations_are_the_same_every_time():
    assert list(mutations(30)) == list(mutations(30))
    assert dict(mutations(30, seed=1)) != dict(mutations(30))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 4))
def test_thousands_of_mutated_files(tmp_path, seed):
    said = check(dict(mutations(2500, seed)), tmp_path)
    assert sum(outcome == "ok" for outcome in said.values()) > 250
