"""What every backend of a hub's model keeps: the contract of annotators, by its real class on a tiny checkpoint.

The same pictures as for the embedded ones: photos, odd shapes, nobody, a crowd of two hundred.
"""

import functools
import inspect
import json
import pickle
import re

import numpy as np
import pyarrow as pa
import pytest

from onegen.annotators.shared.torch_annotator import TorchAnnotator
from onegen.config.registry import available, backends, find
from onegen.errors import ConfigError
from onegen.sample import Annotation, Annotator, InParts, Item, Rejected
from tests import hub as hubs
from tests.checkpoints import CHECKPOINTS, checkpoint, further, options
from tests.contracts.test_annotators import DTYPES, assert_close, column_of, pictures, stored

pytestmark = pytest.mark.torch
NO_HUB = ("embedded", "server")
NAMES = [
    (name, backend.replace("_", "-"))
    for name in available("annotators")
    for backend in backends("annotators", name)
    if backend not in NO_HUB
]


def make(name: str, backend: str) -> TorchAnnotator:
    cls = find("annotators", name, {"backend": backend})
    return cls(model=str(checkpoint(name, backend)), **options(name, backend))


@functools.cache
def column(name: str) -> tuple[Annotation, ...]:
    """Return what a column says of each picture: of an embedded backend, else of the tiny default one."""
    if "embedded" in backends("annotators", name) or not backends("annotators", name):
        return column_of(name)
    backend = next(backend for other, backend in NAMES if other == name)
    return tuple(stored(make(name, backend), answer) for answer in answers(name, backend))


@functools.cache
def items(name: str, backend: str) -> tuple[Item, ...]:
    requires = make(name, backend).requires
    return tuple(
        Item(
            key=f"{index:020x}",
            pixels=picture,
            caption="Two people walk past a bus.",
            annotations={required: column(required)[index] for required in requires},
        )
        for index, picture in enumerate(pictures().values())
    )


def annotate(name: str, backend: str, size: int) -> list[Annotation | Rejected]:
    annotator = make(name, backend)
    annotator.load()
    given = items(name, backend)
    return [
        answer for start in range(0, len(given), size) for answer in annotator.annotate(given[start : start + size])
    ]


@functools.cache
def answers(name: str, backend: str) -> tuple[Annotation | Rejected, ...]:
    return tuple(annotate(name, backend, 1))


def test_every_backend_has_a_checkpoint():
    assert sorted(CHECKPOINTS) == sorted(NAMES)


@pytest.mark.parametrize(("name", "backend"), NAMES)
def test_declares_what_the_contract_asks(name, backend):
    annotator = make(name, backend)
    assert isinstance(annotator, Annotator)
    assert isinstance(annotator, InParts)
    assert (annotator.name, annotator.backend) == (name, backend)
    assert annotator.version >= 1
    assert inspect.getdoc(type(annotator)), "an annotator explains itself in its docstring"
    default = find("annotators", name, {}).provides
    assert annotator.provides.parts == default.parts, "one modality, one stored form"
    assert annotator.provides.fields.items() >= default.fields.items(), "which a backend may know more of"
    assert set(annotator.tolerance) <= {part.name for part in annotator.provides.parts} | set(annotator.provides.fields)


@pytest.mark.parametrize(("name", "backend"), NAMES)
def test_options_survive_pickling_before_and_after_load(name, backend):
    annotator = make(name, backend)
    assert pickle.loads(pickle.dumps(annotator)) == annotator
    annotator.load()
    assert pickle.loads(pickle.dumps(annotator)) == annotator
    assert len(pickle.dumps(annotator)) < 10_000, "weights must not travel with the options"


@pytest.mark.parametrize(("name", "backend"), NAMES)
def test_answers_fit_what_is_declared(name, backend):
    annotator = make(name, backend)
    kinds = {part.name: part.encoding for part in annotator.provides.parts}
    some_answer = False
    for item, answer in zip(items(name, backend), answers(name, backend), strict=True):
        if isinstance(answer, Rejected):
            assert re.fullmatch(r"[a-z0-9_]+", answer.reason)
            continue
        some_answer = True
        assert set(answer.values) == set(annotator.provides.fields), "a field that is not known is null"
        assert set(answer.parts) <= set(kinds)
        for field, value in answer.values.items():
            array = pa.array([value], annotator.provides.fields[field])
            assert "nan" not in json.dumps(array.to_pylist(), default=str).lower(), f"{field} must be finite or null"
        for part, content in answer.parts.items():
            assert content.dtype == DTYPES[kinds[part]]
            assert content.shape[:2] == item.pixels.shape[:2], "a map has the size of its image"
    assert some_answer


@pytest.mark.parametrize(("name", "backend"), NAMES)
def test_batch_size_changes_nothing_beyond_the_tolerance(name, backend):
    tolerance = dict(make(name, backend).tolerance)
    for size in (3, 8):
        for one, other in zip(answers(name, backend), annotate(name, backend, size), strict=True):
            assert_close(one, other, tolerance)


@pytest.mark.parametrize(("name", "backend"), NAMES)
def test_pixels_are_left_alone(name, backend):
    before = {key: picture.copy() for key, picture in pictures().items()}
    annotate(name, backend, 8)
    for key, picture in pictures().items():
        np.testing.assert_array_equal(picture, before[key])


@pytest.mark.parametrize(("name", "backend"), NAMES)
def test_the_default_model_is_fetched_and_pinned(name, backend, tmp_path, monkeypatch):
    """Every repository that a backend names is asked of a hub, and the column's weights have its commit and hash."""
    made = make(name, backend)
    with hubs.running() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("ONEGEN_MODELS", str(tmp_path))
        cls = find("annotators", name, {"backend": backend})
        hub.repos[cls.model] = checkpoint(name, backend)
        for repository, folder in further(name, backend).items():
            hub.repos[repository] = folder
        annotator = cls()
        annotator.load()
        (weights, *_) = annotator.weights()
        assert (weights.name, weights.revision) == (cls.model, hubs.commit_of(checkpoint(name, backend)))
        assert annotator.revision == weights.revision
        assert re.fullmatch(r"[0-9a-f]{64}", weights.sha256)
        assert made.weights()[0].revision == "local"


@pytest.mark.parametrize(("name", "backend"), NAMES)
def test_a_checkpoint_of_another_architecture_is_refused(name, backend, tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "t5"}')
    for file in checkpoint(name, backend).rglob("*"):
        if file.is_file() and file.suffix in hubs.LARGE:
            broken = tmp_path / file.relative_to(checkpoint(name, backend))
            broken.parent.mkdir(exist_ok=True)
            broken.write_bytes(b"no weights at all")
    annotator = find("annotators", name, {"backend": backend})(model=str(tmp_path), **options(name, backend))
    with pytest.raises(ConfigError, match="must"):
        annotator.load()
