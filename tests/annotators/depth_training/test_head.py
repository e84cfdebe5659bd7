from importlib.resources import files

import numpy as np
import onnx
import pytest

from onegen.weights.sessions import session_of

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch


def test_the_graph_computes_what_was_trained():
    from onegen.annotators.depth.training.head import Head, to_onnx

    torch.manual_seed(1)
    head = Head().eval()
    tokens = torch.randn(1, 1536, 16, 16)
    (found,) = session_of(to_onnx(head)).run(None, {"tokens": tokens.numpy()})
    with torch.no_grad():
        expected = head(tokens).numpy()
    assert expected.shape == (1, 1, 64, 64)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert sum(parameter.numel() for parameter in head.parameters()) < 500_000


def test_the_shipped_head_has_this_form():
    from onegen.annotators.depth.training.head import Head

    model = onnx.load_from_string((files("onegen.annotators.depth") / "depth_head.onnx").read_bytes())
    shapes = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer if tensor.name != "twice"}
    assert shapes == {name: tuple(value.shape) for name, value in Head().state_dict().items()}


def test_loss_ignores_scale_and_shift():
    from onegen.annotators.depth.training.train import _loss

    torch.manual_seed(2)
    truth = torch.rand(3, 64, 64)
    assert float(_loss(7 * truth - 2, truth)) < 1e-5
    assert float(_loss(-truth, truth)) > 1
    assert float(_loss(torch.rand(3, 64, 64), truth)) > 0.5
