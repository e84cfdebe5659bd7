"""The noise levels a sampling run visits: Euler flow matching as the released model uses it (docs/onediffusion.md).

sigma is the noise level, 1 is noise and 0 is data; a timestep is 1000 * sigma. How the levels are shifted towards
noise is read from the checkpoint's scheduler config: by a fixed `shift`, or by one that grows with the tokens that are
generated.
"""

from typing import Any

import numpy as np
import torch

from onegen.errors import ConfigError

PATCH = 2
"""Side of a token in latent pixels."""


def num_generated_tokens(num_views: int, height: int, width: int) -> int:
    """Return the tokens of `num_views` generated views (rays count too) of latents height x width."""
    return num_views * (height // PATCH) * (width // PATCH)


def dynamic_mu(num_tokens: float, config: Any) -> float:
    """Return mu, linear in the number of tokens between the two points of the scheduler config, and beyond them."""
    slope = (config.max_shift - config.base_shift) / (config.max_image_seq_len - config.base_image_seq_len)
    return config.base_shift + slope * (num_tokens - config.base_image_seq_len)


def set_timesteps(
    scheduler: Any,
    num_steps: int,
    num_tokens: float,
    device: str | torch.device = "cpu",
) -> torch.Tensor:
    """Prepare a scheduler and return its timesteps (num_steps,) float32; they fall, and the last one is not 0.

    `scheduler` is diffusers' `FlowMatchEulerDiscreteScheduler` (any: its annotations refuse the array given here).
    `num_tokens` is the number of generated tokens times the caller's noise scale. The sigmas are passed explicitly:
    left to itself diffusers ends elsewhere (at 1.88 instead of 36.90 for 50 steps of 1024 tokens). Raises ConfigError
    below one step.
    """
    if num_steps < 1:
        raise ConfigError(f"number of steps must be at least 1, got {num_steps}.")
    mu = dynamic_mu(num_tokens, scheduler.config) if scheduler.config.use_dynamic_shifting else None
    scheduler.set_timesteps(sigmas=np.linspace(1.0, 1.0 / num_steps, num_steps), mu=mu, device=device)
    scheduler.set_begin_index(0)  # or each first step would look its timestep up on the device
    timesteps: torch.Tensor = scheduler.timesteps
    return timesteps
