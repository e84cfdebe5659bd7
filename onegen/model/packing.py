"""Packed views: samples of any view count and size as one row of tokens, the only layout the network knows.

A view (an image, a depth map, a set of rays, ...) is a latent (C,h,w); a sample is an ordered list of views; a batch is
a list of samples. Tokens are 2x2 patches in the order sample, view, row, column; inside a token channels run fastest
(docs/onediffusion.md). `Layout` says where each token sits; built once, it serves all steps of a sampling run.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import torch

from onegen.errors import ConfigError

Grid = tuple[int, int]
"""Rows and columns of one view, in tokens."""


@dataclass(frozen=True, eq=False)
class Layout:
    """Where the tokens of a batch sit.

    `grids[s][n]` holds (rows, columns) of view n of sample s, in tokens. `sample_of_view` (V,), `view_of_token` (L,)
    and `positions` (L,3) (frame, row, column, each from 0) are int64 tensors on one device.
    """

    grids: tuple[tuple[Grid, ...], ...]
    sample_of_view: torch.Tensor
    view_of_token: torch.Tensor
    positions: torch.Tensor

    @classmethod
    def from_grids(cls, grids: Sequence[Sequence[Grid]], device: torch.device | str = "cpu") -> "Layout":
        """Return the layout of samples given as lists of (rows, columns) in tokens.

        Raises ConfigError for an empty batch, an empty sample or an empty view.
        """
        frozen = tuple(tuple((int(rows), int(columns)) for rows, columns in sample) for sample in grids)
        if not frozen or any(not sample or min(min(grid) for grid in sample) < 1 for sample in frozen):
            raise ConfigError(
                f"packed batch must hold samples of at least one view of at least one token, got {frozen}."
            )
        return _layout(frozen, torch.device(device))

    @cached_property
    def view_lengths(self) -> tuple[int, ...]:
        """Tokens of each view, in order."""
        return tuple(rows * columns for sample in self.grids for rows, columns in sample)

    @cached_property
    def sample_lengths(self) -> tuple[int, ...]:
        """Tokens of each sample, in order."""
        return tuple(sum(rows * columns for rows, columns in sample) for sample in self.grids)

    @property
    def num_samples(self) -> int:
        """Number of samples S."""
        return len(self.grids)

    @property
    def num_views(self) -> int:
        """Number of views V of all samples."""
        return len(self.view_lengths)

    @property
    def num_tokens(self) -> int:
        """Number of tokens L of all samples."""
        return sum(self.view_lengths)

    def to(self, device: torch.device | str) -> "Layout":
        """Return the layout with its tensors on `device`."""
        return Layout(
            self.grids, self.sample_of_view.to(device), self.view_of_token.to(device), self.positions.to(device)
        )


@dataclass(frozen=True, eq=False)
class PackedViews:
    """Tokens (L, patch*patch*C) of all views of all samples, and their layout."""

    tokens: torch.Tensor
    layout: Layout


def pack(samples: Sequence[Sequence[torch.Tensor]], patch: int = 2) -> PackedViews:
    """Return the tokens of samples given as lists of views (C,h,w); h and w must be divisible by `patch`.

    Views of one batch share C, dtype and device; view counts and sizes are free. Raises ConfigError otherwise.
    """
    views = [view for sample in samples for view in sample]
    for view in views:
        if view.ndim != 3 or view.shape[1] % patch or view.shape[2] % patch or view.shape[0] != views[0].shape[0]:
            raise ConfigError(
                f"view must be a latent (C,h,w) with C={views[0].shape[0]} and sides divisible by {patch}, "
                f"got shape {tuple(view.shape)}. Choose image sides divisible by {8 * patch}."
            )
    grids = [[(view.shape[1] // patch, view.shape[2] // patch) for view in sample] for sample in samples]
    layout = Layout.from_grids(grids, views[0].device if views else "cpu")
    if len({view.shape for view in views}) == 1:
        # many small views cost more in calls than in copies
        return PackedViews(patchify(torch.stack(views), patch).flatten(0, 1), layout)
    return PackedViews(torch.cat([patchify(view, patch) for view in views]), layout)


def unpack(packed: PackedViews, patch: int = 2) -> list[list[torch.Tensor]]:
    """Return the views (C,h,w) of each sample: the inverse of `pack`."""
    parts = iter(packed.tokens.split(packed.layout.view_lengths))
    return [[unpatchify(next(parts), grid, patch) for grid in sample] for sample in packed.layout.grids]


def patchify(view: torch.Tensor, patch: int) -> torch.Tensor:
    """Return the tokens (..., rows*columns, patch*patch*C) of a latent (..., C,h,w), channels fastest."""
    *batch, channels, height, width = view.shape
    rows, columns = height // patch, width // patch
    tokens = view.reshape(*batch, channels, rows, patch, columns, patch)
    tokens = tokens.movedim((-5, -4, -2, -3, -1), (-1, -5, -4, -3, -2))  # C,r,p,c,q -> r,c,p,q,C
    return tokens.reshape(*batch, rows * columns, patch * patch * channels)


def unpatchify(tokens: torch.Tensor, grid: Grid, patch: int) -> torch.Tensor:
    """Return the latent (..., C,h,w) of tokens (..., rows*columns, patch*patch*C): the inverse of `patchify`."""
    *batch, _, width = tokens.shape
    rows, columns = grid
    view = tokens.reshape(*batch, rows, columns, patch, patch, width // (patch * patch))
    view = view.movedim((-1, -5, -4, -3, -2), (-5, -4, -2, -3, -1))
    return view.reshape(*batch, view.shape[-5], rows * patch, columns * patch)


@lru_cache(maxsize=16)
def _layout(grids: tuple[tuple[Grid, ...], ...], device: torch.device) -> Layout:
    """Return the layout of grids; the latest are kept, as the steps of a run often have the same.

    A backward pass may keep its tensors even where it was made for inference alone.
    """
    with torch.inference_mode(False):
        counts = torch.tensor([len(sample) for sample in grids])
        lengths = torch.tensor([rows * columns for sample in grids for rows, columns in sample])
        positions = torch.cat([_view_positions(n, grid) for sample in grids for n, grid in enumerate(sample)])
        return Layout(
            grids=grids,
            sample_of_view=torch.repeat_interleave(torch.arange(len(counts)), counts).to(device),
            view_of_token=torch.repeat_interleave(torch.arange(len(lengths)), lengths).to(device),
            positions=positions.to(device),
        )


def _view_positions(frame: int, grid: Grid) -> torch.Tensor:
    rows, columns = grid
    row, column = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    return torch.stack([torch.full_like(row, frame), row, column], dim=-1).reshape(-1, 3)
