"""Timesteps: from the shapes a caller may give to one number per view, and to its embedding (docs/onediffusion.md).

A timestep is 1000 x sigma, in [0, 1000], and stays in float32 whatever the network's dtype.
"""

import math

import torch
from torch import nn

from onegen.errors import ConfigError
from onegen.model.packing import Layout, PackedViews

_FREQUENCIES = 256


class TimestepEmbedder(nn.Module):
    """Embeds timesteps (1000 x sigma): 256 sinusoids, cosines first, then an MLP to (V,A)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(_FREQUENCIES, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, timesteps: torch.Tensor, dtype: torch.dtype | None = None) -> torch.Tensor:
        """Return (V,A) for timesteps (V,), computed in `dtype`; without one, in that of the weights.

        The argument stays in float32: in bf16 it would lose the time itself. A network names its dtype, as weights may
        be stored in another (fp8, int8) until they are used.
        """
        half = _FREQUENCIES // 2
        frequencies = torch.exp(
            -math.log(10000.0) * torch.arange(half, device=timesteps.device, dtype=torch.float32) / half
        )
        angles = timesteps.float()[:, None] * frequencies
        sinusoids = torch.cat([angles.cos(), angles.sin()], dim=-1)
        embedded: torch.Tensor = self.mlp(sinusoids.to(dtype or next(self.mlp.parameters()).dtype))
        return embedded


def view_times(timesteps: torch.Tensor, samples: torch.Tensor | PackedViews, layout: Layout) -> torch.Tensor:
    """Return float32 times (V,), from any of the shapes `NextDiT.forward` takes.

    Raises ConfigError for other shapes, for half precision, and for a map that varies inside a view.
    """
    if timesteps.dtype in (torch.float16, torch.bfloat16):
        raise ConfigError(
            f"timesteps must be float32, got {timesteps.dtype}, which cannot tell 998 from 1000. "
            f"Do not cast them with the rest (FSDP2: cast_forward_inputs=False for the root)."
        )
    times = timesteps.to(layout.view_of_token.device, torch.float32)
    if times.ndim == 0:
        return times.expand(layout.num_views)
    if isinstance(samples, PackedViews):
        if times.shape == (layout.num_views,):
            return times
        raise ConfigError(
            f"timesteps of packed views must be ({layout.num_views},), got {tuple(times.shape)}. Give one per view."
        )
    batch, views = layout.num_samples, layout.num_views // layout.num_samples
    if times.shape == (batch,):
        return times.repeat_interleave(views)
    if times.shape == (batch, views):
        return times.flatten()
    if times.shape == samples.shape:
        maps = times.reshape(layout.num_views, -1)
        if bool((maps != maps[:, :1]).any()):
            raise ConfigError(
                "timesteps must be constant inside a view, got a map that varies. Give one time per view (B,N)."
            )
        return maps[:, 0]
    raise ConfigError(
        f"timesteps must be (), ({batch},), ({batch}, {views}) or {tuple(samples.shape)}, got {tuple(times.shape)}. "
        f"Give one time per view."
    )
