"""Solvers of dx/dsigma = v(x, sigma) from noise to data, as pure functions of (model, x, sigmas).

`model(x, sigma)` returns the velocity for x at one noise level, a float32 number in [0, 1] as a 0-d tensor. `sigmas`
(K+1,) falls from at most 1 to the last level, usually 0. Condition views need no special solver: a model that returns 0
for them holds them still. Guidance, masks and prompts are the model's business too.
"""

import itertools
from collections.abc import Callable
from typing import Protocol

import torch

from onegen.errors import ConfigError

Velocity = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""(x, sigma) to velocity, shaped like x."""

Callback = Callable[[int, torch.Tensor, torch.Tensor], None]
"""Called after each step with (step from 0, sigma reached, x there)."""


class Solver(Protocol):
    """The signature all solvers share."""

    def __call__(
        self, model: Velocity, x: torch.Tensor, sigmas: torch.Tensor, *, callback: Callback | None = None
    ) -> torch.Tensor:
        """Return x at the last of `sigmas`, given x at the first."""
        ...


def euler(model: Velocity, x: torch.Tensor, sigmas: torch.Tensor, *, callback: Callback | None = None) -> torch.Tensor:
    """Return x at the last sigma by Euler's method, one model call per step.

    Rounds as diffusers' FlowMatchEulerDiscreteScheduler does: the product in the velocity's dtype, the sum in float32,
    the result in the velocity's dtype. docs/onediffusion.md.
    """
    check_sigmas(sigmas)
    for step, (sigma, following) in enumerate(itertools.pairwise(sigmas)):
        x = _advance(x, model(x, sigma), following - sigma)
        if callback is not None:
            callback(step, following, x)
    return x


def heun(model: Velocity, x: torch.Tensor, sigmas: torch.Tensor, *, callback: Callback | None = None) -> torch.Tensor:
    """Return x at the last sigma by Heun's method (Karras et al. 2022, algorithm 1 without noise): two calls per step.

    A step to sigma 0 is an Euler step, as no network is trained at exactly 0.
    """
    check_sigmas(sigmas)
    for step, (sigma, following) in enumerate(itertools.pairwise(sigmas)):
        slope = model(x, sigma)
        if following > 0:
            ahead = _advance(x, slope, following - sigma)
            slope = ((slope.float() + model(ahead, following).float()) / 2).to(slope.dtype)
        x = _advance(x, slope, following - sigma)
        if callback is not None:
            callback(step, following, x)
    return x


SOLVERS: dict[str, Solver] = {"euler": euler, "heun": heun}


def uniform_sigmas(num_steps: int) -> torch.Tensor:
    """Return (num_steps+1,) float32: num_steps even levels from 1 to 1/num_steps, then 0.

    They are not shifted. Raises ConfigError below one step. docs/onediffusion.md.
    """
    if num_steps < 1:
        raise ConfigError(f"number of steps must be at least 1, got {num_steps}. 50 is usual.")
    return torch.cat([torch.linspace(1, 1 / num_steps, num_steps), torch.zeros(1)])


def check_sigmas(sigmas: torch.Tensor) -> None:
    """Raise ConfigError unless `sigmas` is (K+1,), K >= 1, strictly falling inside [0, 1]."""
    is_falling = sigmas.ndim == 1 and len(sigmas) > 1 and bool((sigmas.diff() < 0).all())
    if not is_falling or float(sigmas[0]) > 1 or float(sigmas[-1]) < 0:
        raise ConfigError(f"sigmas must fall strictly from at most 1 to at least 0, got {sigmas.tolist()}. Sort them.")


def _advance(x: torch.Tensor, slope: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
    wide = torch.promote_types(x.dtype, torch.float32)
    return (x.to(wide) + step * slope).to(slope.dtype)
