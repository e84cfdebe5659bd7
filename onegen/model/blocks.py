"""The parts of the network around attention: feed-forward, the sandwich block and the final layer.

Modulation belongs to a view, not to a token: `condition` (V,A) is SiLU(time + pooled text), made once per forward, and
every projection of it has V rows.
"""

import torch
from torch import nn
from torch.nn import functional

from onegen.model.attention import Attention, Frame
from onegen.model.norm import RMSNorm


class FeedForward(nn.Module):
    """w2(silu(w1 x) * w3 x), without biases."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.w1 = nn.Linear(width, hidden, bias=False)
        self.w2 = nn.Linear(hidden, width, bias=False)
        self.w3 = nn.Linear(width, hidden, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (L,D) for (L,D)."""
        out: torch.Tensor = self.w2(functional.silu(self.w1(x)) * self.w3(x))
        return out


class Block(nn.Module):
    """Attention and feed-forward, each between two RMS norms: scaled by the view before, gated by tanh after."""

    def __init__(
        self,
        width: int,
        text_width: int,
        condition_width: int,
        ffn_width: int,
        num_heads: int,
        num_kv_heads: int,
        norm_eps: float,
        qk_norm: bool,
        softcap: float | None,
    ) -> None:
        super().__init__()
        self.attention = Attention(width, text_width, num_heads, num_kv_heads, qk_norm, softcap)
        self.feed_forward = FeedForward(width, ffn_width)
        self.attention_norm1 = RMSNorm(width, norm_eps)
        self.attention_norm2 = RMSNorm(width, norm_eps)
        self.ffn_norm1 = RMSNorm(width, norm_eps)
        self.ffn_norm2 = RMSNorm(width, norm_eps)
        self.attention_y_norm = RMSNorm(text_width, norm_eps)
        # index 0 holds the SiLU only to keep the released key `adaLN_modulation.1`; it is applied once, in NextDiT
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(condition_width, 4 * width))

    def text_keys_values(self, states: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return this block's keys and values (T,KV,head_dim) of raw text states (T,Y)."""
        return self.attention.text_keys_values(self.attention_y_norm(states))

    def forward(
        self,
        x: torch.Tensor,
        condition: torch.Tensor,
        text: torch.Tensor | tuple[torch.Tensor, torch.Tensor],
        frame: Frame,
    ) -> torch.Tensor:
        """Return tokens (L,D) for tokens x (L,D), condition (V,A), and text states (T,Y) or their keys and values.

        Keys and values of states are made here, so that sharding and checkpointing per block cover their weights too.
        """
        # not by way of `self.text_keys_values`: FSDP2, told of that method, would drop the gathered weights after it
        text = self.attention.text_keys_values(self.attention_y_norm(text)) if isinstance(text, torch.Tensor) else text
        modulation = self.adaLN_modulation[1](condition)
        scale1, gate1, scale2, gate2 = modulation.to(torch.promote_types(modulation.dtype, torch.float32)).chunk(
            4, dim=-1
        )
        view = frame.view_of_token
        h = self.attention(self.attention_norm1.by_view(x, 1 + scale1, view), *text, frame)
        x = x + self.attention_norm2.by_view(h, gate1.tanh(), view)
        h = self.feed_forward(self.ffn_norm1.by_view(x, 1 + scale2, view))
        return x + self.ffn_norm2.by_view(h, gate2.tanh(), view)


class FinalLayer(nn.Module):
    """LayerNorm without weights, one scale per view, and the projection to patches."""

    def __init__(self, width: int, condition_width: int, out_width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, out_width)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(condition_width, width))

    def forward(self, x: torch.Tensor, condition: torch.Tensor, view_of_token: torch.Tensor) -> torch.Tensor:
        """Return patches (L, out_width) for tokens x (L,D) and condition (V,A)."""
        scale = 1 + self.adaLN_modulation[1](condition)
        normed = functional.layer_norm(x, x.shape[-1:], eps=1e-6)
        # x has the dtype to compute in; that of the weight may be one it is only stored in
        out: torch.Tensor = self.linear((normed * scale[view_of_token]).to(x.dtype))
        return out
