"""Attention backends: each present one gives the same block-diagonal attention, or refuses."""

import importlib.util
import logging
import sys
import types

import pytest

torch = pytest.importorskip("torch")

from onegen.errors import ConfigError  # noqa: E402
from onegen.model.backends import BACKENDS, attend, make_plan, resolve_backend  # noqa: E402
from tests.model.networks import distance, enlarge_queries, random_network, random_text  # noqa: E402

HAS_FLASH = importlib.util.find_spec("flash_attn") is not None and torch.cuda.is_available()
QUERIES, KEYS = (5, 5, 3, 8), (4, 4, 0, 2)


@pytest.fixture(autouse=True)
def _fresh_compiler():
    # compiled flex refuses a ninth variant in one process; a run uses two, these tests more
    torch.compiler.reset()


def dense(query, key, value, softcap):
    """One masked softmax over everything, in float64."""
    query, key, value = query.double(), key.double(), value.double()
    groups = query.shape[1] // key.shape[1]
    samples = torch.arange(len(QUERIES))
    query_of = samples.repeat_interleave(torch.tensor(QUERIES))
    key_of = samples.repeat_interleave(torch.tensor(KEYS))
    out = torch.zeros_like(query)
    for head in range(query.shape[1]):
        scores = query[:, head] @ key[:, head // groups].T / query.shape[2] ** 0.5
        scores = scores if softcap is None else softcap * torch.tanh(scores / softcap)
        scores = scores.masked_fill(query_of[:, None] != key_of, -torch.inf)
        out[:, head] = scores.softmax(-1).nan_to_num() @ value[:, head // groups]
    return out


def draw(heads, kv_heads):
    generator = torch.Generator().manual_seed(0)
    query = 6 * torch.randn(sum(QUERIES), heads, 24, generator=generator)
    return query, *(torch.randn(sum(KEYS), kv_heads, 24, generator=generator) for _ in range(2))


@pytest.mark.parametrize("softcap", [None, 5.0])
@pytest.mark.parametrize(("heads", "kv_heads"), [(8, 2), (3, 3), (4, 1)])
@pytest.mark.parametrize("backend", BACKENDS)
def test_present_backends_agree_with_one_dense_softmax(backend, heads, kv_heads, softcap):
    if backend == "flash_varlen" and not HAS_FLASH:
        pytest.skip("flash_attn is not installed")
    if backend == "sdpa" and softcap is not None:
        pytest.skip("refused, tested below")
    query, key, value = draw(heads, kv_heads)
    wanted = dense(query, key, value, softcap)
    tolerance = 1e-5
    if backend == "flash_varlen":
        query, key, value, tolerance = query.cuda().bfloat16(), key.cuda().bfloat16(), value.cuda().bfloat16(), 2e-2
    with torch.no_grad():
        attended = attend(query, key, value, make_plan(backend, QUERIES, KEYS, query.device), softcap)
    assert distance(attended.float().cpu(), wanted) < tolerance


@pytest.mark.parametrize(("heads", "kv_heads"), [(8, 2), (4, 1)])
def test_texts_of_unequal_lengths_take_one_call_and_its_gradients(heads, kv_heads, monkeypatch):
    generator = torch.Generator().manual_seed(0)
    queries, keys = (5, 5, 5, 5), (4, 7, 2, 7)
    tensors = [
        torch.randn(count, number, 24, generator=generator)
        for count, number in ((sum(queries), heads), (sum(keys), kv_heads), (sum(keys), kv_heads))
    ]

    def run(plan):
        own = [tensor.clone().requires_grad_() for tensor in tensors]
        out = attend(*own, plan, None)
        out.square().sum().backward()
        return [out.detach(), *(tensor.grad for tensor in own)]

    padded = make_plan("sdpa", queries, keys, "cpu")
    calls = []
    kernel = torch.nn.functional.scaled_dot_product_attention
    monkeypatch.setattr(
        torch.nn.functional, "scaled_dot_product_attention", lambda *a, **k: calls.append(1) or kernel(*a, **k)
    )
    found = run(padded)
    assert len(calls) == 1
    for ours, alone in zip(found, run(make_plan("math", queries, keys, "cpu")), strict=True):
        assert torch.allclose(ours, alone, atol=1e-5)


def test_one_long_text_among_short_ones_is_not_padded_to():
    assert make_plan("sdpa", (5,) * 9, (2, 3, 2, 3, 2, 300, 2, 3, 2), "cpu").padding is None
    assert make_plan("sdpa", (5, 5, 6, 5), (2, 3, 4, 3), "cpu").padding is None
    assert make_plan("sdpa", (5, 5, 5, 5), (2, 3, 0, 3), "cpu").padding is None


def test_the_math_backend_cut_into_slices_is_the_same(monkeypatch):
    query, key, value = draw(8, 2)
    plan = make_plan("math", QUERIES, KEYS, "cpu")
    with torch.no_grad():
        whole = attend(query, key, value, plan, 30.0)
        monkeypatch.setattr("onegen.model.backends._SCORE_BYTES", 200)
        assert torch.allclose(attend(query, key, value, plan, 30.0), whole, atol=1e-6)


def test_flash_varlen_is_called_with_lengths_heads_and_softcap(monkeypatch):
    # a stand-in with the kernel's contract: flash_attn itself needs a GPU
    seen = {}

    def kernel(query, key, value, cumulative_queries, cumulative_keys, max_queries, max_keys, softcap):
        seen.update(cumulative_queries=cumulative_queries, cumulative_keys=cumulative_keys)
        seen.update(max_queries=max_queries, max_keys=max_keys, softcap=softcap)
        plan = make_plan("math", cumulative_queries.diff().tolist(), cumulative_keys.diff().tolist(), "cpu")
        return attend(query, key, value, plan, softcap or None)

    monkeypatch.setitem(sys.modules, "flash_attn", types.SimpleNamespace(flash_attn_varlen_func=kernel))
    query, key, value = (tensor.bfloat16() for tensor in draw(8, 2))
    attended = attend(query, key, value, make_plan("flash_varlen", QUERIES, KEYS, "cpu"), 30.0)
    assert distance(attended.float(), dense(query, key, value, 30.0)) < 2e-2
    assert seen["cumulative_queries"].tolist() == [0, 5, 10, 13, 21]
    assert seen["cumulative_keys"].tolist() == [0, 4, 8, 8, 10]
    assert seen["cumulative_keys"].dtype == torch.int32
    assert (seen["max_queries"], seen["max_keys"], seen["softcap"]) == (8, 4, 30.0)
    attend(query, key, value, make_plan("flash_varlen", QUERIES, KEYS, "cpu"), None)
    assert seen["softcap"] == 0.0
    with pytest.raises(ConfigError, match="half-precision"):
        attend(query.float(), key.float(), value.float(), make_plan("flash_varlen", QUERIES, KEYS, "cpu"), None)


@pytest.mark.parametrize("backend", ["math", "flex"])
@pytest.mark.parametrize("softcap", [None, 30.0])
def test_the_network_gives_the_same_velocity_on_every_backend(backend, softcap):
    network = enlarge_queries(random_network(attn_softcap=softcap), 6.0)
    samples, times, (states, mask) = torch.randn(2, 2, 4, 4, 4), torch.full((2, 2), 300.0), random_text(2)
    with torch.no_grad():
        wanted = network(samples, times, states, mask)
        network.set_attention_backend(backend)
        assert distance(network(samples, times, states, mask), wanted) < 1e-5


def test_sdpa_refuses_a_softcap():
    with pytest.raises(ConfigError, match=r"honour attn_softcap=30\.0"):
        random_network(attn_softcap=30.0).set_attention_backend("sdpa")
    query, key, value = draw(8, 2)
    with pytest.raises(ConfigError, match="softcap"):
        attend(query, key, value, make_plan("sdpa", QUERIES, KEYS, "cpu"), 30.0)


def test_a_backend_that_is_absent_or_unknown_is_refused(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="pip install flash-attn"):
        random_network().set_attention_backend("flash_varlen")
    with pytest.raises(ConfigError, match="one of sdpa, math"):
        random_network().set_attention_backend("xformers")


def test_flex_refuses_a_training_pass_on_a_cpu():
    network, (states, mask) = random_network(), random_text(1)
    network.set_attention_backend("flex")
    with pytest.raises(ConfigError, match="without gradients"):
        network(torch.randn(1, 1, 4, 4, 4), torch.tensor(3.0), states, mask)


def test_the_choice_without_a_name_honours_the_softcap_and_is_logged(caplog):
    assert resolve_backend(None, None) == "sdpa"
    assert resolve_backend(None, 30.0) in ("math" if not torch.cuda.is_available() else ("flash_varlen", "flex"))
    with caplog.at_level(logging.INFO, logger="onegen.model.nextdit"):
        random_network().set_attention_backend("math")
    assert "attn_softcap None, attention backend math" in caplog.text
