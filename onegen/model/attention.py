"""Joint attention of a block: tokens over the tokens of their sample, and over its text (docs/onediffusion.md).

Facts the released weights rest on: q and k are normalised over all heads together, before the split; the same rotated
query serves both attentions; softcap touches self-attention only; query head j uses key head j // (H/KV) among tokens
but j mod KV in text; the text result is gated by tanh(gate[head]) and added before the output matrix.
"""

from dataclasses import dataclass

import torch
from torch import nn

from onegen.model.backends import Backend, Plan, attend, make_plan
from onegen.model.packing import Layout
from onegen.model.rope import rotate


@dataclass(frozen=True, eq=False)
class Frame:
    """What every block of one forward pass shares and no gradient flows through.

    `view_of_token` (L,) int64; `rotation` (L, head_dim/2) complex64; the plans of the two attentions.
    """

    view_of_token: torch.Tensor
    rotation: torch.Tensor
    self_plan: Plan
    text_plan: Plan


def make_frame(
    layout: Layout, rotation: torch.Tensor, text_lengths: tuple[int, ...], backend: Backend, query_groups: int
) -> Frame:
    """Return the frame of a forward pass over samples of this layout and these numbers of text tokens.

    `query_groups` is H / KV: so many queries of one token share a key head of the text.
    """
    device = layout.view_of_token.device
    lengths = layout.sample_lengths
    return Frame(
        view_of_token=layout.view_of_token,
        rotation=rotation,
        self_plan=make_plan(backend, lengths, lengths, device),
        text_plan=make_plan(backend, [length * query_groups for length in lengths], text_lengths, device),
    )


class Attention(nn.Module):
    """Self-attention and text attention with one query. `softcap` is None or the cap on self-attention scores."""

    def __init__(
        self, width: int, text_width: int, num_heads: int, num_kv_heads: int, qk_norm: bool, softcap: float | None
    ) -> None:
        super().__init__()
        self.num_heads, self.num_kv_heads, self.softcap = num_heads, num_kv_heads, softcap
        self.head_dim = width // num_heads
        kv_width = num_kv_heads * self.head_dim
        self.wq = nn.Linear(width, width, bias=False)
        self.wk = nn.Linear(width, kv_width, bias=False)
        self.wv = nn.Linear(width, kv_width, bias=False)
        self.wk_y = nn.Linear(text_width, kv_width, bias=False)
        self.wv_y = nn.Linear(text_width, kv_width, bias=False)
        self.wo = nn.Linear(width, width, bias=False)
        self.gate = nn.Parameter(torch.zeros(num_heads))
        self.q_norm = nn.LayerNorm(width, eps=1e-5) if qk_norm else nn.Identity()
        self.k_norm = nn.LayerNorm(kv_width, eps=1e-5) if qk_norm else nn.Identity()
        self.ky_norm = nn.LayerNorm(kv_width, eps=1e-6) if qk_norm else nn.Identity()

    def text_keys_values(self, states: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return keys and values (T,KV,head_dim) of normalised text states (T,Y); they depend on nothing else."""
        return self._split(self.ky_norm(self.wk_y(states))), self._split(self.wv_y(states))

    def forward(
        self, x: torch.Tensor, text_keys: torch.Tensor, text_values: torch.Tensor, frame: Frame
    ) -> torch.Tensor:
        """Return the attention's output (L,D) for modulated tokens x (L,D)."""
        value = self._split(self.wv(x))
        query = rotate(self._split(self.q_norm(self.wq(x))), frame.rotation).to(value.dtype)
        key = rotate(self._split(self.k_norm(self.wk(x))), frame.rotation).to(value.dtype)
        out = attend(query, key, value, frame.self_plan, self.softcap).flatten(1)
        # head j = g * KV + kv: the H/KV groups of a token are as many queries of KV heads; this is j mod KV, not copied
        text_query = query.reshape(-1, self.num_kv_heads, self.head_dim)
        text = attend(text_query, text_keys.to(value.dtype), text_values.to(value.dtype), frame.text_plan, None)
        gate = self.gate.tanh().repeat_interleave(self.head_dim).to(value.dtype)
        return self.wo(torch.addcmul(out, text.reshape(out.shape), gate))

    def _split(self, x: torch.Tensor) -> torch.Tensor:
        return x.unflatten(-1, (-1, self.head_dim))
