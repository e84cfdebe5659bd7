"""TREAD (arXiv 2501.04765): a share of the tokens goes past the middle blocks in training, and comes back behind them.

Only single pictures are routed: of several views each may be what another is drawn from. Which tokens stay is drawn
from the example's seed. All tokens bear loss, and in validation and sampling none is routed.
"""

import dataclasses
import math
from typing import Any

import torch
from torch import nn

from onegen.config.training import TreadConfig
from onegen.errors import ConfigError
from onegen.loader.seeds import part_seed
from onegen.model.attention import Frame
from onegen.model.backends import make_plan
from onegen.model.packing import Layout
from onegen.trainer.batch import Batch
from onegen.trainer.cost import Sizes, training_flops


class Tread:
    """The route of a network: hooks on its blocks, and which tokens of the batch at hand stay."""

    def __init__(self, network: Any, config: TreadConfig) -> None:
        depth = len(network.layers)
        if config.last > depth:
            raise ConfigError(f"tread.last must be one of the network's {depth} blocks, got {config.last}.")
        self._network, self._config = network, config
        self._kept: torch.Tensor | None = None
        self._lengths: list[int] = []
        self._words: list[int] = []
        self._frame: Frame | None = None
        self._all: torch.Tensor | None = None
        blocks = network.layers[config.first - 1 : config.last]
        for block in blocks:
            block.register_forward_pre_hook(self._enter)
        blocks[-1].register_forward_hook(self._leave)
        self._first = blocks[0]

    def route(self, batch: Batch) -> None:
        """Draw the tokens of a batch that stay, for its next forward pass."""
        kept: list[torch.Tensor] = []
        start = 0
        self._lengths = []
        for example, length in zip(batch.examples, batch.layout.sample_lengths, strict=True):
            chosen = torch.arange(length)
            if len(example.views) == 1:
                generator = torch.Generator().manual_seed(part_seed(example.seed, "tread"))
                count = math.ceil((1 - self._config.share) * length)
                chosen = torch.randperm(length, generator=generator)[:count].sort().values
            kept.append(start + chosen)
            self._lengths.append(len(chosen))
            start += length
        self._kept = torch.cat(kept).to(batch.sigma.device)
        self._words = [int(count) for count in batch.mask.sum(1)]

    def flops(self, sizes: Sizes, batch: Batch) -> float:
        """Return the operations of the batch's forward and backward pass."""
        routed = self._config.last - self._config.first + 1
        short = Layout.from_grids([[(length, 1)] for length in self._lengths])
        whole, middle, none = (dataclasses.replace(sizes, depth=n) for n in (sizes.depth - routed, routed, 0))
        inside = training_flops(middle, short, self._words) - training_flops(none, short, self._words)
        return training_flops(whole, batch.layout, self._words) + inside

    def _enter(self, block: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...] | None:
        """Give a block the tokens that stay, and their frame."""
        if not block.training or self._kept is None:
            return None
        x, condition, text, frame = arguments
        if block is self._first:
            self._all, self._frame = x, self._framed(frame)
            x = x[self._kept]
        return x, condition, text, self._frame

    def _framed(self, frame: Frame) -> Frame:
        backend, device = self._network.attention_backend, frame.view_of_token.device
        queries = [length * self._network.query_groups for length in self._lengths]
        return Frame(
            view_of_token=frame.view_of_token[self._kept],
            rotation=frame.rotation[self._kept],
            self_plan=make_plan(backend, self._lengths, self._lengths, device),
            text_plan=make_plan(backend, queries, self._words, device),
        )

    def _leave(self, block: nn.Module, arguments: tuple[Any, ...], output: torch.Tensor) -> torch.Tensor | None:
        """Put the tokens back among those that went past."""
        if not block.training or self._kept is None or self._all is None:
            return None
        return self._all.to(output.dtype).index_copy(0, self._kept, output)
