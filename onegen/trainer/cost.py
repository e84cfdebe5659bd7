"""What a step costs on paper: floating-point operations and memory, from the network's sizes and the tokens alone."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from onegen.config.training import TrainConfig
from onegen.errors import ConfigError
from onegen.model.packing import Layout

_PEAKS = {"H100": 989e12, "H200": 989e12, "B200": 2250e12, "A100": 312e12, "L40S": 362e12, "4090": 165e12}
"""Dense bf16 operations a second by the name of a GPU."""
_ACTIVATIONS = {"fp32": 66, "bf16": 33}
"""Bytes kept for the backward pass, a token, block and unit of width (measured: anchors/trainer.md, section 7)."""
_CHECKPOINTED = {"fp32": 4, "bf16": 2}
_FREQUENCIES = 256


@dataclass(frozen=True, slots=True)
class Sizes:
    """The sizes of a network that its cost depends on."""

    width: int
    depth: int
    heads: int
    kv_heads: int
    ffn: int
    condition: int
    text: int
    patch: int

    @classmethod
    def of(cls, network: Any) -> "Sizes":
        """Return the sizes of a NextDiT."""
        config = network.config
        width = int(config.hidden_size)
        return cls(
            width,
            int(config.depth),
            int(config.num_heads),
            int(config.num_kv_heads or config.num_heads),
            int(network.layers[0].feed_forward.w1.out_features),
            min(width, 1024),
            int(config.caption_channels),
            int(network.x_embedder.in_features),
        )


def forward_flops(sizes: Sizes, layout: Layout, text_lengths: Sequence[int]) -> float:
    """Return the operations of one forward pass; a product and its sum are two."""
    tokens, views, samples = layout.num_tokens, layout.num_views, layout.num_samples
    words, width = sum(text_lengths), sizes.width
    kv = width * sizes.kv_heads // sizes.heads
    block = tokens * (2 * width * width + 2 * width * kv + 3 * width * sizes.ffn)
    block += views * sizes.condition * 4 * width + words * 2 * sizes.text * kv
    block += 2 * width * sum(length * length for length in layout.sample_lengths)
    block += 2 * width * sum(n * m for n, m in zip(layout.sample_lengths, text_lengths, strict=True))
    ends = tokens * 2 * sizes.patch * width + views * sizes.condition * width
    ends += views * (_FREQUENCIES + sizes.condition) * sizes.condition + samples * sizes.text * sizes.condition
    return 2.0 * (sizes.depth * block + ends)


def training_flops(sizes: Sizes, layout: Layout, text_lengths: Sequence[int]) -> float:
    """Return the operations of forward and backward: three times the forward, but for inputs that need no gradient."""
    whole = 3 * forward_flops(sizes, layout, text_lengths)
    no_gradient = layout.num_tokens * sizes.patch * sizes.width + layout.num_views * _FREQUENCIES * sizes.condition
    return whole - 2.0 * no_gradient


def memory_bytes(parameters: int, sizes: Sizes, tokens: int, precision: str, checkpointing: bool, shards: int) -> int:
    """Return what a rank holds: weights, gradients, both moments, average (20 bytes each), and a bin's activations.

    `shards` is the number of ranks that share the weights: 1 but for fsdp2.
    """
    kept = (_CHECKPOINTED if checkpointing else _ACTIVATIONS)[precision]
    activations = tokens * sizes.width * (sizes.depth * kept + (_ACTIVATIONS[precision] if checkpointing else 0))
    return 20 * parameters // shards + activations


def peak_flops(device: torch.device) -> float:
    """Return the operations a second that a device could do: of a GPU by its name, of a CPU as a product shows."""
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
        return next((peak for known, peak in _PEAKS.items() if known in name), 0.0)
    side = 512
    left, right = torch.randn(side, side), torch.randn(side, side)
    torch.mm(left, right)
    return 2 * side**3 / min(_seconds(left, right) for _ in range(3))


def _seconds(left: torch.Tensor, right: torch.Tensor) -> float:
    started = time.perf_counter()
    for _ in range(4):
        torch.mm(left, right)
    return (time.perf_counter() - started) / 4


def require_memory(config: TrainConfig, parameters: int, sizes: Sizes, device: torch.device, world: int) -> None:
    """Raise ConfigError for a run that asks for more memory than its device has."""
    ranks = world if config.parallel == "fsdp2" else 1
    wanted = memory_bytes(parameters, sizes, config.data.tokens, config.precision, config.checkpointing, ranks)
    there = _memory_of(device)
    if there and wanted > there:
        raise ConfigError(
            f"a run must fit its device, got about {wanted / 1e9:,.1f} GB for {there / 1e9:,.1f} GB. Use less "
            f"data.tokens, checkpointing: true, precision: bf16, a smaller network, or parallel: fsdp2 on more ranks."
        )


def _memory_of(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            return int(next(line for line in file if line.startswith("MemTotal")).split()[1]) * 1024
    except (OSError, StopIteration):
        return 0
