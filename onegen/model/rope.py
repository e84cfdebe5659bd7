"""Rotary positions in three axes (frame, row, column) from three small 1-D tables (docs/onediffusion.md).

The pairs of a head are adjacent elements (2k, 2k+1); the first third of the pairs turns with the frame index, the
second with the row, the last with the column, all with frequencies base**(-i / pairs_per_axis). A dense table over
every (frame, row, column) would take 960 MiB at 128 positions per axis; these take 60 KiB and hold the same numbers.
"""

import torch

from onegen.errors import ConfigError
from onegen.model.packing import Layout

BASE = 10000.0


def axis_table(
    length: int, pairs: int, *, divisor: float = 1.0, base: float = BASE, device: torch.device | str = "cpu"
) -> torch.Tensor:
    """Return exp(i * position / divisor * frequency), complex64 (length, pairs), for positions 0 .. length-1.

    Angles are made in float64 where the device has it: at position 128 a float32 angle is off by 8e-6 already.
    """
    real = torch.float32 if torch.device(device).type == "mps" else torch.float64
    frequency = base ** (-torch.arange(pairs, device=device, dtype=real) / pairs)
    angle = torch.arange(length, device=device, dtype=real)[:, None] / divisor * frequency
    return torch.complex(angle.cos().float(), angle.sin().float())


def axis_tables(
    layout: Layout, head_dim: int, *, divisor: float = 1.0, base: float = BASE
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the tables of frame, row and column, each just long enough for `layout`, on its device.

    Raises ConfigError unless `head_dim` is divisible by 6.
    """
    if head_dim % 6:
        raise ConfigError(
            f"head dimension must be divisible by 6 (three axes of pairs), got {head_dim}. Change num_heads."
        )
    grids = [grid for sample in layout.grids for grid in sample]
    lengths = (max(map(len, layout.grids)), max(rows for rows, _ in grids), max(columns for _, columns in grids))
    frame, row, column = (
        axis_table(length, head_dim // 6, divisor=divisor, base=base, device=layout.positions.device)
        for length in lengths
    )
    return frame, row, column


def rotation(
    layout: Layout,
    head_dim: int,
    timesteps: torch.Tensor,
    *,
    scale_factor: float = 1.0,
    scale_watershed: float = 1.0,
) -> torch.Tensor:
    """Return the rotation of every token, complex64 (L, head_dim/2).

    With a `scale_factor` other than 1, a sample whose largest entry of `timesteps` (V,) (0..1000) is below
    `scale_watershed` has its positions divided by the factor; in any other the base of the frequencies is multiplied by
    it. The choice is made per sample, so a sample packed with others turns as it does alone, and on the device, so
    nothing waits for it.
    """
    if scale_factor <= 0:
        raise ConfigError(f"scale_factor must be above 0, got {scale_factor}. Use 1.0 for no scaling.")
    if scale_factor == 1.0:
        return _gather(axis_tables(layout, head_dim), layout.positions)
    linear = _gather(axis_tables(layout, head_dim, divisor=scale_factor), layout.positions)
    ntk = _gather(axis_tables(layout, head_dim, base=BASE * scale_factor), layout.positions)
    largest = timesteps.new_zeros(layout.num_samples)
    largest.scatter_reduce_(0, layout.sample_of_view, timesteps, reduce="amax", include_self=False)
    is_linear = (largest < scale_watershed)[layout.sample_of_view][layout.view_of_token]
    return torch.where(is_linear[:, None], linear, ntk)


def rotate(x: torch.Tensor, turns: torch.Tensor) -> torch.Tensor:
    """Return heads (L,H,head_dim) turned by `turns` (L, head_dim/2), computed in float32 (float64 stays), in x's dtype.

    Complex multiplication is one pass over memory; written out in real arithmetic it is 15 times slower on a CPU.
    """
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    pairs = torch.view_as_complex(wide.unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * turns[:, None].to(pairs.dtype)).flatten(-2).to(x.dtype)


def _gather(tables: tuple[torch.Tensor, torch.Tensor, torch.Tensor], positions: torch.Tensor) -> torch.Tensor:
    return torch.cat([table[positions[:, axis]] for axis, table in enumerate(tables)], dim=-1)
