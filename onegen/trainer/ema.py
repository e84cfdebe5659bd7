"""The average of the weights: each rank averages the part of each weight that it holds."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


class Ema:
    """A shadow of a module's trainable weights, which follows them with `decay`, at first faster where it ramps."""

    def __init__(self, module: nn.Module, decay: float, ramp: bool) -> None:
        self._decay, self._ramp = decay, ramp
        self._weights = {name: weight for name, weight in module.named_parameters() if weight.requires_grad}
        self.shadow: dict[str, torch.Tensor] = {name: weight.detach().clone() for name, weight in self._weights.items()}
        self.updates = 0

    def decay_at(self, updates: int) -> float:
        """Return the decay of the update after so many."""
        return min(self._decay, (1 + updates) / (10 + updates)) if self._ramp else self._decay

    @torch.no_grad()
    def update(self) -> None:
        """Move the shadow towards the weights."""
        share = 1 - self.decay_at(self.updates)
        own = [_local(weight) for weight in self.shadow.values()]
        torch._foreach_lerp_(own, [_local(weight.detach()) for weight in self._weights.values()], share)
        self.updates += 1

    @contextmanager
    def swapped(self) -> Iterator[None]:
        """Give the module the averaged weights for the block."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for name, weight in self._weights.items():
            own, other = _local(weight.detach()), _local(self.shadow[name])
            kept = own.clone()
            own.copy_(other)
            other.copy_(kept)

    @torch.no_grad()
    def load(self, shadow: Mapping[str, torch.Tensor], updates: int) -> None:
        """Take up a state that was saved."""
        for name, weight in self.shadow.items():
            _local(weight).copy_(_local(shadow[name]))
        self.updates = updates


def _local(weight: Any) -> torch.Tensor:
    """Return the part of a weight that this rank holds; all of one that is not sharded."""
    part: torch.Tensor = weight.to_local() if hasattr(weight, "to_local") else weight
    return part
