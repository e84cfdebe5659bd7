"""What a run would be, without running it: parameters, memory a rank, operations a step, the plan of an epoch."""

from collections.abc import Sequence

import torch

from onegen.config.training import TrainConfig
from onegen.model.packing import Layout
from onegen.trainer.batch import PATCH
from onegen.trainer.cost import Sizes, activation_bytes, num_weights, training_flops, weights_bytes
from onegen.trainer.lora import add_lora
from onegen.trainer.parts import fresh_network, make_loader
from onegen.trainer.world import World

_SD3_VAE = (16, 8)
"""Latent channels and pixels a side of one."""
_WIDTHS = {"minilm": 384, "t5": 2048}
_WORDS = 64
"""Text tokens of an example, for the estimate."""


def describe(config: TrainConfig, data: Sequence[str], world: int) -> str:
    """Return the description as text; reads the datasets' indexes and no weights. Raises ConfigError as a run does."""
    own = config.encoders
    channels, factor = (3 * own.downscale**2, own.downscale) if own.codec == "pixel-shuffle" else _SD3_VAE
    with torch.device("meta"):
        network = fresh_network(config, channels, _WIDTHS[own.text], factor)
        if config.lora is not None:
            add_lora(network, config.lora)
    sizes, (trained, frozen) = Sizes.of(network), num_weights(network)
    held, kept = weights_bytes(trained, frozen, config, world), activation_bytes(sizes, config)
    side = config.data.resolution // (factor * PATCH)
    per_bin = max(1, config.data.tokens // (side * side))
    flops = training_flops(sizes, Layout.from_grids([[(side, side)]] * per_bin), [_WORDS] * per_bin) * config.data.bins
    lines = [
        f"{trained + frozen:,} parameters, {trained:,} trained: width {sizes.width}, {sizes.depth} blocks, "
        f"{sizes.heads} heads over {sizes.kv_heads}, feed-forward {sizes.ffn}",
        f"memory of a rank, of {world}: about {(held + kept) / 1e9:,.2f} GB beside the encoders, {held / 1e9:,.2f} GB "
        f"of it weights, gradients, moments and average; the rest are activations of {config.data.tokens:,} tokens",
        f"a step: up to {config.data.bins * config.data.tokens:,} tokens, {flops / 1e12:,.3f} TFLOP in pictures of "
        f"{config.data.resolution} pixels; {config.steps:,} steps: {flops * config.steps:.3g} FLOP",
    ]
    with make_loader(config, data, factor, World(0, world, torch.device("cpu"))) as loader:
        return "\n".join([*lines, *loader.plan().lines()])
