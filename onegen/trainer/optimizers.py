"""How weights move: AdamW, or Muon for the matrices of the blocks, and the rate over the steps."""

import math
from collections.abc import Sequence

import torch
from torch import nn

from onegen.config.training import OptimizerConfig


def make_optimizers(module: nn.Module, config: OptimizerConfig) -> list[torch.optim.Optimizer]:
    """Return the optimisers of a module's trainable weights; weights decay where they are matrices."""
    named = [(name, weight) for name, weight in module.named_parameters() if weight.requires_grad]
    matrices = [weight for _, weight in named if weight.ndim >= 2]
    others = [weight for _, weight in named if weight.ndim < 2]
    optimizers: list[torch.optim.Optimizer] = []
    if config.name == "muon":
        blocks = [weight for name, weight in named if weight.ndim == 2 and "layers." in name]
        own = {id(weight) for weight in blocks}
        matrices = [weight for weight in matrices if id(weight) not in own]
        optimizers.append(torch.optim.Muon(blocks, lr=config.muon_lr, momentum=0.95, weight_decay=config.weight_decay))
    groups = [{"params": matrices, "weight_decay": config.weight_decay}, {"params": others, "weight_decay": 0.0}]
    adam = torch.optim.AdamW(
        [group for group in groups if group["params"]], lr=config.lr, betas=config.betas, eps=1e-8, fused=True
    )
    return [*optimizers, adam]


def rate(step: int, steps: int, config: OptimizerConfig) -> float:
    """Return what the learning rates are multiplied with at a step, from 0, of a run of `steps`."""
    warm = min(1.0, (step + 1) / config.warmup) if config.warmup else 1.0
    if config.schedule == "wsd":
        left = (steps - step) / max(1.0, config.decay * steps)
        return warm * min(1.0, left)
    if config.schedule == "cosine":
        return warm * 0.5 * (1 + math.cos(math.pi * step / steps))
    return warm


def set_rates(optimizers: Sequence[torch.optim.Optimizer], factor: float, config: OptimizerConfig) -> None:
    """Set the learning rates of a step."""
    for optimizer in optimizers:
        base = config.muon_lr if isinstance(optimizer, torch.optim.Muon) else config.lr
        for group in optimizer.param_groups:
            group["lr"] = base * factor
