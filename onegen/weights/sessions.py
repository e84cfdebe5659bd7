"""Load a pinned model once per process, on one thread, so that the bytes it gives depend on nothing but its input.

Workers are the unit of parallelism: a session that took several threads would fight the other workers for the same
cores. Each runtime is imported when its first model is loaded.
"""

import functools
import importlib.util
import os
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from onegen.errors import ConfigError
from onegen.weights.fetch import model_file

if TYPE_CHECKING:
    import onnxruntime


@functools.lru_cache(maxsize=8)
def onnx_session(package: str, file: str) -> "onnxruntime.InferenceSession":
    """Return the onnxruntime session of a model file; raises ConfigError when it is missing or damaged."""
    return session_of(model_file(package, file))


def session_of(model: Path | bytes) -> "onnxruntime.InferenceSession":
    """Return a session of an ONNX model, given as its file or its bytes."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


LITERT = ("ai_edge_litert", "ai-edge-litert")
"""Module and package of LiteRT, for `require_package`."""


class LiteModel:
    """A LiteRT (TensorFlow Lite) model with one input; `labels` reads the text files zipped into its end."""

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


@functools.lru_cache(maxsize=8)
def lite_model(package: str, file: str) -> LiteModel:
    """Return a LiteRT model; raises ConfigError when it is missing or damaged."""
    return LiteModel(model_file(package, file))


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


def require_package(module: str, package: str) -> None:
    """Check, without importing it, that a runtime is installed; raises ConfigError saying how to install it."""
    if importlib.util.find_spec(module) is None:
        raise ConfigError(f"package {package} must be installed, and is not. Run: pip install {package}")
