"""What a step costs on paper: floating-point operations and memory, from the network's sizes and the tokens alone."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from onegen.config.training import TrainConfig
from onegen.errors import ConfigError
from onegen.model.packing import Layout

_PEAKS = {"H100": 989e12, "H200": 989e12, "B200": 2250e12, "A100": 312e12, "L40S": 362e12, "4090": 165e12}
"""Dense bf16 operations a second by the name of a GPU."""
_ACTIVATIONS = {"fp32": 66, "bf16": 33}
"""Bytes kept for the backward pass, a token, block and unit of width: an estimate, from the shapes of a block."""
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


def weights_bytes(trained: int, frozen: int, config: TrainConfig, world: int) -> int:
    """Return what a rank holds of weights: 20 bytes of a trained one (itself, gradient, moments, average), 4 of others.

    Under fsdp2 the ranks of a world share them.
    """
    return (20 * trained + 4 * frozen) // (world if config.parallel == "fsdp2" else 1)


def activation_bytes(sizes: Sizes, config: TrainConfig) -> int:
    """Return about what a bin of a recipe keeps for its backward pass."""
    whole = _ACTIVATIONS[config.precision]
    kept = sizes.depth * _CHECKPOINTED[config.precision] + whole if config.checkpointing else sizes.depth * whole
    return config.data.tokens * sizes.width * kept


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


def require_memory(config: TrainConfig, network: nn.Module, sizes: Sizes, device: torch.device, world: int) -> None:
    """Raise ConfigError for a run that asks for more memory than its device has; the encoders are not counted."""
    wanted = weights_bytes(*num_weights(network), config, world) + activation_bytes(sizes, config)
    there = _memory_of(device)
    if there and wanted > there:
        raise ConfigError(
            f"a run must fit its device, got about {wanted / 1e9:,.1f} GB for {there / 1e9:,.1f} GB. Use less "
            f"data.tokens, checkpointing: true, precision: bf16, a smaller network, or parallel: fsdp2 on more ranks."
        )


def num_weights(network: nn.Module) -> tuple[int, int]:
    """Return how many weights of a network are trained, and how many are not."""
    counts = [0, 0]
    for weight in network.parameters():
        counts[not weight.requires_grad] += weight.numel()
    return counts[0], counts[1]


def _memory_of(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            return int(next(line for line in file if line.startswith("MemTotal")).split()[1]) * 1024
    except (OSError, StopIteration):
        return 0
