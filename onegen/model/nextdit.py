"""The OneDiffusion network: a Next-DiT over packed views, loadable from the released weights.

Plain single-device torch: parallelism, compilation and checkpointing are applied from outside, to `layers`. What the
released weights rest on is in docs/onediffusion.md.
"""

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import nn
from torch.nn import functional

from onegen.errors import ConfigError
from onegen.model.attention import make_frame
from onegen.model.backends import resolve_backend
from onegen.model.blocks import Block, FinalLayer
from onegen.model.checkpoint import load_checked
from onegen.model.packing import Layout, PackedViews, patchify, unpatchify
from onegen.model.presets import PRESETS
from onegen.model.rope import rotation
from onegen.model.text import TextContext, pack_text
from onegen.model.timesteps import TimestepEmbedder, view_times

logger = logging.getLogger(__name__)


class NextDiT(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """Predicts the velocity eps - x of every view from noisy views, one timestep per view, and text.

    The defaults are the released 2.8 B network. `attn_softcap` (None or a cap such as 30.0) bounds self-attention
    scores; it is saved in config.json. The released config has no such key and gets 30.0, what the official code does
    in half precision. `input_size`, `rotary_max_length`, `rotary_max_length_t` and `model_max_length` are kept for the
    config alone: views may be larger, as rotary tables are as long as the input needs. With `pred_sigma` the second
    half of the output is dropped. `prediction` says what the output is, `velocity` or `data`
    (`onegen.flow.path.velocity_of`); the released config has no such key, and its network answers the velocity. Raises
    ConfigError for sizes that cannot work.
    """

    _supports_gradient_checkpointing = True
    _no_split_modules = ["Block"]  # type: ignore[assignment]  # noqa: RUF012
    _repeated_blocks = ["Block"]  # noqa: RUF012
    # what layerwise casting (weights stored as fp8) leaves alone: the norms' weights are read outside their forward,
    # and the small layers around the blocks cost little and carry much
    _skip_layerwise_casting_patterns = ["norm", "x_embedder", "t_embedder", "y_embedder", "final_layer"]  # type: ignore[assignment]  # noqa: RUF012
    _gradient_checkpointing_func: Callable[..., torch.Tensor]

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
        prediction: str = "velocity",
    ) -> None:
        super().__init__()
        kv_heads = num_heads if num_kv_heads is None else num_kv_heads
        if prediction not in ("velocity", "data"):
            raise ConfigError(f"prediction of a network must be velocity or data, got {prediction!r}.")
        _check_sizes(patch_size, hidden_size, num_heads, kv_heads, norm_type, attn_softcap)
        self.patch = int(patch_size[1])
        self.view_channels = in_channels
        self.text_width = caption_channels
        self.head_dim = hidden_size // num_heads
        self.query_groups = num_heads // kv_heads
        self.is_sigma_predicted = pred_sigma
        self.softcap = attn_softcap
        self.gradient_checkpointing = False
        condition_width = min(hidden_size, 1024)
        patch_area = self.patch * self.patch
        out_channels = in_channels * (2 if pred_sigma else 1)
        ffn_width = _ffn_width(hidden_size, multiple_of, ffn_dim_multiplier)
        self.x_embedder = nn.Linear(patch_area * in_channels, hidden_size)
        self.t_embedder = TimestepEmbedder(condition_width)
        self.y_embedder = nn.Sequential(
            nn.LayerNorm(caption_channels, eps=1e-6), nn.Linear(caption_channels, condition_width)
        )
        self.layers = nn.ModuleList(
            Block(
                hidden_size,
                caption_channels,
                condition_width,
                ffn_width,
                num_heads,
                kv_heads,
                norm_eps,
                qk_norm,
                attn_softcap,
            )
            for _ in range(depth)
        )
        self.final_layer = FinalLayer(hidden_size, condition_width, patch_area * out_channels)
        self.attention_backend = resolve_backend(None, attn_softcap)
        logger.info("NextDiT: attn_softcap %s, attention backend %s", attn_softcap, self.attention_backend)
        self.init_weights()

    @classmethod
    def from_preset(
        cls,
        name: str,
        *,
        in_channels: int = 16,
        caption_channels: int = 2048,
        attn_softcap: float | None = None,
        **changes: Any,
    ) -> "NextDiT":
        """Return a freshly initialised network of a preset: tiny (14 M), small, base, large, released (2.8 B).

        `changes` are other arguments of the constructor, sizes too.
        """
        if name not in PRESETS:
            raise ConfigError(f"network preset must be one of {', '.join(PRESETS)}, got {name!r}. Choose one of them.")
        sizes = asdict(PRESETS[name])
        return cls(
            **{**sizes, **changes},
            in_channels=in_channels,
            caption_channels=caption_channels,
            attn_softcap=attn_softcap,
        )

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | os.PathLike[Any] | None, **kwargs: Any) -> "NextDiT":
        """Load config.json and safetensors from a folder or the hub, with the arguments of diffusers' own method.

        Constructor arguments (such as `attn_softcap`) override the config; its unknown keys are ignored. Raises
        ConfigError for unknown arguments, for missing, extra or misshapen weights (listed), and for weights that are
        not finite.
        """
        network: NextDiT = load_checked(cls, super().from_pretrained, str(pretrained_model_name_or_path), kwargs)
        return network

    def init_weights(self) -> None:
        """Initialise for training from scratch: each block starts as the identity, the output as zero (as DiT does)."""
        for name, module in self.named_modules():
            if not isinstance(module, nn.Linear):
                continue
            if "adaLN_modulation" in name or name == "final_layer.linear":
                nn.init.zeros_(module.weight)
            elif name.startswith("t_embedder"):
                nn.init.normal_(module.weight, std=0.02)
            else:
                nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)

    def set_attention_backend(self, backend: str) -> None:
        """Choose sdpa, math, flash_varlen or flex; ConfigError when absent or unable to honour `attn_softcap`."""
        self.attention_backend = resolve_backend(backend, self.softcap)
        logger.info("NextDiT: attn_softcap %s, attention backend %s", self.softcap, self.attention_backend)

    def encode_text(
        self, encoder_hidden_states: torch.Tensor, encoder_attention_mask: torch.Tensor | None = None
    ) -> TextContext:
        """Return pooled text and the keys and values of every block for text states (S,M,Y) and mask (S,M).

        Call once per sampling run with one row per distinct prompt, `select([0, 1, ...])` rows per sample of the batch
        (CFG: negative rows first), and pass the result as `text=` to every step.
        """
        context = self._pool_text(encoder_hidden_states, encoder_attention_mask)
        keys, values = zip(*(_text_keys_values(block, context.states) for block in self.layers), strict=True)
        return TextContext(context.lengths, context.pooled, context.states, keys, values)

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
        1000 x sigma, kept in float32: (B,N), or (B,), or () for all; or shaped like `samples` and constant inside each
        view; for packed input (V,) in layout order. Text is given as states (B,M,Y) with mask (B,M), or as `text` from
        `encode_text`. `scale_factor` stretches positions for more or larger views than trained: a sample
        whose largest timestep is below `scale_watershed` has its positions divided by it, another its rotary base
        multiplied by it.
        """
        packed = samples if isinstance(samples, PackedViews) else self._pack(samples)
        if packed.tokens.shape != (packed.layout.num_tokens, self.x_embedder.in_features):
            raise ConfigError(
                f"tokens must be ({packed.layout.num_tokens}, {self.x_embedder.in_features}) by layout and network, "
                f"got {tuple(packed.tokens.shape)}. Pack the views with patch={self.patch}."
            )
        times = view_times(timesteps, samples, packed.layout)
        if (text is None) == (encoder_hidden_states is None):
            raise ConfigError(
                "text must be given once, got both or neither of encoder_hidden_states and text. Pass one."
            )
        if text is None:
            assert encoder_hidden_states is not None
            text = self._pool_text(encoder_hidden_states, encoder_attention_mask)
        velocity = self._forward_packed(packed, times, text, scale_factor, scale_watershed)
        if isinstance(samples, PackedViews):
            return velocity
        views = velocity.reshape(-1, packed.layout.view_lengths[0], velocity.shape[-1])
        return unpatchify(views, packed.layout.grids[0][0], self.patch).reshape(samples.shape)

    def _forward_packed(
        self, packed: PackedViews, times: torch.Tensor, text: TextContext, scale_factor: float, scale_watershed: float
    ) -> torch.Tensor:
        layout = packed.layout
        if len(text.lengths) != layout.num_samples:
            raise ConfigError(
                f"text must have one row per sample, got {len(text.lengths)} rows for {layout.num_samples} samples. "
                f"Use TextContext.select to repeat rows."
            )
        dtype = self.dtype
        condition = functional.silu(self.t_embedder(times, dtype) + text.pooled[layout.sample_of_view])
        turns = rotation(layout, self.head_dim, times, scale_factor=scale_factor, scale_watershed=scale_watershed)
        frame = make_frame(layout, turns, text.lengths, self.attention_backend, self.query_groups)
        x = self.x_embedder(packed.tokens.to(dtype))
        for i, block in enumerate(self.layers):
            block_text = (text.keys[i], text.values[i]) if text.keys else text.states
            if self.gradient_checkpointing and torch.is_grad_enabled():
                x = self._gradient_checkpointing_func(block, x, condition, block_text, frame)
            else:
                x = block(x, condition, block_text, frame)
        out: torch.Tensor = self.final_layer(x, condition, layout.view_of_token)
        if self.is_sigma_predicted:
            out = out.unflatten(-1, (-1, 2, self.view_channels))[..., 0, :].flatten(-2)
        return out

    def _pool_text(self, states: torch.Tensor, mask: torch.Tensor | None) -> TextContext:
        """Return the text without keys and values.

        The pooled mean is of the raw states, and zero where no token is real.
        """
        if states.shape[-1] != self.text_width:
            raise ConfigError(
                f"text states must be {self.text_width} wide (caption_channels), got {states.shape[-1]}. "
                f"Use the text encoder the network was trained with."
            )
        packed, lengths = pack_text(states, mask)
        dtype = self.dtype
        weights = torch.ones(states.shape[:2], device=states.device) if mask is None else (mask != 0).to(states.device)
        weights = weights.to(torch.promote_types(states.dtype, torch.float32))
        mean = torch.einsum("sm,smy->sy", weights, states.to(weights.dtype)) / weights.sum(1, keepdim=True).clamp(min=1)
        return TextContext(lengths, self.y_embedder(mean.to(dtype)), packed.to(dtype))

    def _pack(self, samples: torch.Tensor) -> PackedViews:
        channels, patch = self.view_channels, self.patch
        if (
            samples.ndim not in (4, 5)
            or samples.shape[-3] != channels
            or samples.shape[-1] % patch
            or samples.shape[-2] % patch
        ):
            raise ConfigError(
                f"samples must be (B,N,C,h,w) or (B,C,h,w) with C={channels} and sides divisible by {patch}, "
                f"got shape {tuple(samples.shape)}. Choose image sides divisible by {8 * patch}."
            )
        views = samples if samples.ndim == 5 else samples[:, None]
        grid = (views.shape[-2] // patch, views.shape[-1] // patch)
        layout = Layout.from_grids([[grid] * views.shape[1]] * views.shape[0], samples.device)
        return PackedViews(patchify(views, patch).flatten(0, 2), layout)


def _text_keys_values(block: Any, states: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    # a block may have been wrapped from outside (checkpointing, compilation), hence no type
    keys, values = block.text_keys_values(states)
    return keys, values


def _ffn_width(width: int, multiple_of: int, multiplier: float | None) -> int:
    hidden = 2 * 4 * width // 3
    if multiplier is not None:
        hidden = int(multiplier * hidden)
    return multiple_of * -(-hidden // multiple_of)


def _check_sizes(
    patch_size: Sequence[int], width: int, num_heads: int, kv_heads: int, norm_type: str, softcap: float | None
) -> None:
    if tuple(patch_size) != (1, patch_size[-1], patch_size[-1]):
        raise ConfigError(f"patch_size must be (1, p, p), got {tuple(patch_size)}. Use (1, 2, 2).")
    if width % num_heads or (width // num_heads) % 6 or num_heads % kv_heads:
        raise ConfigError(
            f"hidden_size / num_heads must be divisible by 6 and num_heads by num_kv_heads, "
            f"got {width} / {num_heads} and {num_heads} / {kv_heads}. Choose a preset."
        )
    if norm_type != "rms":
        raise ConfigError(f"norm_type must be 'rms', got {norm_type!r}. No other norm is part of the released network.")
    if softcap is not None and softcap <= 0:
        raise ConfigError(f"attn_softcap must be None or above 0, got {softcap}. The released weights ran with 30.0.")
