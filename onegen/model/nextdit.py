"""The OneDiffusion network: a Next-DiT over packed views (spec 5 and 6.1), loadable from the released weights.

Signatures first; bodies follow.
"""

from collections.abc import Sequence
from typing import Any

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin

from onegen.model.packing import PackedViews
from onegen.model.text import TextContext


class NextDiT(ModelMixin, ConfigMixin):
    """Predicts the velocity eps - x of every view from noisy views, one timestep per view, and text.

    The defaults are the released 2.8 B network. `attn_softcap` (None or 30.0) caps self-attention scores; it is saved in
    config.json. The released config has no such key and gets 30.0 (the half-precision behaviour of the official code).
    """

    @register_to_config
    def __init__(
        self,
        input_size: Sequence[int] = (1, 96, 96),
        patch_size: Sequence[int] = (1, 2, 2),
        in_channels: int = 16,
        hidden_size: int = 3840,
        depth: int = 16,
        num_heads: int = 32,
        num_kv_heads: int | None = 8,
        multiple_of: int = 256,
        ffn_dim_multiplier: float | None = None,
        norm_eps: float = 1e-5,
        pred_sigma: bool = False,
        caption_channels: int = 2048,
        rotary_max_length: int = 128,
        rotary_max_length_t: int | None = None,
        qk_norm: bool = True,
        norm_type: str = "rms",
        model_max_length: int = 512,
        attn_softcap: float | None = 30.0,
    ) -> None:
        super().__init__()

    @classmethod
    def from_preset(
        cls,
        name: str,
        *,
        in_channels: int = 16,
        caption_channels: int = 2048,
        attn_softcap: float | None = None,
    ) -> "NextDiT":
        """Return a freshly initialised network of a preset: tiny (14 M), small, base, large, released (2.8 B)."""
        raise NotImplementedError

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str, **kwargs: Any) -> "NextDiT":
        """Load config.json and safetensors as diffusers does; missing, extra or misshapen keys and NaN raise ConfigError."""
        raise NotImplementedError

    def encode_text(
        self, encoder_hidden_states: torch.Tensor, encoder_attention_mask: torch.Tensor | None = None
    ) -> TextContext:
        """Return pooled text and the keys and values of every block for text states (S,M,Y) and mask (S,M).

        Call once per sampling run with one row per distinct prompt, `select([0, 1, ...])` rows per sample of the batch (CFG:
        negative rows first), and pass the result as `text=` to every step.
        """
        raise NotImplementedError

    def forward(
        self,
        samples: torch.Tensor | PackedViews,
        timesteps: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        encoder_attention_mask: torch.Tensor | None = None,
        *,
        text: TextContext | None = None,
        scale_factor: float = 1.0,
        scale_watershed: float = 1.0,
    ) -> torch.Tensor:
        """Return the velocity, shaped like `samples` (packed input: tokens (L, patch*patch*C) in the same layout).

        `samples` is a rectangular batch (B,N,C,h,w), or (B,C,h,w) for one view each, or `PackedViews`. `timesteps` is
        1000 x sigma, kept in float32: (B,N), or (B,), or () for all; or shaped like `samples` and constant inside each view;
        for packed input (V,) in layout order. Text is given as states (B,M,Y) with mask (B,M), or as `text` from `encode_text`.
        `scale_factor` stretches positions for more or larger views than trained (spec 6.1): a sample whose largest timestep
        is below `scale_watershed` has its positions divided by it, another its rotary base multiplied by it.
        """
        raise NotImplementedError

    def set_attention_backend(self, backend: str) -> None:
        """Choose sdpa, math, flash_varlen or flex; ConfigError when absent or unable to honour `attn_softcap`."""
        raise NotImplementedError
