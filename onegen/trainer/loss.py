"""The loss: squared error of the velocity over the tokens of all views, divided by their number over all ranks."""

from dataclasses import dataclass, field

import torch
from torch import nn

from onegen.flow.path import to_timestep, velocity_of
from onegen.trainer.batch import Batch

TIME_BINS = 10
"""Parts of [0, 1] by which the loss is told."""


def squared_errors(network: nn.Module, batch: Batch, prediction: str) -> torch.Tensor:
    """Return the squared error (L,) float32 of each token's velocity, a mean over its numbers."""
    answer = network(batch.views, to_timestep(batch.sigma), batch.states, batch.mask)
    per_token = batch.sigma[batch.layout.view_of_token][:, None]
    predicted = velocity_of(answer.float(), batch.views.tokens, per_token, prediction)
    return (predicted - batch.target).square().mean(-1)


def weighted_sum(errors: torch.Tensor, batch: Batch) -> torch.Tensor:
    """Return the sum of the errors of tokens whose views bear loss."""
    return (errors * batch.weight[batch.layout.view_of_token]).sum()


@dataclass
class LossLog:
    """Mean losses of this rank by task and noise level since they were last taken, over views that bear loss."""

    sums: dict[str, float] = field(default_factory=dict)
    counts: dict[str, float] = field(default_factory=dict)

    def add(self, errors: torch.Tensor, batch: Batch) -> None:
        """Add a batch whose `errors` (L,) are known."""
        layout = batch.layout
        per_view = torch.zeros(layout.num_views, device=errors.device)
        per_view.index_add_(0, layout.view_of_token, errors.detach())
        lengths = torch.tensor(layout.view_lengths)
        means = (per_view.cpu() / lengths).tolist()
        samples = layout.sample_of_view.tolist()
        for mean, sample, sigma, weight in zip(
            means, samples, batch.sigma.tolist(), batch.weight.tolist(), strict=True
        ):
            if weight:
                self._count(f"loss/{batch.examples[sample].task}", mean)
                self._count(f"loss_at/{min(int(sigma * TIME_BINS), TIME_BINS - 1) / TIME_BINS:.1f}", mean)

    def _count(self, name: str, value: float) -> None:
        self.sums[name] = self.sums.get(name, 0.0) + value
        self.counts[name] = self.counts.get(name, 0.0) + 1

    def take(self) -> dict[str, float]:
        """Return the means by name, and begin anew."""
        means = {name: self.sums[name] / self.counts[name] for name in sorted(self.sums)}
        self.sums.clear()
        self.counts.clear()
        return means
