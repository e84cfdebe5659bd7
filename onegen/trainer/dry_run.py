"""What a run would be, without running it: parameters, memory a rank, operations a step, the plan of an epoch."""

from collections.abc import Sequence
from dataclasses import asdict

import torch

from onegen.config.training import TrainConfig
from onegen.model.nextdit import NextDiT
from onegen.model.packing import Layout
from onegen.model.presets import PRESETS
from onegen.trainer.batch import PATCH
from onegen.trainer.cost import Sizes, memory_bytes, training_flops
from onegen.trainer.parts import make_loader
from onegen.trainer.world import World

_CODECS = {"sd3-vae": (16, 8)}
_WIDTHS = {"minilm": 384, "t5": 2048}
_WORDS = 64
"""Text tokens of an example, for the estimate."""


def describe(config: TrainConfig, data: Sequence[str], world: int) -> str:
    """Return the description as text; reads the datasets' indexes and no weights. Raises ConfigError as a run does."""
    own = config.encoders
    channels, factor = _CODECS.get(own.codec, (3 * own.downscale**2, own.downscale))
    network = _on_paper(config, channels, _WIDTHS[own.text])
    sizes, parameters = Sizes.of(network), sum(weight.numel() for weight in network.parameters())
    ranks = world if config.parallel == "fsdp2" else 1
    held = memory_bytes(parameters, sizes, config.data.tokens, config.precision, config.checkpointing, ranks)
    side = config.data.resolution // (factor * PATCH)
    per_bin = max(1, config.data.tokens // (side * side))
    layout = Layout.from_grids([[(side, side)]] * per_bin)
    flops = training_flops(sizes, layout, [_WORDS] * per_bin) * config.data.bins
    lines = [
        f"{parameters:,} parameters: width {sizes.width}, {sizes.depth} blocks, {sizes.heads} heads over "
        f"{sizes.kv_heads}, feed-forward {sizes.ffn}",
        f"memory of a rank: about {held / 1e9:,.2f} GB (weights, gradients, moments, average: "
        f"{20 * parameters / ranks / 1e9:,.2f} GB; the rest is activations of {config.data.tokens:,} tokens)",
        f"a step: up to {config.data.bins * config.data.tokens:,} tokens, {flops / 1e12:,.3f} TFLOP in pictures of "
        f"{config.data.resolution} pixels; {config.steps:,} steps: {flops * config.steps:.3g} FLOP",
    ]
    loader = make_loader(config, data, factor, World(0, 1, torch.device("cpu")))
    with loader:
        return "\n".join([*lines, *loader.plan().lines()])


def _on_paper(config: TrainConfig, channels: int, text_width: int) -> NextDiT:
    """Return the network without its weights."""
    own = config.network
    sizes = {
        **asdict(PRESETS[own.preset]),
        **{
            name: value
            for name in ("hidden_size", "depth", "num_heads", "num_kv_heads")
            if (value := getattr(own, name)) is not None
        },
    }
    with torch.device("meta"):
        return NextDiT(**sizes, in_channels=channels, caption_channels=text_width, multiple_of=own.multiple_of)
