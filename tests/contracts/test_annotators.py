"""What every annotator of onegen keeps, whatever it computes: see `onegen.sample.Annotator` and docs/annotators.md.

A new annotator is picked up by being in `onegen/annotators/`; columns it requires are computed here by their own
annotators.
"""

import functools
import hashlib
import inspect
import json
import math
import pickle
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
import pyarrow as pa
import pytest

from onegen.config.registry import available, backends, find
from onegen.errors import ConfigError
from onegen.pixels.boxes import box_fields
from onegen.pixels.sizes import fit
from onegen.sample import Annotation, Annotator, BaseAnnotator, Item, Provides, Rejected, Resources, Weights
from onegen.weights.fetch import shipped, status
from tests.packaged import bring_models, photo

NAMES = [
    name
    for name in available("annotators")
    if "embedded" in backends("annotators", name) or not backends("annotators", name)
]
"""Those with an embedded backend: the others are in test_hub_backends.py."""
CROWD = "crowd"
DTYPES = {"gray8": np.uint8, "rgb8": np.uint8, "gray16": np.uint16, "index": np.uint8}


def make(name: str) -> Annotator:
    bring_models()
    return find("annotators", name, {})()


def small(name: str, longer: int) -> np.ndarray:
    pixels = photo(name)
    _, size = fit(pixels.shape, longer, enlarge=True)
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)


@functools.cache
def pictures() -> dict[str, np.ndarray]:
    """Photos, and the odd shapes and contents that a crawl of the web has."""
    rng = np.random.default_rng(7)
    grey = np.repeat(small("chelsea.png", 160).mean(axis=2, keepdims=True).astype(np.uint8), 3, axis=2)
    return {
        "bus": small("bus.jpg", 400),
        "coffee": small("coffee.png", 256),
        "obama": small("obama.jpg", 320),
        "grey": grey,
        "one_pixel": np.full((1, 1, 3), 200, np.uint8),
        "one_wide": rng.integers(0, 256, (120, 1, 3), dtype=np.uint8),
        "one_high": rng.integers(0, 256, (1, 120, 3), dtype=np.uint8),
        "tiny": rng.integers(0, 256, (3, 2, 3), dtype=np.uint8),
        "strip": cv2.resize(photo("rocket.jpg"), (700, 6), interpolation=cv2.INTER_AREA),
        "black": np.zeros((64, 48, 3), np.uint8),
        "white": np.full((40, 64, 3), 255, np.uint8),
        "noise": rng.integers(0, 256, (96, 128, 3), dtype=np.uint8),
        "thread": rng.integers(0, 256, (3000, 1, 3), dtype=np.uint8),
        CROWD: np.tile(small("bus.jpg", 60), (4, 8, 1)),
    }


def two_hundred(pixels: np.ndarray) -> Annotation:
    """Return what column `detection` would say of a crowd of two hundred small, overlapping people, best first."""
    height, width = pixels.shape[:2]
    rng = np.random.default_rng(200)
    corners = rng.uniform(0, 1, (200, 2)) * (width - 9, height - 25)
    people = [
        {"label": "person", "score": 0.95 - number / 400, **box_fields((x, y, x + 9.0, y + 25.0))}
        for number, (x, y) in enumerate(corners.tolist())
    ]
    return Annotation({"objects": people, "num_objects": 200, "num_people": 200})


def stored(annotator: Annotator, answer: Annotation | Rejected) -> Annotation:
    """Return an answer as a later annotator would see it: its values through Arrow and back."""
    if isinstance(answer, Rejected):
        return Annotation()
    fields = annotator.provides.fields
    values = {name: pa.array([answer.values.get(name)], fields[name]).to_pylist()[0] for name in fields}
    return Annotation(values, answer.parts)


@functools.cache
def column_of(column: str) -> tuple[Annotation, ...]:
    """Return what a column says of each picture, as a later annotator sees it."""
    annotator = make(column)
    annotations = [stored(annotator, answer) for answer in answers(column)]
    if column == "detection":
        crowd = list(pictures()).index(CROWD)
        annotations[crowd] = two_hundred(pictures()[CROWD])
    return tuple(annotations)


@functools.cache
def items(name: str) -> tuple[Item, ...]:
    """Return the pictures as items for an annotator, with what its required columns say of them."""
    columns = {column: column_of(column) for column in make(name).requires if column in NAMES}
    return tuple(
        Item(
            key=f"{index:020x}",
            pixels=picture,
            caption="Two people\twalk\x00 past a <bus>. " + "It is long. " * 20 if index % 2 else None,
            annotations={column: columns[column][index] for column in columns},
        )
        for index, picture in enumerate(pictures().values())
    )


def annotate(name: str, size: int) -> list[Annotation | Rejected]:
    """Return the answers to all items, handed over in batches of `size`."""
    annotator = make(name)
    annotator.load()
    given = items(name)
    answered: list[Annotation | Rejected] = []
    for start in range(0, len(given), size):
        batch = given[start : start + size]
        answers = annotator.annotate(batch)
        assert len(answers) == len(batch)
        answered += answers
    return answered


@functools.cache
def answers(name: str) -> tuple[Annotation | Rejected, ...]:
    return tuple(annotate(name, 1))


def digest(answered: list[Annotation | Rejected] | tuple[Annotation | Rejected, ...]) -> str:
    """Return a hash of everything answers say."""
    state = hashlib.sha256()
    for answer in answered:
        if isinstance(answer, Rejected):
            state.update(f"rejected {answer.reason} {answer.detail}".encode())
            continue
        state.update(json.dumps(dict(answer.values), sort_keys=True, default=_plain).encode())
        for part, content in sorted(answer.parts.items()):
            state.update(part.encode())
            state.update(content if isinstance(content, bytes) else np.ascontiguousarray(content).tobytes())
    return state.hexdigest()


def _plain(value: object) -> object:
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else f"{value!r}"


def assert_close(one: Annotation | Rejected, other: Annotation | Rejected, tolerance: dict[str, float]) -> None:
    assert type(one) is type(other)
    if isinstance(one, Rejected):
        assert one == other
        return
    for name, value in one.values.items():
        if tolerance.get(name) != math.inf:
            assert_values_close(value, other.values[name], tolerance.get(name, 0.0), name)
    for part, content in one.parts.items():
        np.testing.assert_allclose(content, other.parts[part], atol=tolerance.get(part, 0), rtol=0)


def assert_values_close(one: Any, other: Any, tolerance: float, place: str) -> None:
    """Compare numbers within the tolerance, in lists and records too, and all else for equality."""
    if isinstance(one, dict):
        assert one.keys() == other.keys(), place
        for name in one:
            assert_values_close(one[name], other[name], tolerance, f"{place}.{name}")
    elif isinstance(one, list):
        assert len(one) == len(other), place
        for index, (value, again) in enumerate(zip(one, other, strict=True)):
            assert_values_close(value, again, tolerance, f"{place}[{index}]")
    elif isinstance(one, float):
        assert abs(one - other) <= tolerance, f"{place}: {one} and {other} differ by more than {tolerance}"
    else:
        assert one == other, place


class Weightless:
    """A model handle that writes down what it is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def require(self) -> None:
        self.asked.append("require")

    def identity(self) -> Weights:
        return Weights("none/none.onnx", "1", "0" * 64, "MIT")

    def session(self) -> None:
        self.asked.append("session")


def test_on_the_base_an_annotator_says_only_what_is_its_own():
    handle = Weightless()

    @dataclass(frozen=True)
    class Grey(BaseAnnotator):
        """The picture's mean."""

        gain: float = 1.0

        name: ClassVar[str] = "grey"
        version: ClassVar[int] = 1
        provides: ClassVar[Provides] = Provides(fields={"mean": pa.float64()})

        def check(self) -> None:
            assert not handle.asked, "options are checked first"
            if self.gain <= 0:
                raise ConfigError(f"gain of grey must be above 0, got {self.gain}.")

        def models(self) -> tuple[Weightless, ...]:
            return (handle,)

        def annotate(self, items: Sequence[Item]) -> list[Annotation | Rejected]:
            return [Annotation({"mean": float(item.pixels.mean()) * self.gain}) for item in items]

    with pytest.raises(ConfigError, match="gain of grey must be above 0, got 0"):
        Grey(gain=0.0)
    grey = Grey(gain=2.0)
    assert isinstance(grey, Annotator)
    assert (grey.tolerance, grey.requires, grey.resources, grey.needs_pixels) == ({}, (), Resources(), True)
    assert grey.weights() == (handle.identity(),)
    assert handle.asked == ["require"]
    grey.load()
    assert handle.asked == ["require", "session"]
    assert grey.annotate([Item("k", np.full((2, 2, 3), 4, np.uint8))]) == [Annotation({"mean": 8.0})]


def test_the_pictures_hold_nobody_and_a_crowd():
    """What the other tests cover: no detection at all, and two hundred people."""
    counts = [answer.values["num_objects"] for answer in column_of("detection")]
    assert counts.count(0) >= 5
    assert max(counts) == 200


@pytest.mark.parametrize("name", NAMES)
def test_declares_what_the_contract_asks(name):
    annotator = make(name)
    assert isinstance(annotator, Annotator)
    assert annotator.name == name
    assert annotator.version >= 1
    assert isinstance(annotator.resources, Resources)
    assert inspect.getdoc(type(annotator)), "an annotator explains itself in its docstring"
    assert sys.modules[type(annotator).__module__].__doc__
    for part in annotator.provides.parts:
        assert re.fullmatch(r"[a-z0-9_]+(\.[a-z0-9]+)+", part.name)
    for field, kind in annotator.provides.fields.items():
        assert re.fullmatch(r"[a-z][a-z0-9_]*", field)
        assert isinstance(kind, pa.DataType)
    assert set(annotator.tolerance) <= {part.name for part in annotator.provides.parts} | set(annotator.provides.fields)


@pytest.mark.parametrize("name", NAMES)
def test_names_its_weights(name):
    """Each with hash and licence, and those are what `onegen models` prints."""
    listed = {row.sha256: row.licence for row in (*status(), shipped())}
    for weights in make(name).weights():
        assert listed[weights.sha256] == weights.licence
        assert isinstance(weights, Weights)
        assert re.fullmatch(r"[0-9a-f]{64}", weights.sha256)
        assert weights.name
        assert weights.revision
        assert weights.licence


@pytest.mark.parametrize("name", NAMES)
def test_options_survive_pickling_before_and_after_load(name):
    annotator = make(name)
    assert pickle.loads(pickle.dumps(annotator)) == annotator
    annotator.load()
    assert pickle.loads(pickle.dumps(annotator)) == annotator
    assert len(pickle.dumps(annotator)) < 10_000, "weights must not travel with the options"


@pytest.mark.parametrize("name", NAMES)
def test_answers_fit_what_is_declared(name):
    annotator = make(name)
    kinds = {part.name: part.encoding for part in annotator.provides.parts}
    some_answer = False
    for item, answer in zip(items(name), answers(name), strict=True):
        if isinstance(answer, Rejected):
            assert re.fullmatch(r"[a-z0-9_]+", answer.reason)
            continue
        some_answer = True
        assert set(answer.values) <= set(annotator.provides.fields)
        assert set(answer.parts) <= set(kinds)
        for field, value in answer.values.items():
            array = pa.array([value], annotator.provides.fields[field])
            assert "nan" not in json.dumps(array.to_pylist(), default=str).lower(), f"{field} must be finite or null"
        for part, content in answer.parts.items():
            if kinds[part] == "bytes":
                assert isinstance(content, bytes)
                continue
            assert isinstance(content, np.ndarray)
            assert content.dtype == DTYPES[kinds[part]]
            assert content.shape == item.pixels.shape[:2], "a map has the size of its image"
    assert some_answer


@pytest.mark.parametrize("name", NAMES)
def test_batch_size_and_repetition_change_nothing(name):
    tolerance = dict(make(name).tolerance)
    for size in (3, 8):
        again = annotate(name, size)
        if tolerance:
            for one, other in zip(answers(name), again, strict=True):
                assert_close(one, other, tolerance)
        else:
            assert digest(answers(name)) == digest(again)


@pytest.mark.parametrize("name", NAMES)
def test_pixels_are_left_alone(name):
    before = {key: picture.copy() for key, picture in pictures().items()}
    answers(name)
    for key, picture in pictures().items():
        np.testing.assert_array_equal(picture, before[key])


@pytest.mark.parametrize("name", NAMES)
def test_another_process_gives_the_same_bytes_without_torch_or_ray(name):
    program = (
        "import sys\n"
        "from tests.contracts.test_annotators import annotate, digest, make\n"
        f"print(digest(annotate({name!r}, 5)), bool(make({name!r}).tolerance))\n"
        "heavy = {'torch', 'ray', 'matplotlib', 'tensorflow'} & set(sys.modules)\n"
        "assert not heavy, f'{heavy} must not be imported'\n"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    printed, tolerant = done.stdout.split()[-2:]
    assert tolerant == "True" or printed == digest(answers(name))
