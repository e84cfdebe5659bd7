"""What a source brings, read as each modality stores it.

PYTHONPATH=. python -m pytest tests/annotators/test_brought.py
"""

import io
import json
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

from onegen.config.registry import available, find_brought
from onegen.errors import SampleError
from onegen.sample import Annotation, Brought, Item, Placement, Rejected
from tests.brought import png_of

SIZE = (4, 6)
BOX = {"label": "cat", "x0": 1.0, "y0": 0.0, "x1": 4.0, "y1": 3.0}
BODY = [1.0, 2.0, 1.0] * 17


def take(modality: str, value: Any, placement: Placement | None = None, **options: Any) -> Annotation | Rejected:
    reader = find_brought(modality)
    assert reader is not None
    brought = Brought(value, "it", placement or Placement(SIZE, SIZE))
    answer: Annotation | Rejected = reader(**options).take(Item("0" * 20, None, brought=brought))
    return answer


def reason(modality: str, value: Any, **options: Any) -> str:
    with pytest.raises(SampleError) as caught:
        take(modality, value, **options)
    assert str(caught.value).startswith("it must ") or " in it must " in str(caught.value), caught.value
    return caught.value.reason


def file_of(pixels: np.ndarray, format_: str = "PNG", mode: str | None = None) -> bytes:
    sink = io.BytesIO()
    image = Image.fromarray(pixels, mode=mode)
    if mode == "P":
        image.putpalette(bytes(range(256)) * 3)
    image.save(sink, format_)
    return sink.getvalue()


def array_of(pixels: np.ndarray) -> bytes:
    sink = io.BytesIO()
    np.save(sink, pixels)
    return sink.getvalue()


def few_bits(pixels: np.ndarray, bits: int) -> bytes:
    """Return pixels as a grey PNG of 2 or 4 bits, which Pillow reads and does not write."""
    lines = [np.packbits(np.unpackbits(line[:, None], axis=1)[:, -bits:].ravel()).tobytes() for line in pixels]
    header = struct.pack(">IIBBBBB", *pixels.shape[::-1], bits, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(b"".join(b"\0" + line for line in lines))), (b"IEND", b""))
    data = b"".join(struct.pack(">I", len(b)) + n + b + struct.pack(">I", zlib.crc32(n + b)) for n, b in chunks)
    return b"\x89PNG\r\n\x1a\n" + data


RAMP = np.arange(24).reshape(SIZE)


def test_the_modalities_that_can_be_brought():
    can = {name for name in available("annotators") if find_brought(name) is not None}
    assert can == {"caption", "depth", "detection", "entities", "hed", "nsfw", "pose", "segmentation"}


@pytest.mark.parametrize(
    "data",
    [
        png_of((RAMP * 100).astype(np.uint16)),
        png_of((RAMP * 10).astype(np.uint8)),
        file_of((RAMP * 100).astype(np.uint16), "TIFF"),
        file_of(RAMP.astype(np.float32), "TIFF"),
        array_of(RAMP * 0.5),
        array_of(RAMP.astype(np.int64) - 7),
        array_of(RAMP.astype(">u2")),
        array_of(np.asfortranarray(RAMP.astype(np.float16))),
    ],
    ids=["png16", "png8", "tiff16", "tiff_float", "npy", "npy_int", "npy_big_endian", "npy_fortran"],
)
def test_depth_is_stretched_over_the_full_range(data):
    answer = take("depth", data)
    depth = answer.parts["depth.png"]
    assert depth.dtype == np.uint16
    assert np.array_equal(depth, np.rint(RAMP * 65535 / 23).astype(np.uint16))


def test_distances_become_their_inverse_and_holes_lie_farthest():
    millimetres = np.full(SIZE, 5000, np.uint16)
    millimetres[0, 0], millimetres[0, 1], millimetres[0, 2] = 500, 1000, 0
    answer = take("depth", png_of(millimetres), near="dark")
    assert answer.values == {"minimum": 0.0002, "maximum": 0.002}
    assert answer.parts["depth.png"][0, :4].tolist() == [65535, 29127, 0, 0]
    holes = np.full(SIZE, 2.0)
    holes[1, 1], holes[1, 2], holes[0, 0] = np.nan, np.inf, 4.0
    assert take("depth", array_of(holes)).parts["depth.png"][1, 1:4].tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("modality", "data", "expected"),
    [
        ("depth", png_of(np.zeros((6, 4), np.uint16)), "brought_size"),
        ("depth", array_of(np.zeros((4, 7))), "brought_size"),
        ("depth", png_of(np.zeros((*SIZE, 3), np.uint8)), "brought_pixels"),
        ("depth", file_of(RAMP.astype(np.uint8), "JPEG"), "brought_pixels"),
        ("depth", file_of(RAMP.astype(np.uint8), mode="P"), "brought_pixels"),
        ("depth", array_of(np.full(SIZE, np.nan)), "brought_value"),
        ("depth", array_of(np.zeros(SIZE, complex)), "brought_pixels"),
        ("depth", array_of(np.zeros((2, *SIZE))), "brought_pixels"),
        ("depth", array_of(RAMP)[:-9], "brought_pixels"),
        ("depth", b"\x93NUMPY", "brought_pixels"),
        ("depth", array_of(np.zeros(SIZE)).replace(b"(4, 6)", b"(400000, 600000)"), "brought_size"),
        ("depth", array_of(np.array([[{}]])), "brought_pixels"),
        ("depth", array_of(RAMP).replace(b"}", b"("), "brought_pixels"),
        ("depth", "a text", "brought_pixels"),
        ("hed", png_of(RAMP.astype(np.uint16)), "brought_pixels"),
        ("segmentation", png_of(np.zeros((*SIZE, 3), np.uint8)), "brought_pixels"),
        ("segmentation", png_of((RAMP + 250).astype(np.uint16)), "brought_value"),
        ("segmentation", file_of(RAMP.astype(np.uint8), "JPEG"), "brought_pixels"),
    ],
)
def test_a_map_that_cannot_be_one_is_refused(modality, data, expected):
    assert reason(modality, data) == expected


@pytest.mark.parametrize("data", [b"", b"no picture", png_of(RAMP.astype(np.uint16))[:-30]])
def test_a_map_that_is_no_picture_fails_as_a_photo_does(data):
    with pytest.raises(SampleError) as caught:
        take("depth", data)
    assert caught.value.reason in ("empty_file", "not_an_image", "undecodable")


def test_masks_count_entities_in_palettes_grey_and_single_bits():
    indices = np.zeros(SIZE, np.uint8)
    indices[0], indices[1, :3] = 1, 2
    palette = file_of(indices, mode="P")
    for data in (palette, png_of(indices), png_of(indices.astype(np.uint16))):
        answer = take("segmentation", data)
        assert np.array_equal(answer.parts["masks.png"], indices)
        assert answer.values == {"areas": [0.25, 0.125], "coverage": 0.375}
    bits = take("segmentation", file_of(indices == 1)).parts["masks.png"]
    assert np.array_equal(bits, (indices == 1).astype(np.uint8))
    for bits in (2, 4):
        assert np.array_equal(take("segmentation", few_bits(indices, bits)).parts["masks.png"], indices)


def test_masks_leave_out_what_is_to_be_ignored():
    indices = np.zeros(SIZE, np.uint8)
    indices[0], indices[1] = 255, 1
    answer = take("segmentation", png_of(indices), ignore=(255,))
    assert answer.values["areas"] == [0.25]
    assert set(np.unique(answer.parts["masks.png"])) == {0, 1}


def test_edges_are_averaged_and_masks_are_not():
    pixels = np.zeros((8, 12), np.uint8)
    pixels[:, ::2] = 200
    placement = Placement((8, 12), SIZE)
    assert set(np.unique(take("hed", png_of(pixels), placement).parts["hed.png"])) == {100}
    assert set(np.unique(take("segmentation", png_of(pixels), placement).parts["masks.png"])) <= {0, 200}


@pytest.mark.parametrize(
    ("value", "options"),
    [
        ([BOX], {}),
        ({"objects": [BOX]}, {}),
        (json.dumps([BOX]), {}),
        (json.dumps([BOX]).encode(), {}),
        ({name: [value] for name, value in BOX.items()}, {}),
        ([{"label": "cat", "box": [1, 0, 4, 3]}], {"form": "xyxy"}),
        ([{"label": "cat", "bbox": [1, 0, 3, 3]}], {"form": "xywh"}),
        ({"bbox": [[1, 0, 3, 3]], "category": [1]}, {"form": "xywh", "label": "category", "names": ("dog", "cat")}),
        ([{"label": "cat", "where": [1 / 6, 0, 4 / 6, 0.75]}], {"form": "xyxy", "box": "where", "unit": "share"}),
        ([{**BOX, "y0": -0.9, "area": 9}], {}),
    ],
)
def test_boxes_of_every_form(value, options):
    answer = take("detection", value, **options)
    assert answer.values == {"objects": [{**BOX, "score": 1.0}], "num_objects": 1, "num_people": 0}


def test_boxes_stand_best_first_and_there_may_be_none():
    answer = take("detection", [{**BOX, "score": 0.2}, {**BOX, "label": "person", "score": 0.9}])
    assert [thing["label"] for thing in answer.values["objects"]] == ["person", "cat"]
    assert answer.values["num_people"] == 1
    assert take("detection", []).values == {"objects": [], "num_objects": 0, "num_people": 0}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ([{**BOX, "x0": float("nan")}], "brought_box"),
        ([{**BOX, "x1": float("inf")}], "brought_box"),
        ([{**BOX, "x1": 10**400}], "brought_box"),
        ([{**BOX, "x1": "4"}], "brought_box"),
        ([{**BOX, "x1": True}], "brought_box"),
        ([{**BOX, "x1": None}], "brought_box"),
        ([{**BOX, "x1": 1.0}], "brought_box"),
        ([{**BOX, "x1": 8.0}], "brought_box"),
        ([{"label": "cat"}], "brought_box"),
        ([{"label": "cat", "box": [1, 0, 4, 3]}], "brought_box"),
        ([{**BOX, "label": None}], "brought_value"),
        ([{**BOX, "label": 3}], "brought_value"),
        ([{**BOX, "score": 1.5}], "brought_value"),
        ([{**BOX, "score": "high"}], "brought_value"),
        ([1], "brought_value"),
        ({"a": [1], "b": []}, "brought_value"),
        ("no json", "brought_value"),
        (3, "brought_value"),
    ],
)
def test_boxes_that_cannot_be_are_refused(value, expected):
    assert reason("detection", value) == expected


def test_entities_get_the_colours_they_always_get():
    answer = take("entities", [BOX, {**BOX, "label": "dog"}, BOX])
    assert [thing["label"] for thing in answer.values["entities"]] == ["cat", "dog", "cat"]
    colours = [thing["colour"] for thing in answer.values["entities"]]
    assert colours[0] == colours[2] != colours[1]
    assert answer.values["num_entities"] == 3
    assert reason("entities", [{**BOX, "label": str(number)} for number in range(21)]) == "brought_value"


def test_keypoints_lie_on_the_image_and_say_how_well_they_are_seen():
    legless = [1.0, 2.0, 2, *[3.0, 1.0, 1], *[0.0, 0.0, 0] * 15]
    answer = take("pose", [{**BOX, "keypoints": legless}], Placement(SIZE, (8, 12)), visible=2)
    (person,) = answer.values["people"]
    assert person["keypoints"][:9] == [2.0, 4.0, 1.0, 6.0, 2.0, 0.5, 0.0, 0.0, 0.0]
    assert (person["half_body"], person["x1"], person["score"]) == (True, 8.0, 1.0)
    nested = [{**BOX, "keypoints": np.reshape(BODY, (17, 3)).tolist()}]
    assert take("pose", nested).values["people"][0]["half_body"] is False


@pytest.mark.parametrize(
    ("keypoints", "expected"),
    [
        (None, "brought_points"),
        (BODY[:-1], "brought_points"),
        ([*BODY[:-1], float("nan")], "brought_points"),
        ([*BODY[:-1], 2], "brought_points"),
        ([*BODY[:-1], -1], "brought_points"),
        ([99.0, *BODY[1:]], "brought_points"),
        ("text", "brought_points"),
        (7, "brought_points"),
    ],
)
def test_keypoints_that_cannot_be_are_refused(keypoints, expected):
    assert reason("pose", [{**BOX, "keypoints": keypoints}]) == expected


def test_captions_are_one_line_without_markup():
    answer = take("caption", "a  [[cat]]\n<#FF0000 red")
    assert answer.values == {
        "caption": "a cat FF0000 red", "captioner": "source", "num_words": 4, "original": "a  [[cat]]\n<#FF0000 red",
    }  # fmt: skip
    assert take("caption", b"\xef\xbb\xbfa cat", captioner="Ada").values["captioner"] == "Ada"
    assert take("caption", [None, " ", "two"]).values["caption"] == "two"
    assert take("caption", "half \ud83d").values["original"] == "half ?"


@pytest.mark.parametrize("value", ["", "  \n", [], [None], "[["])
def test_a_caption_that_says_nothing_is_absent(value):
    answer = take("caption", value)
    assert isinstance(answer, Rejected)
    assert answer.reason == "absent"


@pytest.mark.parametrize(
    ("modality", "value"),
    [("caption", 3), ("caption", b"\xff\xfe"), ("caption", {"a": 1}), ("nsfw", "x"), ("nsfw", 1.5), ("nsfw", True)],
)
def test_words_and_numbers_that_cannot_be_are_refused(modality, value):
    assert reason(modality, value) == "brought_value"


def test_a_probability():
    assert take("nsfw", 0.25).values == take("nsfw", b"0.25").values == {"nsfw": 0.25}
