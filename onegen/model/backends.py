"""Block-diagonal attention over packed tokens: four interchangeable kernels, each exact or refusing.

A `Plan` says which queries see which keys: sample s owns `query_lengths[s]` consecutive queries and `key_lengths[s]`
consecutive keys, and sees nothing else. Query head j uses key head j // (H // KV). A softcap c replaces a score s by
c * tanh(s / c). No kernel falls back to another: what cannot be honoured is a ConfigError.
"""

import functools
import importlib
import importlib.util
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch.nn import functional

from onegen.errors import ConfigError

Backend = Literal["sdpa", "math", "flash_varlen", "flex"]
BACKENDS: tuple[Backend, ...] = get_args(Backend)

_LEAST_RUNS = 3
_MOST_PADDED = 4
"""Keys are padded to one call from so many runs of equal lengths, up to so many times their number."""
_SCORE_BYTES = 128 * 2**20  # the math kernel's score buffer when nothing is kept for a backward pass


@dataclass(frozen=True, eq=False)
class Plan:
    """Which queries see which keys, with what the chosen backend needs to know of it, made once per forward.

    `cumulative_queries`, `cumulative_keys` (S+1,) int32 are for flash_varlen, `block_mask` for flex, `padding` for sdpa
    where keys alone differ in length; None elsewhere.
    """

    backend: Backend
    query_lengths: tuple[int, ...]
    key_lengths: tuple[int, ...]
    cumulative_queries: torch.Tensor | None = None
    cumulative_keys: torch.Tensor | None = None
    block_mask: Any = None
    padding: "Padding | None" = None


@dataclass(frozen=True, eq=False)
class Padding:
    """Keys of unequal number in one rectangle: `places` (S*M,) int64 among all keys, `real` (S,1,1,M) bool."""

    places: torch.Tensor
    real: torch.Tensor


def resolve_backend(backend: str | None, softcap: float | None) -> Backend:
    """Return the backend to use: the named one if it is present and honours `softcap`, else ConfigError.

    None chooses: without softcap `sdpa`; with one on CUDA `flash_varlen` where it is installed, else `flex`; with one
    on a CPU `math`.
    """
    if backend is None:
        if softcap is None:
            return "sdpa"
        if torch.cuda.is_available():
            return "flash_varlen" if importlib.util.find_spec("flash_attn") else "flex"
        return "math"
    if backend not in BACKENDS:
        raise ConfigError(
            f"attention backend must be one of {', '.join(BACKENDS)}, got {backend!r}. Choose one of them."
        )
    if backend == "sdpa" and softcap is not None:
        raise ConfigError(
            f"attention backend must honour attn_softcap={softcap}, got 'sdpa', which has none. "
            f"Choose math, flash_varlen or flex, or load the network with attn_softcap=None."
        )
    if backend == "flash_varlen" and importlib.util.find_spec("flash_attn") is None:
        raise ConfigError(
            "attention backend must be installed, got 'flash_varlen' without the package flash_attn. "
            "Run pip install flash-attn on a CUDA machine, or choose another backend."
        )
    return backend


def make_plan(
    backend: Backend, query_lengths: Sequence[int], key_lengths: Sequence[int], device: torch.device | str
) -> Plan:
    """Return the plan for samples of these lengths; key lengths may be 0 (such queries get zeros)."""
    queries, keys = tuple(query_lengths), tuple(key_lengths)
    if backend == "flash_varlen":
        return Plan(backend, queries, keys, _cumulative(queries, device), _cumulative(keys, device))
    if backend == "flex" and any(keys):
        return Plan(backend, queries, keys, block_mask=_block_mask(queries, keys, torch.device(device)))
    if backend == "sdpa":
        return Plan(backend, queries, keys, padding=_padding(queries, keys, device))
    return Plan(backend, queries, keys)


def attend(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, plan: Plan, softcap: float | None
) -> torch.Tensor:
    """Return attention (Lq,H,head_dim) of queries (Lq,H,head_dim) over keys and values (Lk,KV,head_dim).

    `plan` says who sees whom. Raises ConfigError for a softcap, a dtype or a gradient its backend cannot honour.
    """
    if not any(plan.key_lengths):
        return torch.zeros_like(query)
    if plan.backend == "flash_varlen":
        return _flash_varlen(query, key, value, plan, softcap, _flash_kernel())
    if plan.backend == "flex":
        return _flex(query, key, value, plan, softcap)
    if plan.backend == "sdpa":
        if softcap is not None:
            raise ConfigError(
                f"attention backend must honour softcap {softcap}, got 'sdpa'. Choose math, flash_varlen or flex."
            )
        if plan.padding is not None:
            return _padded_sdpa(query, key, value, plan.padding)
        return _by_runs(query, key, value, plan, _sdpa)
    return _by_runs(query, key, value, plan, functools.partial(_math, softcap=softcap))


def _by_runs(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    plan: Plan,
    kernel: Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor],
) -> torch.Tensor:
    """Run a batched kernel over runs of samples of equal lengths: no mask, no padding, no copy of keys."""
    parts, q, k = [], 0, 0
    for (num_queries, num_keys), run in itertools.groupby(zip(plan.query_lengths, plan.key_lengths, strict=True)):
        size = len(list(run))
        queries = query[q : q + size * num_queries]
        q += size * num_queries
        keys, values = key[k : k + size * num_keys], value[k : k + size * num_keys]
        k += size * num_keys
        if num_keys == 0:
            parts.append(torch.zeros_like(queries))
            continue
        batch = (tensor.unflatten(0, (size, -1)).transpose(1, 2) for tensor in (queries, keys, values))
        parts.append(kernel(*batch).transpose(1, 2).flatten(0, 1))
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _sdpa(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    return functional.scaled_dot_product_attention(query, key, value, enable_gqa=query.shape[1] != key.shape[1])


def _padding(queries: tuple[int, ...], keys: tuple[int, ...], device: torch.device | str) -> Padding | None:
    """Return how keys are padded to one call, where that saves more calls than it adds keys; None: run by run.

    Each text of a batch has its own length: a small network would spend more on calls than on attention.
    """
    runs = len(list(itertools.groupby(keys)))
    most = max(keys, default=0)
    if runs < _LEAST_RUNS or len(set(queries)) != 1 or min(keys) == 0 or most * len(keys) > _MOST_PADDED * sum(keys):
        return None
    lengths = torch.tensor(keys)
    within = torch.arange(most)
    real = within < lengths[:, None]
    places = torch.where(real, (lengths.cumsum(0) - lengths)[:, None] + within, 0)
    return Padding(places.flatten().to(device), real[:, None, None].to(device))


def _padded_sdpa(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, padding: Padding) -> torch.Tensor:
    size = len(padding.real)
    queries = query.unflatten(0, (size, -1)).transpose(1, 2)
    keys, values = (
        tensor.index_select(0, padding.places).unflatten(0, (size, -1)).transpose(1, 2) for tensor in (key, value)
    )
    out = functional.scaled_dot_product_attention(
        queries, keys, values, attn_mask=padding.real, enable_gqa=queries.shape[1] != keys.shape[1]
    )
    return out.transpose(1, 2).flatten(0, 1)


def _math(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, softcap: float | None) -> torch.Tensor:
    """Plain softmax attention (B,H,Lq,hd); scores in float32 at least; queries in slices when no gradient is kept."""
    batch, heads, num_queries, head_dim = query.shape
    kv_heads, num_keys = key.shape[1:3]
    # the queries of the heads that share a key head stand in one row: keys are never repeated
    folded = query.reshape(batch, kv_heads, -1, head_dim) * head_dim**-0.5
    rows = folded.shape[2]
    if not torch.is_grad_enabled():
        rows = max(1, _SCORE_BYTES // (4 * batch * kv_heads * num_keys))
    parts = []
    for part in folded.split(rows, dim=2):
        scores = (part @ key.transpose(-1, -2)).to(torch.promote_types(query.dtype, torch.float32))
        if softcap is not None:
            scores = softcap * torch.tanh(scores / softcap)
        parts.append(scores.softmax(-1).to(value.dtype) @ value)
    return torch.cat(parts, dim=2).reshape(batch, heads, num_queries, head_dim)


def _flash_kernel() -> Callable[..., torch.Tensor]:
    kernel: Callable[..., torch.Tensor] = importlib.import_module("flash_attn").flash_attn_varlen_func
    return kernel


def _flash_varlen(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    plan: Plan,
    softcap: float | None,
    kernel: Callable[..., torch.Tensor],
) -> torch.Tensor:
    if value.dtype not in (torch.float16, torch.bfloat16):
        raise ConfigError(
            f"attention backend flash_varlen must have half-precision tensors, got {value.dtype}. "
            f"Load the network with torch_dtype=torch.bfloat16, or choose sdpa, math or flex."
        )
    return kernel(
        query.to(value.dtype),
        key.to(value.dtype),
        value,
        plan.cumulative_queries,
        plan.cumulative_keys,
        max(plan.query_lengths),
        max(plan.key_lengths),
        softcap=softcap or 0.0,  # the kernel's word for none
    )


def _flex(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, plan: Plan, softcap: float | None
) -> torch.Tensor:
    if query.device.type == "cpu" and torch.is_grad_enabled() and query.requires_grad:
        raise ConfigError(
            "attention backend flex must run without gradients on a CPU, got a training pass. Choose sdpa or math."
        )
    batch = (tensor.transpose(0, 1)[None] for tensor in (query, key, value))
    capped = None if softcap is None else _softcap_modifier(softcap)
    out = _compiled_flex()(
        *batch, score_mod=capped, block_mask=plan.block_mask, enable_gqa=query.shape[1] != key.shape[1]
    )
    return out[0].transpose(0, 1)


@functools.lru_cache(maxsize=1)
def _compiled_flex() -> Callable[..., torch.Tensor]:
    # uncompiled, flex_attention would hold every score in memory; fullgraph makes a compiler that gives up an error
    flex = importlib.import_module("torch.nn.attention.flex_attention")
    return torch.compile(flex.flex_attention, fullgraph=True)


@functools.lru_cache(maxsize=4)
def _softcap_modifier(softcap: float) -> Callable[..., torch.Tensor]:
    def capped(score: torch.Tensor, *_: torch.Tensor) -> torch.Tensor:
        return softcap * torch.tanh(score / softcap)

    return capped


@functools.lru_cache(maxsize=16)
def _block_mask(queries: tuple[int, ...], keys: tuple[int, ...], device: torch.device) -> Any:
    """Masks are costly to build, so one is kept per layout in use: the loader's bins and the sampler's steps repeat."""
    flex = importlib.import_module("torch.nn.attention.flex_attention")
    samples = torch.arange(len(queries))
    sample_of_query = samples.repeat_interleave(torch.tensor(queries)).to(device)
    sample_of_key = samples.repeat_interleave(torch.tensor(keys)).to(device)

    def same_sample(b: torch.Tensor, h: torch.Tensor, q: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
        return sample_of_query[q] == sample_of_key[k]

    return flex.create_block_mask(same_sample, None, None, sum(queries), sum(keys), device=device)


def _cumulative(lengths: tuple[int, ...], device: torch.device | str) -> torch.Tensor:
    return torch.tensor([0, *itertools.accumulate(lengths)], dtype=torch.int32, device=device)
