"""The depth head: 0.2 M parameters from the tokens of four layers to a map of relative inverse depth, and its ONNX."""

from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn
from torch.nn import functional

_LAYERS, _WIDTH, _GRID = 4, 384, 16
_OPSET = 18


class Head(nn.Module):
    """From standardised tokens, float32 (B,1536,16,16), to inverse depth without scale or origin, (B,1,64,64)."""

    def __init__(self) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(_LAYERS * _WIDTH, 96, 1)
        self.mix = nn.Conv2d(96, 64, 3, padding=1)
        self.fine = nn.Conv2d(64, 32, 3, padding=1)
        self.finer = nn.Conv2d(32, 16, 3, padding=1)
        self.out = nn.Conv2d(16, 1, 3, padding=1)

    def forward(self, tokens: torch.Tensor, drop: float = 0.0) -> torch.Tensor:
        """Return the map; `drop` is the share of token channels left out in training."""
        hidden = functional.relu(self.squeeze(functional.dropout2d(tokens, drop, self.training)))
        hidden = functional.relu(self.mix(hidden))
        for layer in (self.fine, self.finer):
            hidden = functional.interpolate(hidden, scale_factor=2, mode="bilinear", align_corners=False)
            hidden = functional.relu(layer(hidden))
        return self.out(hidden)


def to_onnx(head: Head) -> bytes:
    """Return the head as an ONNX graph from `tokens` (1,1536,16,16) to `inverse_depth` (1,1,64,64)."""
    nodes: list[onnx.NodeProto] = []
    constants = [numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "twice")]

    def add(kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def convolve(source: str, name: str, target: str) -> str:
        layer: nn.Conv2d = getattr(head, name)
        for kind in ("weight", "bias"):
            constants.append(numpy_helper.from_array(getattr(layer, kind).detach().numpy(), f"{name}.{kind}"))
        margin = layer.kernel_size[0] // 2
        names = [source, f"{name}.weight", f"{name}.bias"]
        return add("Conv", names, target, kernel_shape=list(layer.kernel_size), pads=[margin] * 4)

    last = add("Relu", [convolve("tokens", "squeeze", "squeezed")], "squeezed.relu")
    last = add("Relu", [convolve(last, "mix", "mixed")], "mixed.relu")
    for name in ("fine", "finer"):
        sizes = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
        last = add("Resize", [last, "", "twice"], f"{name}.twice", **sizes)
        last = add("Relu", [convolve(last, name, f"{name}.conv")], f"{name}.relu")
    convolve(last, "out", "inverse_depth")
    graph = helper.make_graph(
        nodes,
        "depth_head",
        [helper.make_tensor_value_info("tokens", TensorProto.FLOAT, [1, _LAYERS * _WIDTH, _GRID, _GRID])],
        [helper.make_tensor_value_info("inverse_depth", TensorProto.FLOAT, [1, 1, 4 * _GRID, 4 * _GRID])],
        constants,
    )
    # Versions are written out, or the bytes would follow the installed onnx.
    model = helper.make_model(
        graph, producer_name="onegen", ir_version=9, opset_imports=[helper.make_opsetid("", _OPSET)]
    )
    onnx.checker.check_model(model)
    return model.SerializeToString(deterministic=True)
