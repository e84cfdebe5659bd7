"""The norm with one scale per view: values, gradients, what it keeps, and half precision."""

import pytest

torch = pytest.importorskip("torch")

from onegen.model.norm import RMSNorm  # noqa: E402


def plain(norm, x, factor, view):
    normed = x / (x.square().mean(-1, keepdim=True) + norm.eps).sqrt()
    return normed * norm.weight * factor[view]


def inputs(dtype):
    torch.manual_seed(0)
    norm = RMSNorm(6, 1e-3).to(dtype)
    torch.nn.init.normal_(norm.weight)
    x, factor = torch.randn(7, 6, dtype=dtype), torch.randn(3, 6, dtype=dtype)
    return norm, x.requires_grad_(), factor.requires_grad_(), torch.tensor([0, 0, 2, 2, 2, 1, 1])


def test_values_and_gradients_are_those_of_the_plain_formula():
    norm, x, factor, view = inputs(torch.float64)
    assert torch.allclose(norm.by_view(x, factor, view), plain(norm, x, factor, view), rtol=1e-12)
    assert torch.autograd.gradcheck(lambda x, factor: norm.by_view(x, factor, view), (x, factor))
    norm.by_view(x, factor, view).square().sum().backward()
    gradient, norm.weight.grad = norm.weight.grad, None
    plain(norm, x, factor, view).square().sum().backward()
    assert torch.allclose(gradient, norm.weight.grad, rtol=1e-9)


def test_only_the_input_and_one_number_per_token_are_kept():
    norm, _, _, _ = inputs(torch.float32)
    big = torch.randn(50, 6, requires_grad=True)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda tensor: tensor):
        norm.by_view(big, torch.ones(1, 6, requires_grad=True), torch.zeros(50, dtype=torch.int64))
    assert sorted(tensor.numel() for tensor in kept if len(tensor) == 50) == [50, 50, 300]


def test_half_precision_is_normalised_in_float32():
    norm, _, factor, view = inputs(torch.float32)
    x = 300 * torch.randn(7, 6)  # squares overflow float16
    wanted = plain(norm, x.half().float(), factor, view)
    normed = norm.half().by_view(x.half(), factor, view)
    assert normed.dtype == torch.float16
    assert torch.allclose(normed.float(), wanted, rtol=5e-3, atol=1e-3)
    assert torch.isfinite(norm(x.half())).all()


def test_the_plain_norm_is_the_formula():
    norm, x, _, _ = inputs(torch.float64)
    ones = torch.ones(1, 6, dtype=torch.float64)
    assert torch.allclose(norm(x), plain(norm, x, ones, torch.zeros(7, dtype=torch.int64)), rtol=1e-12)
