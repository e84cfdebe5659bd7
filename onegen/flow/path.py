"""The linear path between data and noise, and how training draws noise levels (docs/onediffusion.md).

`sigma` in [0, 1] is the noise level everywhere: 0 is data, 1 is noise, and the network sees timestep = 1000 * sigma.
The paper writes the same path with t = 1 - sigma and the opposite velocity.
"""

from typing import Literal

import torch

from onegen.errors import ConfigError

Density = Literal["logit_normal", "uniform"]
Prediction = Literal["velocity", "data"]

LEAST_SIGMA = 0.05
"""Where a network answers data, its velocity is divided by no less noise than this (arXiv 2511.13720)."""


def interpolate(data: torch.Tensor, noise: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """Return x_sigma = (1 - sigma) * data + sigma * noise, shaped like `data`; `sigma` must broadcast against it."""
    return torch.lerp(data, noise, sigma.to(data.dtype))


def velocity(data: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    """Return the training target dx/dsigma = noise - data."""
    return noise - data


def predict_data(x: torch.Tensor, sigma: torch.Tensor, velocity: torch.Tensor) -> torch.Tensor:
    """Return the data a straight path leads to from x at `sigma`: x - sigma * velocity."""
    return x - sigma.to(x.dtype) * velocity


def predict_noise(x: torch.Tensor, sigma: torch.Tensor, velocity: torch.Tensor) -> torch.Tensor:
    """Return the noise a straight path comes from at `sigma`: x + (1 - sigma) * velocity."""
    return x + (1 - sigma).to(x.dtype) * velocity


def velocity_of(answer: torch.Tensor, x: torch.Tensor, sigma: torch.Tensor, prediction: str) -> torch.Tensor:
    """Return the velocity that a network's `answer` at x means; `sigma` must broadcast against it.

    `velocity` is an answer as it is; `data` x-prediction, (x - answer) / max(sigma, LEAST_SIGMA). Raises ConfigError.
    """
    if prediction == "velocity":
        return answer
    if prediction != "data":
        raise ConfigError(f"prediction of a network must be velocity or data, got {prediction!r}.")
    return (x - answer) / sigma.to(x.dtype).clamp(min=LEAST_SIGMA)


def to_timestep(sigma: torch.Tensor) -> torch.Tensor:
    """Return what the network is told, 1000 * sigma, in float32."""
    return 1000 * sigma.float()


def shift_sigma(sigma: torch.Tensor, shift: float) -> torch.Tensor:
    """Return shift * sigma / (1 + (shift - 1) * sigma): more noise for shift > 1, ends unmoved.

    With shift = e^mu this is the dynamic shift of the scheduler, e^mu / (e^mu + 1/sigma - 1), too. Raises ConfigError
    unless shift is above 0.
    """
    if shift <= 0:
        raise ConfigError(f"shift of noise levels must be above 0, got {shift}. Use 1.0 for none, 3.0 for the paper's.")
    return shift * sigma / (1 + (shift - 1) * sigma)


def draw_sigmas(
    num: int,
    generator: torch.Generator,
    *,
    density: Density = "logit_normal",
    mean: float = 0.0,
    std: float = 1.0,
    shift: float = 3.0,
) -> torch.Tensor:
    """Return `num` independent noise levels in (0, 1), float32 on the generator's device: one per view.

    `logit_normal` is the sigmoid of a normal with `mean` and `std` (the paper's choice is 0 and 1), `uniform` is flat;
    both are shifted afterwards. The same generator state gives the same levels.
    """
    device = generator.device
    if density == "logit_normal":
        sigma = torch.sigmoid(mean + std * torch.randn(num, generator=generator, device=device))
    elif density == "uniform":
        # the middle of one of 2**24 equal cells: neither 0 nor 1
        sigma = torch.rand(num, generator=generator, device=device).clamp(2**-25, 1 - 2**-24)
    else:
        raise ConfigError(
            f"density of noise levels must be logit_normal or uniform, got {density!r}. Choose one of them."
        )
    return shift_sigma(sigma, shift)


def draw_noise_like(data: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Return standard normal noise shaped like `data`, on its device and in its dtype.

    It is drawn in float32 on the generator's device: what is drawn depends on neither.
    """
    noise = torch.randn(data.shape, generator=generator, device=generator.device)
    return noise.to(data.device, data.dtype)
